//! The verifier takes every program with every wish, on each kernel; and how large they are for it, which
//! `docs/programs.md` has for the kernels tested.
#![allow(clippy::unwrap_used)] // tests panic

use aya::programs::{ProgramInfo, loaded_programs};
use skbdrop::{Backend, Builder, By, Counters, Monitor};
use std::{
    any::Any,
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Times that each is loaded: the middle one counts.
const ROUNDS: usize = 3;
/// BTF from a file: its types need not be numbered as the kernel numbers them, so that the program must do without.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Numbers of the programs that this process holds.
fn own() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    // Those of attachments have it too.
    let number = |text: String| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
    };
    texts.filter_map(number).collect()
}

fn monitor(with: impl Fn(Builder) -> Builder) -> Box<dyn Any> {
    let builder = Monitor::builder().backend(Backend::Ebpf).symbols(false);
    Box::new(with(builder).build().unwrap())
}

fn counters(by: &[By], btf: Option<&str>) -> Box<dyn Any> {
    let builder = Counters::builder().by(by.iter().copied());
    let builder = match btf {
        Some(path) => builder.btf_file(path),
        None => builder,
    };
    Box::new(builder.build().unwrap())
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn each_program_is_taken_by_the_verifier() {
    let (mut told, writer) = io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(writer))
        .with_max_level(tracing::Level::WARN)
        .finish();
    tracing::subscriber::with_default(subscriber, open_each);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    // The library would make do with the program as it was written, which is longer.
    assert!(!text.contains("only as it was written"), "{text}");
}

/// Opens each, and prints how large its program is.
fn open_each() {
    type Open = fn() -> Box<dyn Any>;
    const ALL: [By; 5] = [
        By::Reason,
        By::Location,
        By::Interface,
        By::NetNs,
        By::Protocol,
    ];
    let candidates: [(&str, &str, Open); 8] = [
        ("monitor", "skbdrop_tp_btf", || monitor(|builder| builder)),
        (
            "monitor, reasons and places alone",
            "skbdrop_tp_btf",
            || {
                monitor(|builder| {
                    let lean = builder.snap_len(0).metadata(false);
                    lean.sockets(false).qdiscs(false)
                })
            },
        ),
        ("monitor, with stacks and 16 KiB", "skbdrop_tp_btf", || {
            monitor(|builder| builder.stacks(true).snap_len(16384))
        }),
        ("monitor, by a helper", "skbdrop_raw_tp", || {
            monitor(|builder| builder.btf_file(BTF))
        }),
        ("the same with stacks and 16 KiB", "skbdrop_raw_tp", || {
            monitor(|builder| builder.btf_file(BTF).stacks(true).snap_len(16384))
        }),
        ("counters", "skbdrop_count_t", || {
            counters(&[By::Reason, By::Location], None)
        }),
        ("counters, of all kinds", "skbdrop_count_t", || {
            counters(&ALL, None)
        }),
        (
            "counters of all kinds, by a helper",
            "skbdrop_count_r",
            || counters(&ALL, Some(BTF)),
        ),
    ];
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    println!(
        "| {} | instructions | looked at | bytes of machine code | ms to open |",
        release.trim()
    );
    println!("| --- | --- | --- | --- | --- |");
    for (what, name, open) in candidates {
        let mut times: Vec<Duration> = Vec::new();
        let mut info = None;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let opened = open();
            times.push(began.elapsed());
            info = Some(own_program(what, name));
            drop(opened);
            assert_eq!(own(), BTreeSet::new(), "{what} leaves its program");
        }
        times.sort();
        let info = info.unwrap();
        // Each is eight bytes. Since 5.16 the kernel tells how many it looked at, some of them several times.
        let instructions = info.size_translated().unwrap() / 8;
        let looked_at = info.verified_instruction_count();
        let machine_code = info.size_jitted();
        // A kernel without a compiler for them interprets them.
        let has_compiler = Path::new("/proc/sys/net/core/bpf_jit_enable").exists();
        assert!(instructions > 20, "{info:?}");
        assert_eq!(machine_code > 100, has_compiler, "{info:?}");
        println!(
            "| {what} | {instructions} | {} | {machine_code} | {:.1} |",
            looked_at.map_or("-".to_owned(), |count| count.to_string()),
            times[ROUNDS / 2].as_secs_f64() * 1e3
        );
    }
}

/// The program of this process that has this name. Beside it there is no other than that on the tracepoint of queueing
/// disciplines, and that only where the kernel has the tracepoint and it was asked for.
fn own_program(what: &str, name: &str) -> ProgramInfo {
    let own = own();
    let programs = loaded_programs().filter_map(Result::ok);
    let own = programs.filter(|program| own.contains(&program.id()));
    let (mut found, others): (Vec<_>, Vec<_>) =
        own.partition(|program| program.name_as_str() == Some(name));
    let others: Vec<_> = others.iter().filter_map(ProgramInfo::name_as_str).collect();
    let of_queues = match name {
        "skbdrop_tp_btf" => "skbdrop_qdisc_t",
        _ => "skbdrop_qdisc_r",
    };
    let has_tracepoint = Path::new("/sys/kernel/tracing/events/qdisc/qdisc_drop").exists();
    let is_wanted = has_tracepoint && !what.contains("alone") && !what.contains("counters");
    let expected: &[&str] = if is_wanted { &[of_queues] } else { &[] };
    assert_eq!(others, expected, "{what}");
    assert_eq!(found.len(), 1, "{what}: {name}");
    found.remove(0)
}
