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
        // Written at once, for the terminal and for who reads the pipe.
        let text = self.text(event, stack);
        self.out.write_all(text.as_bytes())
    }

    fn text(&mut self, event: &DropEvent, stack: &[Location]) -> String {
        let Line {
            time,
            reason,
            place,
            rest,
        } = Line::of(event);
        let mut text = format!(
            "{DIM}{time}{DIM:#} {REASON}{reason}{REASON:#} at {PLACE}{place}{PLACE:#}{rest}\n"
        );
        for place in stack {
            text += &format!("    {DIM}{place}{DIM:#}\n");
        }
        let explanation = event.reason.as_ref().and_then(|reason| reason.explain());
        if let Some(explanation) = explanation.filter(|_| self.explain)
            && self.explained.insert(explanation.name())
        {
            for line in explanation.to_string().lines() {
                text += &format!("    {DIM}{line}{DIM:#}\n");
            }
        }
        text
    }
}
