//! CPUs that go and come.

use crate::{BURST, Watched, each};
use rustix::thread::{CpuSet, sched_setaffinity};
use skbdrop::{Backend, ErrorKind, Monitor};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};
use support::drops::flood;

/// A CPU that is offline as long as the value lives. A process of its own puts it back, also if we are killed.
struct Offline(Child);

impl Offline {
    fn new(cpu: usize) -> Self {
        let script = format!(
            "echo 0 >{0} && echo ready && cat; echo 1 >{0}",
            switch(cpu).display()
        );
        let child = Command::new("setsid")
            .args(["sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut ready = [0; 6];
        let mut output = child.stdout.take().unwrap();
        let told = std::io::Read::read_exact(&mut output, &mut ready);
        told.expect("the CPU goes offline");
        Self(child)
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What takes a CPU offline.
fn switch(cpu: usize) -> PathBuf {
    format!("/sys/devices/system/cpu/cpu{cpu}/online").into()
}

/// A CPU that can be taken offline, and is online.
fn switchable() -> usize {
    let switchable = (1..1024).find(|&cpu| switch(cpu).exists());
    let cpu = switchable.expect("a machine of two CPUs, of which one can be taken offline");
    let state = fs::read_to_string(switch(cpu)).unwrap();
    assert_eq!(state.trim(), "1", "CPU {cpu} is online");
    cpu
}

/// Drops on one CPU.
fn burst_on(watched: &mut Watched, cpu: usize) {
    watched.netns.run(move || {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set).unwrap();
        flood(BURST);
    });
    watched.generated += BURST;
}

#[test]
#[ignore = "needs root to take a CPU offline: cargo xtask test"]
fn a_cpu_goes_offline_and_comes_back() {
    let cpu = switchable();
    each(|builder| {
        let mut watched = Watched::new(builder);
        burst_on(&mut watched, 0);
        burst_on(&mut watched, cpu);
        let offline = Offline::new(cpu);
        burst_on(&mut watched, 0);
        drop(offline);
        // It learns of the CPU when it looks.
        let mut count = support::account::Count::default();
        for event in watched.monitor.next_batch(usize::MAX).unwrap() {
            count.add(&event, watched.netns.inode);
        }
        burst_on(&mut watched, cpu);
        burst_on(&mut watched, 0);
        let lost = count.settle(watched.monitor, watched.netns.inode, watched.generated)?;
        assert_eq!(lost, 0, "the buffer has room for all");
        Some(())
    });
}

#[test]
#[ignore = "needs root to take a CPU offline: cargo xtask test"]
fn a_cpu_comes_online_when_capabilities_are_dropped() {
    let cpu = switchable();
    let offline = Offline::new(cpu);
    let (online, wait) = mpsc::channel();
    let (built, is_built) = mpsc::channel();
    // It alone loses them.
    let reading = thread::spawn(move || {
        let builder = Monitor::builder().backend(Backend::Perf).symbols(false);
        let mut monitor = builder.drop_capabilities(true).build().unwrap();
        built.send(()).unwrap();
        wait.recv().unwrap();
        let error = monitor.iter().find_map(Result::err);
        (error.expect("it cannot go on"), monitor.has_ended())
    });
    is_built.recv().unwrap();
    drop(offline);
    online.send(()).unwrap();
    let (error, has_ended) = reading.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let text = format!("{error:#}");
    assert!(text.contains(&format!("cannot watch CPU {cpu}")), "{text}");
    assert!(text.contains("needs CAP_PERFMON"), "{text}");
    assert!(has_ended);
}
