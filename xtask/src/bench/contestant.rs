//! Who is measured: how each is started, and how it says what it saw.

use super::{binaries::Binaries, process::figure};
use crate::{Result, host};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

/// One way to watch drops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contestant {
    /// For `--only`.
    pub(super) id: &'static str,
    /// For the report.
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Floor(&'static str),
    Reader {
        backend: &'static str,
        snap: u32,
        take: &'static str,
    },
    Counter,
    TracefsRaw,
    PerfFloor,
    PerfRecord,
    PerfTrace,
    BpftracePrint,
    BpftraceCount,
}

/// What came of a run by the contestant's own account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    /// Drops of the flood's kind that it delivered; `None` if it delivers none.
    pub(super) seen: Option<u64>,
    /// What it says it lost.
    pub(super) lost: Option<u64>,
}

const fn reader(
    id: &'static str,
    name: &'static str,
    backend: &'static str,
    snap: u32,
    take: &'static str,
) -> Contestant {
    let kind = Kind::Reader {
        backend,
        snap,
        take,
    };
    Contestant { id, name, kind }
}

const fn other(id: &'static str, name: &'static str, kind: Kind) -> Contestant {
    Contestant { id, name, kind }
}

/// All of them, in the order of the report.
const ALL: [Contestant; 14] = [
    other(
        "floor-empty",
        "floor: an empty program",
        Kind::Floor("empty"),
    ),
    other(
        "floor-ring",
        "floor: 64 bytes into a ring, no wake-up",
        Kind::Floor("ring"),
    ),
    other("floor-hash", "floor: a per-CPU hash", Kind::Floor("hash")),
    other(
        "floor-perf",
        "floor: perf events without time, thread and wake-up",
        Kind::PerfFloor,
    ),
    reader(
        "ebpf-96",
        "**skbdrop ebpf**, 96 bytes",
        "ebpf",
        96,
        "stream",
    ),
    reader("ebpf-0", "**skbdrop ebpf**, no bytes", "ebpf", 0, "stream"),
    reader(
        "ebpf-batch",
        "**skbdrop ebpf**, 96 bytes, `next_batch`",
        "ebpf",
        96,
        "batch",
    ),
    other(
        "counters",
        "**skbdrop counters** by reason and place",
        Kind::Counter,
    ),
    reader("perf", "**skbdrop perf**", "perf", 0, "stream"),
    other(
        "tracefs-raw",
        "tracefs `trace_pipe_raw`, not decoded",
        Kind::TracefsRaw,
    ),
    other(
        "perf-record",
        "`perf record`, then `perf script`",
        Kind::PerfRecord,
    ),
    other("perf-trace", "`perf trace`", Kind::PerfTrace),
    other("bpftrace-print", "bpftrace `printf`", Kind::BpftracePrint),
    other(
        "bpftrace-count",
        "bpftrace `count()` by reason and symbol",
        Kind::BpftraceCount,
    ),
];

/// What bpftrace runs: the same that the library's events say, as far as the tracepoint has it.
const PRINT: &str = "tracepoint:skb:kfree_skb { printf(\"%llu %s %d %s\\n\", nsecs, comm, args->reason, ksym(args->location)); }";
const COUNT: &str = "tracepoint:skb:kfree_skb { @[args->reason, ksym(args->location)] = count(); }";

/// Those named, or all.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Contestant>> {
    let all = ALL.map(|contestant| contestant.id);
    if let Some(name) = names.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(format!(
            "no contestant `{name}` (there are {})",
            all.join(", ")
        ));
    }
    let chosen = |contestant: &Contestant| {
        names.is_empty() || names.iter().any(|name| name == contestant.id)
    };
    Ok(ALL.into_iter().filter(chosen).collect())
}

/// Those whose tool is there, or can be installed; and a sentence for each tool that cannot.
pub(super) fn present(contestants: Vec<Contestant>) -> (Vec<Contestant>, Vec<String>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for contestant in contestants {
        let missing = match contestant.tool() {
            None => None,
            Some((program, package)) => host::need(&[(program, package)])
                .err()
                .map(|_| format!("`{program}` was not found, nor could it be installed")),
        };
        match missing {
            None => present.push(contestant),
            Some(sentence) if absent.contains(&sentence) => {}
            Some(sentence) => absent.push(sentence),
        }
    }
    (present, absent)
}

