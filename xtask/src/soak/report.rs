//! The report of a long run.

use super::{
    place::Place,
    said::{MAX_GROWTH, Said, WARM_UP, number},
};
use crate::bench::Provenance;

/// `minutes` is how long it was, and `place` where.
pub(super) fn report(said: &Said, minutes: u64, place: &Place, provenance: &Provenance) -> String {
    let peak = place.peak();
    let mut text = format!(
        "# A long run\n\n\
        {minutes} minutes, all backends that the machine has at once in one process, each with a filter; UDP datagrams to a closed port in a \
        network namespace of its own, one of ten to another port than the filters of eBPF and netlink want, {} to {peak} a second and back \
        within fifty seconds as far as the processor keeps up, then ten of silence. {} `{}` writes this \
        file.\n\n",
        peak / 100,
        match place {
            Place::Here => "Other programs of the machine dropped packets meanwhile.",
            Place::Guest(_) =>
                "Nothing else ran in the guest, which other programs of its host left what time they did not need.",
        },
        provenance.command
    );
    let mut line = |line: String| {
        text += &line;
        text.push('\n');
    };
    line(format!(
        "* {}, {}",
        provenance.processors, provenance.memory
    ));
    let kernel = match place {
        Place::Here => provenance.kernel.clone(),
        Place::Guest(kernel) => format!("{} in QEMU, emulated", kernel.release()),
    };
    line(format!(
        "* Linux {kernel}, commit {}, {}",
        provenance.commit, provenance.date
    ));
    for absent in &said.absent {
        line(format!("* without {absent}"));
    }
    line("\n## Where each drop went\n".to_owned());
    line(format!(
        "Made for the wanted port: {}. Dropped by all of the machine meanwhile, by the kernel's own count: {}. With each backend the columns add up to the \
         latter, but that `drop_monitor` tells netlink of no packet without a link-layer header. What was received and lost by eBPF, whose filter \
         takes the namespace and port, adds up to the former, and so does netlink's, whose filter takes the port.\n",
        number(&said.made, "drops"),
        number(&said.made, "all")
    ));
    line("| backend | received | lost | filtered | undecodable | sum |".to_owned());
    line("| --- | --- | --- | --- | --- | --- |".to_owned());
    for account in &said.accounts {
        let cells = ["received", "lost", "filtered", "undecodable", "sum"]
            .map(|key| number(account, key).to_string());
        let backend = account
            .get("backend")
            .map(String::as_str)
            .unwrap_or_default();
        line(format!("| {backend} | {} |", cells.join(" | ")));
    }
    line("\n## What was held\n".to_owned());
    line(range(said, "rss_kib", "resident memory", "KiB"));
    line(range(said, "descriptors", "descriptors", ""));
    line(range(said, "threads", "threads", ""));
    line(String::new());
    line("| minute | memory, KiB | descriptors | threads |".to_owned());
    line("| --- | --- | --- | --- |".to_owned());
    for sample in said
        .samples
        .iter()
        .step_by(said.samples.len().div_ceil(ROWS).max(1))
    {
        let cells =
            ["rss_kib", "descriptors", "threads"].map(|key| number(sample, key).to_string());
        let minute = number(sample, "seconds") as f64 / 60.0;
        line(format!("| {minute:.1} | {} |", cells.join(" | ")));
    }
    line("\n## What was wrong\n".to_owned());
    match said.faults.is_empty() {
        true => line(format!(
            "Nothing: each drop is in the account, and the second half held no more descriptors and threads than the first, nor {} MiB \
             more memory.",
            MAX_GROWTH / 1024
        )),
        false => said
            .faults
            .iter()
            .for_each(|fault| line(format!("* {fault}"))),
    }
    text
}

/// The least and the most after the first minute, in which buffers are touched for the first time.
fn range(said: &Said, key: &str, what: &str, unit: &str) -> String {
    let numbers = said.numbers(key, WARM_UP);
    let (least, most) = (numbers.iter().min(), numbers.iter().max());
    match (least, most) {
        (Some(least), Some(most)) => {
            let text = format!("* {what} after the first minute: {least} to {most} {unit}");
            text.trim_end().to_owned()
        }
        _ => format!("* {what}: not looked at after the first minute"),
    }
}

/// Lines of the table of samples.
const ROWS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_and_told() {
        let said = Said::parse(
            "absent backend=netlink: no drop_monitor\n\
             sample seconds=10 rss_kib=9000 descriptors=20 threads=3 ebpf=10 perf=11\n\
             sample seconds=60 rss_kib=12000 descriptors=20 threads=3 ebpf=10 perf=11\n\
             sample seconds=70 rss_kib=12100 descriptors=21 threads=3 ebpf=10 perf=11\n\
             made drops=100 all=107\n\
             account backend=ebpf received=99 lost=1 filtered=7 undecodable=0 sum=107\n\
             fault ebpf: 99 and 1 lost are not the 101 that were made\n",
        );
        assert_eq!(said.numbers("rss_kib", 60), [12000, 12100]);
        assert_eq!(said.grown(), ["21 descriptors, after 20"]);
        let text = report(
            &said,
            2,
            &Place::Here,
            &Provenance::read("cargo xtask soak", &[]),
        );
        for part in [
            "200 to 20000 a second",
            "* without netlink: no drop_monitor",
            "port: 100. ",
            "count: 107.",
            "| ebpf | 99 | 1 | 7 | 0 | 107 |",
            "* resident memory after the first minute: 12000 to 12100 KiB\n",
            "* descriptors after the first minute: 20 to 21\n",
            "| 1.0 | 12000 | 20 | 3 |",
            "* ebpf: 99 and 1 lost",
        ] {
            assert!(text.contains(part), "`{part}` is not in {text}");
        }
        assert!(!text.contains("Nothing:"), "{text}");
    }
}
