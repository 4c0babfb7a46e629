//! `tracefs_raw`: reads the tracepoint's records as the kernel's tracer has them, from `trace_pipe_raw` of an instance of
//! its own, every 10 ms; counts them and decodes none. Says `ready`, and when its standard input has ended
//! `received=N lost=N`.

use skbdrop_benches::end_of_input;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::RecvTimeoutError,
    time::Duration,
};

const INTERVAL: Duration = Duration::from_millis(10);
/// What a read gives at most: the tracer's page.
const PAGE: usize = 4096;
/// In front of a page: its time and how much of it is used.
const PAGE_HEADER: usize = 16;
/// The part of the second word that is the length.
const LENGTH_MASK: u64 = 0xf_ffff;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instance = Instance::new()?;
    let mut pipes = instance.pipes()?;
    instance.write("events/skb/kfree_skb/enable", "1")?;
    let end = end_of_input();
    println!("ready");
    let mut received = 0;
    while end.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Disconnected) {
        received += drain(&mut pipes)?;
    }
    instance.write("events/skb/kfree_skb/enable", "0")?;
    received += drain(&mut pipes)?;
    println!("received={received} lost={}", instance.lost()?);
    Ok(())
}

fn drain(pipes: &mut [File]) -> io::Result<u64> {
    let mut events = 0;
    let mut page = [0; PAGE];
    for pipe in pipes {
        loop {
            match pipe.read(&mut page) {
                Ok(0) => break,
                Ok(length) => events += count(&page[..length]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
    }
    Ok(events)
}

/// Records in a page, whose layout `events/header_page` and `events/header_event` describe.
fn count(page: &[u8]) -> u64 {
    let Some(used) = page.get(8..PAGE_HEADER) else {
        return 0;
    };
    let used = u64::from_ne_bytes(used.try_into().expect("eight bytes")) & LENGTH_MASK;
    let end = page.len().min(PAGE_HEADER + used as usize);
    let word = |at: usize| {
        let bytes = page[..end].get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
    };
    let (mut at, mut events) = (PAGE_HEADER, 0);
    while let Some(header) = word(at) {
        let (kind, delta) = (header & 31, header >> 5);
        let length = match kind {
            // The length is in the word behind.
            0 => word(at + 4),
            1..=28 => Some(4 * kind),
            // The rest of the page is empty, or so much of it.
            29 if delta == 0 => None,
            29 => word(at + 4),
            // Two words that tell the time.
            _ => Some(4),
        };
        let Some(length) = length else { break };
        events += u64::from(kind <= 28);
        at += 4 + length as usize;
    }
    events
}

/// A tracer of our own, gone with this value.
struct Instance(PathBuf);

impl Instance {
    fn new() -> io::Result<Self> {
        let name = format!("skbdrop-bench-{}", std::process::id());
        let path = Path::new("/sys/kernel/tracing/instances").join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.0.join(name), value)
    }

    /// The names of the folders of CPUs.
    fn cpus(&self) -> io::Result<Vec<PathBuf>> {
        let folder = fs::read_dir(self.0.join("per_cpu"))?;
        folder.map(|entry| Ok(entry?.path())).collect()
    }

    fn pipes(&self) -> io::Result<Vec<File>> {
        let open = |cpu: PathBuf| {
            OpenOptions::new()
                .read(true)
                .custom_flags(nix::libc::O_NONBLOCK)
                .open(cpu.join("trace_pipe_raw"))
        };
        self.cpus()?.into_iter().map(open).collect()
    }

    /// Records that found no room: the first ones of a line `overrun: N`, and of `dropped events: N`.
    fn lost(&self) -> io::Result<u64> {
        let mut lost = 0;
        for cpu in self.cpus()? {
            let text = fs::read_to_string(cpu.join("stats"))?;
            let numbers = text.lines().filter_map(|line| {
                let (name, number) = line.split_once(": ")?;
                matches!(name, "overrun" | "dropped events").then(|| number.trim().parse::<u64>())
            });
            lost += numbers.flatten().sum::<u64>();
        }
        Ok(lost)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
