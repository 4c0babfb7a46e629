//! tcpdump expressions: text to comparisons of a packet's bytes.
//!
//! `lex.rs` splits the text, `parse.rs` has the grammar, `primitive.rs` what each primitive looks at, `program.rs` the
//! result and its meaning.

mod lex;
mod parse;
mod primitive;
mod program;

#[cfg(feature = "ebpf")]
pub(crate) use program::{Compare, Op, Relation, Value};
pub(crate) use program::{Packet, Program};

use crate::Result;
use std::sync::Arc;

/// An expression and what it was compiled to.
#[derive(Clone, Debug)]
pub(crate) struct Pcap {
    text: Arc<str>,
    program: Arc<Program>,
}

impl Pcap {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self {
            text: text.into(),
            program: Arc::new(parse::program(text)?),
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }
}

impl PartialEq for Pcap {
    /// The same text is the same program.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pcap {}
