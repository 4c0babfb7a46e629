//! What is printed of one drop: a line, and what was asked for below it.

use crate::options::Options;
use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use skbdrop::{DropEvent, Location};
use skbdrop_examples::Line;
use std::{
    collections::HashSet,
    io::{self, Stdout, Write},
};

const REASON: Style = AnsiColor::Red.on_default().bold();
const PLACE: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();

/// Standard output, with colour or without.
pub(crate) struct Lines {
    out: AutoStream<Stdout>,
    json: bool,
    explain: bool,
    /// Reasons that were explained already.
    explained: HashSet<&'static str>,
}

impl Lines {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            out: AutoStream::new(io::stdout(), options.color),
            json: options.json,
            explain: options.explain,
            explained: HashSet::new(),
        }
    }

    pub(crate) fn event(&mut self, event: &DropEvent, stack: &[Location]) -> io::Result<()> {
        if self.json {
            // JSON has no colour, and its strings pass as they are.
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, event)?;
            return writeln!(out);
        }
        let Line {
            time,
            reason,
            place,
            rest,
        } = Line::of(event);
        writeln!(
            self.out,
            "{DIM}{time}{DIM:#} {REASON}{reason}{REASON:#} at {PLACE}{place}{PLACE:#}{rest}"
        )?;
        for place in stack {
            writeln!(self.out, "    {DIM}{place}{DIM:#}")?;
        }
        if self.explain {
            self.explanation(event)?;
        }
        Ok(())
    }

    fn explanation(&mut self, event: &DropEvent) -> io::Result<()> {
        let explanation = event.reason.as_ref().and_then(|reason| reason.explain());
        let Some(explanation) = explanation else {
            return Ok(());
        };
        if self.explained.insert(explanation.name()) {
            for line in explanation.to_string().lines() {
                writeln!(self.out, "    {DIM}{line}{DIM:#}")?;
            }
        }
        Ok(())
    }
}
