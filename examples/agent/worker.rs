//! The task that works: here it counts drops by reason and network namespace.

use skbdrop::DropEvent;
use std::{collections::HashMap, fmt, time::Duration};
use tokio::{sync::mpsc::Receiver, time};

/// Kinds that are told apart: namespaces come and go, an agent's memory does not grow with them.
const MAX_KINDS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Worker {
    work: Duration,
    handled: u64,
    told_lost: u64,
    kinds: HashMap<(String, String), u64>,
}

impl Worker {
    pub(crate) fn new(work: Duration) -> Self {
        Self {
            work,
            handled: 0,
            told_lost: 0,
            kinds: HashMap::new(),
        }
    }

    /// Until the reader is gone and all is done.
    pub(crate) async fn run(mut self, mut events: Receiver<DropEvent>) -> Self {
        while let Some(event) = events.recv().await {
            self.handle(&event);
            if !self.work.is_zero() {
                time::sleep(self.work).await;
            }
        }
        self
    }

    fn handle(&mut self, event: &DropEvent) {
        self.handled += 1;
        self.told_lost += event.lost_before;
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
        let mut kind = (
            or_unknown(event.reason.as_ref().map(ToString::to_string)),
            or_unknown(event.netns.as_ref().map(ToString::to_string)),
        );
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind = ("others".to_owned(), "?".to_owned());
        }
        *self.kinds.entry(kind).or_default() += event.count;
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (handled, told_lost) = (self.handled, self.told_lost);
        writeln!(f, "handled {handled}, which told of {told_lost} lost")?;
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        for ((reason, netns), count) in kinds {
            writeln!(f, "{count:>10}  {reason} in netns {netns}")?;
        }
        Ok(())
    }
}
