//! [`Recorder`]: writes events.

use super::{FORMAT, VERSION};
use crate::{DropEvent, Error, Result};
use std::io::Write;

/// Writes events in the [format](super) that [`Replay`](super::Replay) reads.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    out: W,
}

impl<W: Write> Recorder<W> {
    /// Writes the first line. `out` is best buffered.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to; so do the other methods.
    pub fn new(out: W) -> Result<Self> {
        let mut recorder = Self { out };
        recorder.line(&serde_json::json!({ "format": FORMAT, "version": VERSION }))?;
        Ok(recorder)
    }

    /// Writes an event.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn write(&mut self, event: &DropEvent) -> Result<()> {
        self.line(event)
    }

    /// Writes how many drops were lost after the last event, flushes, and gives `out` back.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn finish(mut self, lost: u64) -> Result<W> {
        if lost > 0 {
            self.line(&serde_json::json!({ "lost": lost }))?;
        }
        self.out
            .flush()
            .map_err(|e| Error::io("cannot write recorded events", e))?;
        Ok(self.out)
    }

    fn line(&mut self, value: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(Into::into)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| Error::io("cannot write recorded events", e))
    }
}
