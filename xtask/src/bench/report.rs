//! The report, as Markdown.

use super::{
    growth::{Growth, SIZES},
    programs::RunTime,
    provenance::Provenance,
    single::{Idle, Latency},
    tournament::Tournament,
};
use std::fmt::Write as _;

/// All that was measured.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) provenance: Provenance,
    /// A sentence for each tool that is not there.
    pub(super) absent: Vec<String>,
    pub(super) tournaments: Vec<Tournament>,
    pub(super) idle: Vec<Idle>,
    pub(super) run_times: Vec<RunTime>,
    pub(super) latencies: Vec<Latency>,
    pub(super) growth: Growth,
}

impl Report {
    /// The text, with a link to the chart.
    pub(super) fn markdown(&self, chart: &str) -> String {
        let mut text = String::from("# What it costs to watch drops\n\n");
        text += &self.provenance();
        let _ = writeln!(text, "\n![Chart of the first table]({chart})");
        for tournament in &self.tournaments {
            text += &rates(tournament);
        }
        text += &idle(&self.idle);
        if !self.run_times.is_empty() {
            text += &run_times(&self.run_times);
        }
        if !self.latencies.is_empty() {
            text += &latencies(&self.latencies);
        }
        if !self.growth.rates.is_empty() {
            text += &growth(&self.growth);
        }
        text
    }

    fn provenance(&self) -> String {
        let Provenance {
            command,
            processors,
            memory,
            kernel,
            commit,
            date,
            tools,
            load,
        } = &self.provenance;
        let mut text = format!(
            "`{command}` on {date}, commit {commit}, Linux {kernel}, {processors}, {memory}; {}. \
             Load before the start: {load}.\n\n\
             A drop is a datagram to a closed UDP port of 127.0.0.1, in a network namespace of its own. Figures are \
             medians, with the least and the greatest. They hold for this machine and this day; what counts is how they \
             compare.\n",
            tools.join(", ")
        );
        for sentence in &self.absent {
            let _ = writeln!(text, "\nNot measured: {sentence}.");
        }
        text
    }
}

/// What the columns of the first tables mean.
const EXPLANATION: &str = "\
    They are sent as fast as can be, and rounds have each contestant in turn. *Of untraced* is the senders' rate as a part of \
    that without a watcher in the same round. *Delivered* is of the drops that were made in all rounds; *told lost* is what \
    the tool itself says. *CPU* is user and system time of the reader, seconds for a million drops, from after the start to \
    the end, with what makes events of what was recorded; what the end takes without drops is not in it.";

fn rates(tournament: &Tournament) -> String {
    let Tournament {
        senders,
        count,
        untraced,
        rows,
    } = tournament;
    let title = match senders {
        1 => "One sender".to_owned(),
        _ => format!("{senders} senders"),
    };
    let explanation = match senders {
        1 => EXPLANATION,
        _ => "As above, of all senders together.",
    };
    let mut text = format!(
        "\n## {title}\n\n\
         Floods of {count} drops. {explanation}\n\n\
         | | thousand drops/s | of untraced | delivered | told lost | CPU |\n\
         | --- | --- | --- | --- | --- | --- |\n\
         | nobody watches | {} | 1 | – | – | – |\n",
        thousands(untraced)
    );
    for row in rows {
        let name = row.contestant.name;
        let _ = match &row.result {
            Ok(figures) => writeln!(
                text,
                "| {name} | {} | {:.2} | {} | {} | {:.2} |",
                thousands(&figures.rate),
                figures.ratio,
                figures
                    .seen
                    .map_or("–".to_owned(), |seen| part(seen, figures.made)),
                figures.lost.map_or("–".to_owned(), |lost| lost.to_string()),
                figures.cpu
            ),
            Err(why) => writeln!(text, "| {name} | failed: {} | | | | |", one_line(why)),
        };
    }
    text
}

fn idle(rows: &[Idle]) -> String {
    let mut text = String::from(
        "\n## Start, memory, idleness\n\n\
         *Attached* is the time from the start of the process until it sees every drop. *Peak* is the largest resident set, \
         with its buffer. *Wake-ups* and *CPU* are those of a watcher of a machine that drops nothing.\n\n\
         | | attached, ms | peak, MB | wake-ups/s | CPU, ms/s |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let name = row.contestant.name;
        let _ = match &row.result {
            Ok(quiet) => writeln!(
                text,
                "| {name} | {:.0} | {:.1} | {:.1} | {:.2} |",
                quiet.start.as_secs_f64() * 1e3,
                quiet.peak_kib as f64 / 1024.0,
                quiet.wake_ups,
                quiet.cpu_ms
            ),
            Err(why) => writeln!(text, "| {name} | failed: {} | | | |", one_line(why)),
        };
    }
    text
}

fn run_times(rows: &[RunTime]) -> String {
    let mut text = String::from(
        "\n## In the kernel\n\n\
         Nanoseconds a run of the eBPF program, by the kernel's own count (`kernel.bpf_stats_enabled`), which adds some of its \
         own. The floor's programs are the least of their kind: 64 bytes into a ring, one more in a per-CPU hash.\n\n\
         | | ns a run | of its floor |\n\
         | --- | --- | --- |\n",
    );
    let median = |id: &str| {
        let row = rows.iter().find(|row| row.contestant.id == id)?;
        Some(row.ns.as_ref().ok()?.median)
    };
    for row in rows {
        let name = row.contestant.name;
        let floor = row.contestant.floor().and_then(median);
        let _ = match (&row.ns, floor) {
            (Ok(ns), Some(floor)) => {
                writeln!(text, "| {name} | {ns:.0} | {:.2} × |", ns.median / floor)
            }
            (Ok(ns), None) => writeln!(text, "| {name} | {ns:.0} | – |"),
            (Err(why), _) => writeln!(text, "| {name} | failed: {} | |", one_line(why)),
        };
    }
    text
}

