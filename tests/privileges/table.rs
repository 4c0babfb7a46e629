//! Which capabilities suffice on which kernel, and what is said without: `docs/privileges.md`, compared with what is seen here.

use crate::PROBE;
use rustix::thread::CapabilitySet;
use skbdrop::Backend;
use std::fs;
use support::{fewer, is_named};

/// The committed tables.
const DOCUMENT: &str = include_str!("../../docs/privileges.md");

/// What the probe opens as a user without privileges, and the capabilities that this user is given.
const CASES: [(&str, &str); 17] = [
    ("ebpf", "CAP_BPF + CAP_PERFMON + CAP_SYS_RESOURCE"),
    ("ebpf", "CAP_BPF + CAP_PERFMON"),
    ("ebpf", "CAP_SYS_ADMIN"),
    ("ebpf", "CAP_BPF"),
    ("ebpf", "CAP_PERFMON"),
    ("ebpf", "none"),
    ("perf", "CAP_PERFMON + CAP_DAC_READ_SEARCH"),
    ("perf", "CAP_SYS_ADMIN + CAP_DAC_READ_SEARCH"),
    ("perf", "CAP_PERFMON"),
    ("perf", "CAP_DAC_READ_SEARCH"),
    ("perf", "none"),
    ("netlink", "CAP_NET_ADMIN + CAP_SYS_ADMIN"),
    ("netlink", "CAP_NET_ADMIN"),
    ("netlink", "CAP_SYS_ADMIN"),
    ("netlink", "none"),
    ("symbols", "CAP_SYSLOG"),
    ("symbols", "none"),
];

/// What an answer depends on besides.
const SETTINGS: [&str; 3] = [
    "kernel.perf_event_paranoid",
    "kernel.unprivileged_bpf_disabled",
    "kernel.kptr_restrict",
];

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn table_of_capabilities() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.split('.').take(2).collect::<Vec<_>>().join(".");
    let settings = SETTINGS.map(|name| {
        let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")));
        (["setting", name], value.unwrap().trim().to_owned())
    });
    let cases =
        CASES.map(|(what, capabilities)| ([what, capabilities], answer(what, capabilities)));
    let seen = [&settings[..], &cases].concat();
    println!("column {release}:");
    for ([what, by], cell) in &seen {
        println!("| {what} | {by} | {cell} |");
    }
    let is_set_so = |([what, by], value): &([&str; 2], String)| {
        cell(what, by, &release).as_ref() == Some(value)
    };
    if !settings.iter().all(is_set_so) {
        println!(
            "skipped: docs/privileges.md has no column for Linux {release} with these settings"
        );
        return;
    }
    let differing = seen.iter().filter(|case| !is_set_so(case));
    let differing: Vec<_> = differing.collect();
    assert!(
        differing.is_empty(),
        "docs/privileges.md, column {release}: {differing:?}"
    );
}

/// `yes`, or the letter of what was said; `-` where this kernel has no such thing, or we have not the capability to give.
fn answer(what: &str, capabilities: &str) -> String {
    let names = capabilities.split(" + ");
    let names: Vec<_> = names.filter_map(|name| name.strip_prefix("CAP_")).collect();
    let held = rustix::thread::capabilities(None).unwrap().permitted;
    let is_held = |name: &&str| held.contains(CapabilitySet::from_name(name).unwrap());
    if !names.iter().all(is_held) {
        return "-".to_owned();
    }
    let given = names.iter().map(|name| format!("+{}", name.to_lowercase()));
    let given = given.collect::<Vec<_>>().join(",");
    let said = fewer::with_capabilities(PROBE, &given, what);
    if said.starts_with("ok: ") {
        return "yes".to_owned();
    }
    if said.contains("`drop_monitor` is not in this kernel") && !is_named(Backend::Netlink) {
        return "-".to_owned();
    }
    let refusal = said.strip_prefix("PermissionDenied: ");
    let refusal = refusal.unwrap_or_else(|| panic!("{what} with {capabilities}: {said}"));
    println!("{what} with {capabilities}: {refusal}");
    let letter = sentences().find(|(_, sentence)| refusal.starts_with(sentence));
    letter.map_or("?", |(letter, _)| letter).to_owned()
}

/// The cells of each row of the tables.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// What the document has for a case on a kernel; `None` if it has no such column.
fn cell(what: &str, by: &str, release: &str) -> Option<String> {
    let head = rows().find(|row| row[0] == "what").unwrap();
    let at = head.iter().position(|cell| *cell == release)?;
    let row = rows().find(|row| row[..2] == [what, by]);
    let row = row.unwrap_or_else(|| panic!("docs/privileges.md has no row of {what}, {by}"));
    Some(row[at].to_owned())
}

/// The letters and what each stands for: rows of two cells.
fn sentences() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = rows().filter(|row| row.len() == 2 && row[0].len() == 1);
    rows.map(|row| (row[0], row[1]))
}

#[test]
fn each_case_has_a_row_and_each_letter_a_sentence() {
    for (what, by) in CASES
        .into_iter()
        .chain(SETTINGS.map(|name| ("setting", name)))
    {
        let row = rows().find(|row| row[..2] == [what, by]);
        let row = row.unwrap_or_else(|| panic!("docs/privileges.md has no row of {what}, {by}"));
        for told in &row[2..] {
            let is_known = matches!(*told, "yes" | "-")
                || what == "setting"
                || sentences().any(|(letter, _)| letter == *told);
            assert!(is_known, "{what}, {by}: {told}");
        }
    }
    let letters = rows().skip(1).flatten().filter(|cell| cell.len() == 1);
    assert!(letters.count() > sentences().count(), "each letter is used");
}
