//! Network namespaces that live as long as the value.

use std::{
    os::unix::fs::MetadataExt as _,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread::JoinHandle,
};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace of our own, with `lo` up. A thread holds it; [`run`](Self::run) works there.
pub struct NetNs {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Inode number, as events have it.
    pub inode: u32,
    /// The thread inside.
    pub tid: i32,
}

impl NetNs {
    /// Makes one. Needs root.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the machine: not for a default"
    )]
    pub fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (ready, made) = channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: a new network namespace concerns no memory, and only this thread.
            let unshared =
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
            unshared.expect("a live test needs root: cargo xtask test");
            let inode = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            ready
                .send((
                    inode as u32,
                    rustix::thread::gettid().as_raw_nonzero().get(),
                ))
                .unwrap();
            for job in queue {
                job();
            }
        });
        let (inode, tid) = made
            .recv()
            .expect("the namespace's thread says that it is ready");
        let netns = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            inode,
            tid,
        };
        netns.command("ip link set lo up");
        netns
    }

    /// Runs `job` inside and gives what it returns.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || drop(done.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the job did not panic")
    }

    /// Runs a command line inside; it must succeed. Words are split at blanks, but not between
    /// single quotes.
    pub fn command(&self, line: &str) {
        let words: Vec<String> = line
            .split('\'')
            .enumerate()
            .flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect();
        let output = self.run(move || Command::new(&words[0]).args(&words[1..]).output());
        let output = output.unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "`{line}`: {text}");
    }

    /// Connects two namespaces by a veth pair, up at both ends.
    pub fn connect(&self, name: &str, peer: &Self, peer_name: &str) {
        self.command(&format!(
            "ip link add {name} type veth peer name {peer_name} netns {}",
            peer.tid
        ));
        self.command(&format!("ip link set {name} up"));
        peer.command(&format!("ip link set {peer_name} up"));
    }

    /// Sets a sysctl below `net` of this namespace alone.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        let value = value.to_owned();
        self.run(move || std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
