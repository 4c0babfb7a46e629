//! Files of the kernel's that are taken away, and descriptors that run out.

use crate::{Watched, each};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{UnshareFlags, unshare_unsafe},
};
use skbdrop::{
    BackendKind, ErrorKind, Monitor, Resolver,
    backend::{Read, Record, Source},
};
use std::{
    fs::File,
    io::{PipeReader, PipeWriter},
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    time::{Duration, Instant},
};
use support::{backends, btf::Encoder, open_descriptors, run};

/// Runs `test` in a thread that has a mount namespace of its own.
fn with_own_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: neither concerns memory, and both only this thread.
            let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) };
            unshared.unwrap();
            run("mount", &["--make-rprivate", "/"]);
            test()
        });
        thread
            .join()
            .unwrap_or_else(|e| std::panic::resume_unwind(e))
    })
}

#[test]
#[ignore = "needs root to unmount tracefs: cargo xtask test"]
fn tracefs_is_unmounted_while_it_runs() {
    each(|builder| {
        with_own_mounts(|| {
            let mut watched = Watched::new(builder.symbols(true));
            watched.burst();
            let events = Path::new("/sys/kernel/tracing/events");
            assert!(events.exists(), "tracefs is mounted");
            run("umount", &["/sys/kernel/tracing"]);
            assert!(!events.exists());
            watched.burst();
            watched.all_came()
        })
    });
}

#[test]
#[ignore = "needs root to mount over BTF: cargo xtask test"]
fn btf_is_hidden_while_it_runs() {
    each(|builder| {
        with_own_mounts(|| {
            let mut watched = Watched::new(builder.symbols(true));
            watched.burst();
            run("mount", &["-t", "tmpfs", "none", "/sys/kernel/btf"]);
            watched.burst();
            // Nor do modules' types bring it down, which it looks for where it has no name.
            watched.all_came()
        })
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_btf_file_that_is_not_there() {
    for backend in backends() {
        let missing = "/nowhere/vmlinux.btf";
        let built = Monitor::builder().backend(backend).btf_file(missing);
        let error = built.build().expect_err("what was asked for is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(format!("{error:#}").contains(missing), "{error:#}");
    }
}

/// As many descriptors as a test leaves, for as long as it lives.
struct Exhausted {
    before: Rlimit,
    _all: Vec<File>,
}

impl Exhausted {
    /// All numbers below this one are taken.
    const TAKEN: u64 = 256;

    fn new() -> Self {
        let before = getrlimit(Resource::Nofile);
        set_limit(before, Self::TAKEN);
        let all = std::iter::from_fn(|| File::open("/dev/null").ok());
        let all = all.collect();
        Self { before, _all: all }
    }

    /// This many can be opened.
    fn leave(&self, count: u64) {
        set_limit(self.before, Self::TAKEN + count);
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

fn set_limit(mut limit: Rlimit, current: u64) {
    limit.current = Some(current);
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn descriptors_run_out_at_the_start() {
    /// More than any backend needs on a machine of a few CPUs.
    const ENOUGH: u64 = 200;
    for backend in backends() {
        let exhausted = Exhausted::new();
        exhausted.leave(ENOUGH);
        let before = open_descriptors();
        let mut refused = 0;
        let opens = (0..ENOUGH).find(|&count| {
            exhausted.leave(count);
            let built = Monitor::builder().backend(backend).symbols(false).build();
            exhausted.leave(ENOUGH);
            let text = match &built {
                Ok(_) => String::new(),
                Err(e) => format!("{e:#}"),
            };
            let opens = built.is_ok();
            drop(built);
            assert_eq!(open_descriptors(), before, "{count}: {text}");
            if !opens {
                assert!(
                    ["cannot ", "the kernel refused the eBPF program"]
                        .iter()
                        .any(|act| text.starts_with(act))
                        && text.contains("Too many open files"),
                    "{count}: {text}"
                );
                println!("{count}: {text}");
                refused += 1;
            }
            opens
        });
        println!("{}: opens with {opens:?}", backend.name());
        assert!(opens.is_some() && refused > 3, "{opens:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn descriptors_run_out_while_it_runs() {
    each(|builder| {
        let mut watched = Watched::new(builder.symbols(true));
        let exhausted = Exhausted::new();
        // For the socket that sends.
        exhausted.leave(1);
        watched.burst();
        exhausted.leave(0);
        let settled = watched.all_came();
        drop(exhausted);
        settled
    });
}

/// Symbols are looked for again after this time.
const RELOAD: Duration = Duration::from_secs(10);

/// Never says anything.
#[derive(Debug)]
struct Quiet(
    PipeReader,
    #[expect(dead_code, reason = "held open")] PipeWriter,
);

impl Source for Quiet {
    fn kind(&self) -> BackendKind {
        BackendKind::Other("quiet")
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
    fn read(&mut self, _: usize, _: &mut dyn FnMut(&Record<'_>)) -> skbdrop::Result<Read> {
        Ok(Read::default())
    }
    fn lost(&self) -> skbdrop::Result<u64> {
        Ok(0)
    }
    fn stop(&mut self) {}
}

#[test]
#[ignore = "needs root to read symbols: cargo xtask test"]
fn symbols_that_no_descriptor_was_left_for_are_read_later() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_NOT_SPECIFIED", 1)]);
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let line = text.lines().find(|line| line.ends_with(" T udp_rcv"));
    let address = u64::from_str_radix(line.unwrap().split(' ').next().unwrap(), 16).unwrap();

    let exhausted = Exhausted::new();
    let builder = Monitor::builder().source(Quiet(reader, writer));
    let mut monitor = builder.resolver(resolver).build().unwrap();
    let symbol = |monitor: &mut Monitor| monitor.symbolize(&[address]).remove(0).symbol;
    assert_eq!(symbol(&mut monitor), None);
    let looked = Instant::now();
    let error = monitor.symbols_error().expect("it says why");
    assert!(
        format!("{error:#}").contains("Too many open files"),
        "{error:#}"
    );
    drop(exhausted);
    std::thread::sleep(RELOAD.saturating_sub(looked.elapsed()));
    let symbol = symbol(&mut monitor).expect("it has been read");
    assert_eq!(&*symbol.name, "udp_rcv");
    assert!(monitor.symbols_error().is_none());
}
