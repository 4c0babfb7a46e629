//! What goes wrong around a monitor while it runs: the result is right or the error is clear, and every drop is
//! delivered or counted. `docs/faults.md` lists the faults, and `table.rs` compares it with the tests.
#![allow(clippy::unwrap_used)] // tests panic

mod consumer;
mod cpus;
mod files;
mod memory;
mod network;
mod processes;
mod streams;
mod table;

use skbdrop::{Builder, Monitor};
use support::{
    account::{Count, undisturbed},
    backends,
    drops::flood,
    netns::NetNs,
};

/// Drops of a burst: fewer than a buffer of the default size has room for.
const BURST: usize = 1000;

/// Runs `test` for each backend, until the machine was quiet beside it. Without symbols: to read them takes its time.
fn each<T>(test: impl Fn(Builder) -> Option<T>) {
    for backend in backends() {
        println!("{}:", backend.name());
        undisturbed(|| test(Monitor::builder().backend(backend).symbols(false)));
    }
}

/// A monitor, and drops in a namespace of their own that it has to account for.
struct Watched {
    monitor: Monitor,
    netns: NetNs,
    generated: usize,
}

impl Watched {
    fn new(builder: Builder) -> Self {
        let netns = NetNs::new();
        Self {
            monitor: builder.build().unwrap(),
            netns,
            generated: 0,
        }
    }

    /// Makes drops.
    fn burst(&mut self) {
        self.netns.run(|| flood(BURST));
        self.generated += BURST;
    }

    /// Every drop was delivered, and none lost. `None` if the machine dropped others meanwhile.
    fn all_came(self) -> Option<()> {
        let lost = self.account()?;
        assert_eq!(lost, 0, "the buffer has room for all");
        Some(())
    }

    /// Every drop was delivered or counted; gives how many were lost. `None` if the machine dropped others meanwhile.
    fn account(self) -> Option<u64> {
        Count::default().settle(self.monitor, self.netns.inode, self.generated)
    }
}
