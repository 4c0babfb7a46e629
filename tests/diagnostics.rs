//! What the library tells of itself with the feature `tracing`: a little at the start, and what changes; nothing for
//! each event.
#![allow(clippy::unwrap_used)] // tests panic

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use skbdrop::{
    Backend, BackendKind, Monitor, Result,
    backend::{Read, Record, Source, Time},
};
use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

/// What was told, a line each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// What is told while `act` runs on this thread.
    fn by(act: impl FnOnce()) -> Vec<String> {
        let told = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(told.clone())
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = told.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Told {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Gives so many events, before each of which three were lost, and one record that is no event.
#[derive(Debug)]
struct Losing {
    left: usize,
    /// Readable at any time, as its other end is closed.
    pipe: PipeReader,
}

impl Losing {
    fn new(left: usize) -> Self {
        let (pipe, _): (PipeReader, PipeWriter) = io::pipe().unwrap();
        Self { left, pipe }
    }
}

impl Source for Losing {
    fn kind(&self) -> BackendKind {
        BackendKind::Other("losing")
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn read(&mut self, _: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        match self.left.checked_sub(1) {
            Some(fewer) => {
                self.left = fewer;
                let mut record = Record::new(Time::Monotonic(1));
                record.lost_before = 3;
                read.taken = 1;
                sink(&record);
            }
            None => {
                read.undecodable = 1;
                read.ended = true;
            }
        }
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        Ok(0)
    }

    fn stop(&mut self) {}
}

#[test]
fn the_start_and_losses_are_told_and_events_are_not() {
    let told = Told::by(|| {
        let source = Losing::new(100_000);
        let mut monitor = Monitor::builder().source(source).build().unwrap();
        assert_eq!(monitor.iter().count(), 100_000);
    });
    assert_eq!(
        told[0],
        "INFO skbdrop::monitor: watching drops backend=\"losing\""
    );
    let losses =
        "WARN skbdrop::diagnostics: drops were lost: the reader is slower than they come lost=3";
    assert_eq!(told[1], losses, "the first at once");
    let last = "WARN skbdrop::monitor: records could not be decoded records=1";
    assert_eq!(told.last().unwrap(), last);
    // A slow machine takes some seconds for so many; each may have its line.
    assert!(told.len() < 60, "{told:#?}");
}

#[test]
fn each_refusal_is_told_with_its_reason() {
    // Capabilities are a thread's own.
    let told = std::thread::spawn(|| {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, sets).unwrap();
        Told::by(|| {
            Monitor::builder()
                .build()
                .expect_err("nothing is possible without capabilities");
        })
    });
    let told = told.join().unwrap();
    let backends = ["ebpf", "perf", "netlink"];
    assert_eq!(told.len(), backends.len(), "{told:#?}");
    for (line, backend) in told.iter().zip(backends) {
        assert!(
            line.starts_with("DEBUG skbdrop::backend: refused: "),
            "{line}"
        );
        assert!(line.ends_with(&format!(" backend=\"{backend}\"")), "{line}");
    }
    assert!(
        told[0].contains("needs CAP_BPF and CAP_PERFMON"),
        "{}",
        told[0]
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn what_was_attached_is_told() {
    let told = Told::by(|| {
        Monitor::builder().backend(Backend::Ebpf).build().unwrap();
    });
    assert_eq!(
        told,
        ["INFO skbdrop::monitor: watching drops backend=\"ebpf\""]
    );
    let told = Told::by(|| {
        skbdrop::Counters::builder().max_kinds(7).build().unwrap();
    });
    assert_eq!(
        told,
        ["INFO skbdrop::counters::builder: counting drops max_kinds=7"]
    );
}
