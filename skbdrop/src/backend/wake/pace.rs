//! How the reader sleeps: until the first record, or for a while in which records gather. Pure.

use std::time::{Duration, Instant};

/// A way to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Sleep {
    /// Until the first record comes.
    UntilRecord,
    /// For so long; sooner only if the ring fills beyond the mark.
    For(Duration),
}

impl Sleep {
    /// Whether a sleep that began then is over, by its own time.
    pub(super) fn is_over(self, since: Instant) -> bool {
        match self {
            Self::UntilRecord => false,
            Self::For(time) => since.elapsed() >= time,
        }
    }
}

/// Chooses. As long as records are rare, each wakes the reader at once. Once it was woken for records twice within the
/// time that a record may wait, the next ones wait so long, all together; that goes on until none has come in
/// that time.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long a record may wait.
    max_latency: Duration,
    /// When the reader last woke and there were records; by the clock of whoever calls.
    last_work: Option<Duration>,
    /// When it last woke.
    woke: Duration,
    /// Whether there were records since, soon after those before.
    is_busy: bool,
}

impl Pace {
    pub(super) fn new(max_latency: Duration) -> Self {
        Self {
            max_latency,
            last_work: None,
            woke: Duration::ZERO,
            is_busy: false,
        }
    }

    /// The reader is awake.
    pub(super) fn woke(&mut self, now: Duration) {
        self.woke = now;
        self.is_busy = false;
    }

    /// It has taken records. `slept` says how it slept before.
    pub(super) fn worked(&mut self, slept: Sleep) {
        let since = self.last_work.replace(self.woke);
        let since = since.map(|last| self.woke.saturating_sub(last));
        self.is_busy = match slept {
            Sleep::UntilRecord => since.is_some_and(|since| since < self.max_latency),
            // Those before had gathered as well.
            Sleep::For(_) => true,
        };
    }

    /// How to sleep now.
    pub(super) fn sleep(&self) -> Sleep {
        match self.is_busy && !self.max_latency.is_zero() {
            true => Sleep::For(self.max_latency),
            false => Sleep::UntilRecord,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(10);

    /// Sleeps as told, wakes so many milliseconds after the last time, with records or none, and gives the ways.
    fn ways(sleeps: &[(u64, bool)]) -> Vec<Sleep> {
        let mut pace = Pace::new(LATENCY);
        let mut now = Duration::ZERO;
        let mut ways = vec![pace.sleep()];
        for &(ms, records) in sleeps {
            let sleep = pace.sleep();
            now += Duration::from_millis(ms);
            pace.woke(now);
            if records {
                pace.worked(sleep);
            }
            ways.push(pace.sleep());
        }
        ways
    }

    #[test]
    fn rare_records_wake_at_once() {
        let ways = ways(&[(0, true), (11, true), (60_000, true), (10, true)]);
        assert!(ways.iter().all(|way| *way == Sleep::UntilRecord));
    }

    #[test]
    fn frequent_records_gather_until_they_stop() {
        let batched = Sleep::For(LATENCY);
        assert_eq!(
            ways(&[
                (500, true),
                (1, true),
                (10, true),
                (3, true),
                (10, false),
                (2, true),
                (50, true)
            ]),
            [
                Sleep::UntilRecord,
                Sleep::UntilRecord,
                batched,
                batched,
                batched,
                Sleep::UntilRecord,
                Sleep::UntilRecord,
                Sleep::UntilRecord
            ]
        );
    }

    #[test]
    fn a_wake_up_for_nothing_is_no_load() {
        assert_eq!(ways(&[(1, false), (1, false)]), [Sleep::UntilRecord; 3]);
    }

    #[test]
    fn without_latency_nothing_gathers() {
        let mut pace = Pace::new(Duration::ZERO);
        for _ in 0..3 {
            pace.woke(Duration::ZERO);
            pace.worked(Sleep::UntilRecord);
            assert_eq!(pace.sleep(), Sleep::UntilRecord);
        }
    }
}