impl Contestant {
    /// A reader of ours that is not in the list.
    pub(super) fn of_snap_length(snap: u32) -> Self {
        reader("", "", "ebpf", snap, "stream")
    }

    /// The program that it takes, and the Debian package that has it.
    fn tool(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            Kind::PerfRecord | Kind::PerfTrace => Some(("perf", "linux-perf")),
            Kind::BpftracePrint | Kind::BpftraceCount => Some(("bpftrace", "bpftrace")),
            _ => None,
        }
    }

    /// Whether it is an eBPF program on the tracepoint.
    pub(super) fn is_program(&self) -> bool {
        match self.kind {
            Kind::Floor(_) | Kind::Counter | Kind::BpftracePrint | Kind::BpftraceCount => true,
            Kind::Reader { backend, .. } => backend == "ebpf",
            _ => false,
        }
    }

    /// The contestant of whose program this one's is told as a multiple.
    pub(super) fn floor(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Reader {
                backend: "ebpf", ..
            }
            | Kind::BpftracePrint => Some("floor-ring"),
            Kind::Counter | Kind::BpftraceCount => Some("floor-hash"),
            _ => None,
        }
    }

    /// Its name without Markdown.
    pub(super) fn plain_name(&self) -> String {
        self.name.replace(['*', '`'], "")
    }

    /// Whether it is what the floor is, and no way to learn of drops.
    pub(super) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(_) | Kind::PerfFloor)
    }

    /// Whether it is this library.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Reader { .. } | Kind::Counter)
    }

    /// The command that watches, says `ready` and ends with its standard input.
    pub(super) fn command(
        &self,
        binaries: &Binaries,
        folder: &Path,
        netns: u64,
    ) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let output = output(folder).to_string_lossy().into_owned();
        // Tools start what they are to trace when they are attached: a file with the word, and their standard input.
        let ready = folder.join("ready");
        host::write(&ready, b"ready\n")?;
        let (cat, ready) = ("/usr/bin/cat", ready.to_string_lossy().into_owned());
        let traced = format!("{cat} {ready} -");
        let event = "skb:kfree_skb";
        Ok(match self.kind {
            Kind::Floor(kind) => vec![binaries.path("floor"), kind.to_owned()],
            Kind::Reader {
                backend,
                snap,
                take,
            } => {
                let mut command = vec![binaries.path("reader")];
                let (snap, netns) = (snap.to_string(), netns.to_string());
                command.extend::<Vec<String>>(words(&["--backend", backend, "--snap", &snap]));
                command.extend::<Vec<String>>(words(&["--take", take, "--netns", &netns]));
                command
            }
            Kind::Counter => vec![binaries.path("counter")],
            Kind::TracefsRaw => vec![binaries.path("tracefs_raw")],
            Kind::PerfFloor => vec![binaries.path("perf_floor")],
            Kind::PerfRecord => words(&[
                "perf", "record", "-q", "-a", "-e", event, "-o", &output, "--", cat, &ready, "-",
            ]),
            Kind::PerfTrace => words(&[
                "perf", "trace", "-a", "-e", event, "-o", &output, "--", cat, &ready, "-",
            ]),
            Kind::BpftracePrint => words(&["bpftrace", "-o", &output, "-e", PRINT, "-c", &traced]),
            Kind::BpftraceCount => words(&["bpftrace", "-o", &output, "-e", COUNT, "-c", &traced]),
        })
    }

    /// What is to be run afterwards to have the events, with its output in [`processed`].
    pub(super) fn afterwards(&self, folder: &Path) -> Option<Vec<String>> {
        let data = output(folder).to_string_lossy().into_owned();
        let words = ["perf", "script", "--show-lost-events", "-i", &data];
        (self.kind == Kind::PerfRecord).then(|| words.iter().map(|&w| w.to_owned()).collect())
    }

    /// What it saw, from what it printed and wrote.
    pub(super) fn account(&self, printed: &str, errors: &str, folder: &Path) -> Result<Account> {
        let (output, processed) = (output(folder), processed(folder));
        Ok(match self.kind {
            Kind::Floor("ring") => Account {
                seen: figure(printed, "received"),
                lost: None,
            },
            Kind::Floor(_) => Account::default(),
            Kind::Reader { .. } | Kind::Counter => Account {
                seen: figure(printed, "matched"),
                lost: figure(printed, "lost"),
            },
            Kind::TracefsRaw | Kind::PerfFloor => Account {
                seen: figure(printed, "received"),
                lost: figure(printed, "lost"),
            },
            Kind::PerfRecord => text(&processed, |line| line.contains(" NO_SOCKET"))?,
            Kind::PerfTrace => {
                let mark = format!("reason: {})", no_socket()?);
                text(&output, |line| line.ends_with(&mark))?
            }
            Kind::BpftracePrint => {
                let mark = no_socket()?.to_string();
                let mut account = text(&output, |line| line.split(' ').nth(2) == Some(&mark))?;
                account.lost = account.lost.map(|lost| lost + lost_in(errors.lines()));
                account
            }
            Kind::BpftraceCount => Account {
                seen: Some(counted(&read(&output)?, no_socket()?)),
                lost: None,
            },
        })
    }
}

