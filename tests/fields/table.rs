//! Which field on which kernel, by which backend: `docs/fields.md`, compared with what is seen here.

use crate::{BLOCKED, drop_on_the_way_out, is_blocked, queues::Sender, reason};
use skbdrop::{Backend, DropEvent, Monitor, SocketRole};
use std::{net::UdpSocket, time::Duration};
use support::{PATIENCE, backends, drain, drops::Lab};

/// The committed table.
const TABLE: &str = include_str!("../../docs/fields.md");

/// Whether an event has a field.
type Has = fn(&DropEvent) -> bool;

/// The fields of the table, and whether an event has each.
const FIELDS: [(&str, Has); 26] = [
    ("`reason`", |event| event.reason.is_some()),
    ("`location.address`", |event| {
        event.location.address.is_some()
    }),
    ("`location.symbol`", |event| event.location.symbol.is_some()),
    ("`protocol`", |event| event.protocol.is_some()),
    ("`length`", |event| event.length.is_some()),
    ("`packet`, `src`, `dst`, `headers()`", |event| {
        event.dst.is_some() && event.headers().transport.is_some()
    }),
    ("`ifindex`", |event| event.ifindex.is_some()),
    ("`ifname`", |event| event.ifname.is_some()),
    ("`iif`", |event| event.iif.is_some()),
    ("`device`", |event| event.device.is_some()),
    ("`netns.inode`", |event| event.netns.is_some()),
    ("`netns.cookie`", |event| {
        event.netns.as_ref().is_some_and(|it| it.cookie.is_some())
    }),
    ("`socket`, the sender's", |event| {
        event.socket.is_some_and(|it| it.role == SocketRole::Sender)
    }),
    ("`socket`, the receiver's", |event| {
        event
            .socket
            .is_some_and(|it| it.role == SocketRole::Receiver)
    }),
    ("`socket.uid`", |event| {
        event.socket.is_some_and(|it| it.uid.is_some())
    }),
    ("`socket.cgroup`", |event| {
        event.socket.is_some_and(|it| it.cgroup.is_some())
    }),
    (
        "`metadata.mark`, `hash`, `priority`, `queue_mapping`",
        |event| {
            event.metadata.is_some_and(|it| {
                it.mark.is_some()
                    && it.hash.is_some()
                    && it.priority.is_some()
                    && it.queue_mapping.is_some()
            })
        },
    ),
    ("`metadata.checksum`, `packet_type`", |event| {
        event
            .metadata
            .is_some_and(|it| it.checksum.is_some() && it.packet_type.is_some())
    }),
    ("`qdisc`", |event| event.qdisc.is_some()),
    ("`stack`", |event| !event.stack.is_empty()),
    ("`cpu`", |event| event.cpu.is_some()),
    ("`pid`", |event| event.pid.is_some()),
    ("`tid`", |event| event.tid.is_some()),
    ("`comm`", |event| event.comm.is_some()),
    ("`skb_address`", |event| event.skb_address.is_some()),
    ("`rx_sk_address`", |event| event.rx_sk_address.is_some()),
];

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn table_of_fields() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.split('.').take(2).collect::<Vec<_>>().join(".");
    for backend in backends() {
        let name = format!("{backend:?}").to_lowercase();
        let column = format!("{release} {name}");
        let events = drops_of_all_kinds(backend);
        let seen: Vec<bool> = FIELDS
            .iter()
            .map(|(_, has)| events.iter().any(has))
            .collect();
        println!("column {column}:");
        for ((field, _), seen) in FIELDS.iter().zip(&seen) {
            println!("  {} {field}", if *seen { "yes" } else { "-" });
        }
        let Some(told) = column_of(&column) else {
            println!("skipped: docs/fields.md has no column for {column}");
            continue;
        };
        let differing: Vec<&str> = FIELDS
            .iter()
            .zip(seen.iter().zip(&told))
            .filter(|(_, (seen, told))| seen != told)
            .map(|((field, _), _)| *field)
            .collect();
        assert!(
            differing.is_empty(),
            "docs/fields.md, column {column}: {differing:?}"
        );
    }
}

/// What the table has in a column, by the order of [`FIELDS`]; `None` if it has no such column.
fn column_of(column: &str) -> Option<Vec<bool>> {
    let rows: Vec<Vec<&str>> = TABLE
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let at = rows[0].iter().position(|head| *head == column)?;
    let cells = FIELDS.iter().map(|(field, _)| {
        let row = rows.iter().find(|row| row[0] == *field);
        let row = row.unwrap_or_else(|| panic!("docs/fields.md has no row {field}"));
        row[at] == "yes"
    });
    Some(cells.collect())
}

/// Whatever a backend can tell is told of one of these.
fn drops_of_all_kinds(backend: Backend) -> Vec<DropEvent> {
    let lab = Lab::new();
    drop_on_the_way_out(&lab.router, &is_blocked());
    let mut monitor = Monitor::builder()
        .backend(backend)
        .stacks(true)
        .build()
        .unwrap();
    lab.router.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = socket.send_to(b"blocked", ("127.0.0.1", BLOCKED));
    });
    Sender::new().send(&["root handle 7: pfifo limit 0"], 9..10);
    let made = lab.make_all().len();
    std::thread::sleep(Duration::from_millis(200));
    let events = drain(&mut monitor);
    assert!(
        events.len() >= made,
        "{} of {made} in {PATIENCE:?}",
        events.len()
    );
    let reasons: std::collections::BTreeSet<_> = events.iter().filter_map(reason).collect();
    println!("{} drops with {} reasons", events.len(), reasons.len());
    events
}
