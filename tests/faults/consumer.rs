//! A consumer that stops.

use crate::{Watched, each};
use std::time::{Duration, Instant};
use support::drops::flood;

/// How long the consumer reads nothing.
const STOPPED: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_consumer_that_stops_under_a_flood() {
    // All of a flood but what the buffer has room for is lost, in one page as in many.
    for size in [4096, 1 << 20] {
        each(|builder| {
            let mut watched = Watched::new(builder.buffer_size(size));
            watched.generated = watched.netns.run(|| {
                let start = Instant::now();
                let mut sent = 0;
                while start.elapsed() < STOPPED {
                    flood(100);
                    sent += 100;
                }
                sent
            });
            let generated = watched.generated as u64;
            let lost = watched.account()?;
            assert!(0 < lost && lost < generated, "{lost} of {generated} lost");
            Some(())
        });
    }
}