/// Where a tool writes.
pub(super) fn output(folder: &Path) -> PathBuf {
    folder.join("output")
}

/// Where what is run afterwards writes.
pub(super) fn processed(folder: &Path) -> PathBuf {
    folder.join("processed")
}

fn read(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&host::read(path)?).into_owned())
}

/// Lines of a drop, and what was told of losses between them.
fn text(path: &Path, is_drop: impl Fn(&str) -> bool) -> Result<Account> {
    let failed = |e| format!("cannot read `{}`: {e}", path.display());
    let (mut seen, mut lost) = (0, 0);
    for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
        let line = line.map_err(failed)?;
        match is_drop(&line) {
            true => seen += 1,
            false => lost += lost_in([line.as_str()]),
        }
    }
    Ok(Account {
        seen: Some(seen),
        lost: Some(lost),
    })
}

/// The numbers of lines like `LOST 12 events!`, `Lost 12 events` and `… PERF_RECORD_LOST lost 12`.
fn lost_in<'a>(lines: impl IntoIterator<Item = &'a str>) -> u64 {
    let number = |line: &str| {
        let mut words = line.split_whitespace();
        words.find(|word| word.eq_ignore_ascii_case("lost"))?;
        words.next()?.parse::<u64>().ok()
    };
    lines.into_iter().filter_map(number).sum()
}

/// The counts of a reason in lines like `@[3, udp_rcv+1]: 12`.
fn counted(text: &str, reason: u32) -> u64 {
    let mark = format!("@[{reason}, ");
    let lines = text.lines().filter(|line| line.starts_with(&mark));
    lines
        .filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok())
        .sum()
}

/// The number of the reason `NO_SOCKET` on this kernel, for tools that tell no names.
fn no_socket() -> Result<u32> {
    let path = Path::new(host::TRACEFS).join("events/skb/kfree_skb/format");
    let format =
        fs::read_to_string(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    number_of(&format, "NO_SOCKET")
        .ok_or_else(|| format!("`{}` has no reason NO_SOCKET", path.display()))
}

fn number_of(format: &str, name: &str) -> Option<u32> {
    let end = format.find(&format!(", \"{name}\" }}"))?;
    format[..end].rsplit("{ ").next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_in_the_words_of_each_tool() {
        assert_eq!(lost_in(["LOST 12 events!", "Lost 3 events"]), 15);
        let script = "perf 123 [001] 1.5: PERF_RECORD_LOST lost 4";
        assert_eq!(lost_in([script]), 4);
        assert_eq!(lost_in(["flood 12 lost", "12 events"]), 0);
    }

    #[test]
    fn counts_of_one_reason() {
        let text = "Attaching 1 probe...\n\n@[2, kfree_skb+1]: 7\n@[3, a]: 10\n@[3, b+1]: 5\n";
        assert_eq!(counted(text, 3), 15);
    }

    #[test]
    fn a_reason_s_number_is_in_the_format() {
        let format = "__print_symbolic(REC->reason, { 2, \"NOT_SPECIFIED\" }, { 13, \"NO_SOCKET\" }, { 4, \"X\" })";
        assert_eq!(number_of(format, "NO_SOCKET"), Some(13));
        assert_eq!(number_of(format, "SOCKET"), None);
    }
}