fn latencies(rows: &[Latency]) -> String {
    let mut text = String::from(
        "\n## Latency of a single drop\n\n\
         From the kernel's time in the event to the return of the stream's `next`, with drops so far apart that the reader \
         sleeps before each; microseconds.\n\n\
         | backend | drops | median | 99 % within | greatest |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let us = |ns: u64| format!("{:.0}", ns as f64 / 1e3);
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.backend,
            row.samples,
            us(row.median),
            us(row.p99),
            us(row.max)
        );
    }
    text
}

fn growth(growth: &Growth) -> String {
    let mut text = String::from(
        "\n## How cost grows\n\n\
         With the rate of drops, eBPF backend, 96 bytes of each packet:\n\n\
         | drops/s asked | drops/s | CPU, s a million | waits for 1000 drops | lost |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for row in &growth.rates {
        let asked = row
            .asked
            .map_or("as fast as can be".to_owned(), |rate| rate.to_string());
        let _ = writeln!(
            text,
            "| {asked} | {:.0} | {:.2} | {:.1} | {} |",
            row.rate, row.cpu, row.waits, row.lost
        );
    }
    text += "\nWith the bytes that are taken, of packets of 1514 bytes:\n\n\
         | bytes | of untraced | CPU, s a million | lost |\n\
         | --- | --- | --- | --- |\n";
    for row in &growth.snap_lengths {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {} |",
            row.bytes, row.ratio, row.cpu, row.lost
        );
    }
    for (of, title) in SIZES {
        text += &format!("\n{title}\n\n| {of} | ns | of an empty program |\n| --- | --- | --- |\n");
        for row in growth.sizes.iter().filter(|row| row.of == of) {
            let ratio = row.empty.map_or("–".to_owned(), |empty| {
                format!("{:.2} ×", row.ns as f64 / empty as f64)
            });
            let _ = writeln!(text, "| {} | {} | {ratio} |", row.count, row.ns);
        }
    }
    text
}

fn thousands(rate: &super::statistics::Summary) -> String {
    format!("{:.0}", rate.map(|rate| rate / 1e3))
}

/// A part in percent. Rounded down, so that what is not all never looks like it.
fn part(some: u64, all: u64) -> String {
    if some == all {
        return "100 %".to_owned();
    }
    let part = (some as f64 / all as f64 * 1e5).floor() / 1e3;
    format!("{part:.3} %")
}

/// The beginning of a text, fit for a cell of a table.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "/").chars().take(160).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::{
            contestant::chosen,
            statistics::Summary,
            tournament::{Figures, Row},
        },
        *,
    };

    /// Of two contestants, of whom one failed.
    pub(in super::super) fn sample() -> Report {
        let figure = |median| Summary::of([median]).unwrap();
        let names = ["ebpf-96", "perf-record"].map(str::to_owned);
        let [ours, other] = chosen(&names).unwrap().try_into().unwrap();
        let figures = Figures {
            rate: figure(190_400.0),
            ratio: figure(0.955),
            cpu: figure(0.25),
            made: 1000,
            seen: Some(999),
            lost: Some(1),
        };
        let rows = vec![
            Row {
                contestant: ours,
                result: Ok(figures),
            },
            Row {
                contestant: other,
                result: Err("it | said\nno".to_owned()),
            },
        ];
        Report {
            provenance: Provenance::read("cargo xtask bench", &["--quick"]),
            absent: vec!["`bpftrace` was not found".to_owned()],
            tournaments: vec![Tournament {
                senders: 1,
                count: 1000,
                untraced: figure(199_000.0),
                rows,
            }],
            idle: Vec::new(),
            run_times: Vec::new(),
            latencies: Vec::new(),
            growth: Growth {
                rates: Vec::new(),
                snap_lengths: Vec::new(),
                sizes: Vec::new(),
            },
        }
    }

    #[test]
    fn a_row_has_what_was_measured_or_why_not() {
        let text = sample().markdown("x.svg");
        for line in [
            "| **skbdrop ebpf**, 96 bytes | 190 (190–190) | 0.95 (0.95–0.95) | 99.900 % | 1 | 0.25 (0.25–0.25) |",
            "| `perf record`, then `perf script` | failed: it / said no | | | | |",
            "| nobody watches | 199 (199–199) | 1 | – | – | – |",
            "Not measured: `bpftrace` was not found.",
            "![Chart of the first table](x.svg)",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        assert!(text.contains("`cargo xtask bench --quick` on 20"), "{text}");
    }

    #[test]
    fn what_is_not_all_does_not_look_like_it() {
        assert_eq!(part(401_000, 401_000), "100 %");
        assert_eq!(part(400_999, 401_000), "99.999 %");
        assert_eq!(part(9_999_999, 10_000_000), "99.999 %");
        assert_eq!(part(401_001, 401_000), "100.000 %");
    }

    #[test]
    fn errors_fit_into_a_cell() {
        assert_eq!(one_line("a\n  b | c"), "a b / c");
    }
}
