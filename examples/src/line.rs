//! An event's line, in the parts that a person looks for.

use skbdrop::DropEvent;
use std::fmt;

/// The parts of the line that `Display` makes of an event.
#[derive(Debug)]
pub struct Line {
    /// Time of day, UTC.
    pub time: String,
    /// The reason, or `dropped` where the kernel gives none.
    pub reason: String,
    /// The place in the kernel.
    pub place: String,
    /// The packet and all that there is besides, after a comma.
    pub rest: String,
}

impl Line {
    /// That of an event.
    #[must_use]
    pub fn of(event: &DropEvent) -> Self {
        let line = event.to_string();
        let reason = event.reason.as_ref();
        let reason = reason.map_or_else(|| "dropped".to_owned(), ToString::to_string);
        let place = event.location.to_string();
        let (time, told) = line.split_once(' ').unwrap_or(("", &line));
        let rest = told
            .strip_prefix(&reason)
            .and_then(|rest| rest.strip_prefix(" at ")?.strip_prefix(&place));
        let rest = rest.unwrap_or_default().to_owned();
        Self {
            time: time.to_owned(),
            reason,
            place,
            rest,
        }
    }

    /// The packet and all that there is besides.
    #[must_use]
    pub fn packet(&self) -> &str {
        self.rest.trim_start_matches(", ")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            reason,
            place,
            rest,
        } = self;
        write!(f, "{time} {reason} at {place}{rest}")
    }
}
