//! The decoder on messages of real kernels, whole, cut and spoilt, and on some that no kernel sent.

mod recorded;

use super::*;
use crate::Layer;
use netlink_packet_core::DefaultNla;
use std::{fs, path::Path};

const OLD: &str = "5.10.0-32-cloud-amd64";
const NO_SUBSYSTEMS: &str = "6.1.0-50-cloud-amd64";
const RECENT: &str = "6.12.117+deb13-cloud-amd64";

const ALL: Taken = Taken {
    snap_len: 16384,
    hardware: true,
    now: 7,
};

/// See `tests/fixtures/HOW.md` in the repository, which the published crate is without.
fn fixture(kernel: &str, name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let path = folder.join(kernel).join(name).with_extension("netlink");
    let mut message = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    recorded::to_own_byte_order(&mut message);
    message
}

/// What the sink was given, as text: all fields of the records.
fn decoded(bytes: &[u8], taken: Taken) -> Result<Vec<String>> {
    let (message, _) = Message::parse(bytes)?;
    let mut records = Vec::new();
    decode(&message, message.kind, taken, &mut |record| {
        records.push(format!("{record:?}"));
    })?;
    Ok(records)
}

/// Checks the one record of a message.
fn one(bytes: &[u8], taken: Taken, check: impl FnOnce(Record<'_>)) {
    let (message, rest) = Message::parse(bytes).unwrap();
    assert!(rest.is_empty());
    let mut check = Some(check);
    decode(&message, message.kind, taken, &mut |record| {
        check.take().expect("one record")(record);
    })
    .unwrap();
    assert!(check.is_none(), "no record");
}

/// A message of ours. Families have numbers from 17 on.
fn made(command: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let attributes: Vec<_> = attributes
        .iter()
        .map(|&(kind, value)| DefaultNla::new(kind, value.to_vec()))
        .collect();
    super::super::message::request(32, 0, 0, (command, 2), &attributes)
}

fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    made(0, attributes)[20..].to_vec()
}

#[test]
fn a_packet_in_every_field() {
    let reasons = [
        (OLD, None),
        (NO_SUBSYSTEMS, Some("NO_SOCKET")),
        (RECENT, Some("NO_SOCKET")),
    ];
    for (kernel, reason) in reasons {
        one(&fixture(kernel, "udp4"), ALL, |record| {
            assert_eq!(record.reason, reason.map(Reason::Name));
            let symbol = record.symbol.unwrap();
            assert_eq!((symbol.name, symbol.module), ("__udp4_lib_rcv", None));
            // The text's offset is from the symbol's start, which is aligned.
            let location = record.location.unwrap();
            assert_eq!((location - symbol.offset) % 16, 0, "{location:#x}");
            assert_eq!(record.protocol, Some(0x0800));
            assert_eq!(record.original_length, Some(14 + 20 + 8 + 7));
            assert_eq!(record.packet.len(), 49);
            assert!(record.packet.ends_with(b"fixture"));
            assert_eq!(record.layer, Layer::Ethernet);
            assert_eq!((record.ifindex, record.ifname), (Some(1), None));
            let year_2025 = 1_735_689_600_000_000_000;
            assert!(
                matches!(record.time, Time::Wall(ns) if ns > year_2025),
                "{:?}",
                record.time
            );
            assert_eq!((record.trap, record.flow_action_cookie), (None, None));
            assert_eq!((record.netns, record.cpu, record.pid), (None, None, None));
            assert_eq!(record.count, 1);
        });
        one(&fixture(kernel, "udp6"), ALL, |record| {
            assert_eq!(record.symbol.unwrap().name, "__udp6_lib_rcv");
            assert_eq!(record.protocol, Some(0x86dd));
            assert_eq!(record.original_length, Some(14 + 40 + 8 + 7));
            assert_eq!(record.layer, Layer::Ethernet);
        });
    }
}

#[test]
fn the_time_is_that_of_the_record() {
    let bytes = fixture(RECENT, "udp4");
    let (message, _) = Message::parse(&bytes).unwrap();
    let wanted = time(&message).map(Time::Wall);
    one(&bytes, ALL, |record| assert_eq!(Some(record.time), wanted));
    let bytes = fixture(RECENT, "summary");
    let (message, _) = Message::parse(&bytes).unwrap();
    assert_eq!(time(&message), None);
}

#[test]
fn the_kernel_and_the_snap_length_bound_the_bytes() {
    one(&fixture(RECENT, "cut"), ALL, |record| {
        assert_eq!(
            (record.packet.len(), record.original_length),
            (20, Some(49))
        );
        assert_eq!(record.layer, Layer::Ethernet);
    });
    for snap_len in [0, 1, 13, 14, 49, 50] {
        let taken = Taken { snap_len, ..ALL };
        one(&fixture(RECENT, "udp4"), taken, |record| {
            assert_eq!(record.packet.len(), snap_len.min(49));
            assert_eq!(record.layer == Layer::Ethernet, snap_len >= 14);
            assert_eq!(record.original_length, Some(49));
        });
    }
}

#[test]
fn drops_in_hardware() {
    let cookie = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let cases = [
        ("hardware", ("blackhole_route", "l3_drops"), None),
        (
            "hardware-cookie",
            ("ingress_flow_action_drop", "acl_drops"),
            Some(&cookie[..]),
        ),
    ];
    for (name, (trap, group), cookie) in cases {
        let bytes = fixture(NO_SUBSYSTEMS, name);
        one(&bytes, ALL, |record| {
            let trap = Trap::new(trap.as_bytes(), Some(group.as_bytes()));
            assert_eq!(record.trap, Some(trap));
            assert_eq!(record.flow_action_cookie, cookie);
            assert_eq!(
                (record.ifindex, record.ifname),
                (Some(2), Some(&b"eth0"[..]))
            );
            assert_eq!((record.location, record.reason), (None, None));
            assert_eq!(record.protocol, Some(0x0800));
            assert_eq!(record.original_length, Some(142));
            assert_eq!(record.packet.len(), 142);
            assert_eq!(record.layer, Layer::Ethernet);
        });
        let software = Taken {
            hardware: false,
            ..ALL
        };
        assert!(decoded(&bytes, software).unwrap().is_empty());
    }
}

#[test]
fn summaries() {
    for kernel in [OLD, NO_SUBSYSTEMS, RECENT] {
        one(&fixture(kernel, "summary"), ALL, |record| {
            assert!(record.location.is_some_and(|address| address > 1 << 63));
            assert_eq!((record.count, record.time), (1, Time::Wall(7)));
            assert_eq!((record.trap, record.symbol), (None, None));
        });
    }
    let bytes = fixture(NO_SUBSYSTEMS, "hardware-summary");
    let (message, _) = Message::parse(&bytes).unwrap();
    let mut counts = Vec::new();
    decode(&message, message.kind, ALL, &mut |record| {
        assert_eq!((record.location, record.reason), (None, None));
        let trap = record.trap.unwrap();
        assert_eq!(trap.group, None);
        counts.push((
            String::from_utf8_lossy(trap.name).into_owned(),
            record.count,
        ));
    })
    .unwrap();
    let names: Vec<_> = counts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["fid_miss", "blackhole_route", "ttl_value_is_too_small"]
    );
    assert!(counts.iter().all(|&(_, count)| count == 10), "{counts:?}");
    let software = Taken {
        hardware: false,
        ..ALL
    };
    assert!(decoded(&bytes, software).unwrap().is_empty());
}

#[test]
fn a_summary_of_several_places() {
    let mut summary = 2u32.to_ne_bytes().to_vec();
    summary.extend(0xffff_ffff_8100_0042u64.to_ne_bytes());
    summary.extend(3u32.to_ne_bytes());
    summary.extend(0u64.to_ne_bytes());
    summary.extend(u32::MAX.to_ne_bytes());
    let whole = summary.len();
    // The attribute was made with room for more.
    summary.extend([0xff; 5]);
    let records = decoded(&made(CMD_ALERT, &[(0, &summary)]), ALL).unwrap();
    assert_eq!(records.len(), 2);
    assert!(records[0].contains("location: Some(18446744071578845250)"));
    assert!(records[0].contains("count: 3,"));
    // A device's own counter has no place in the kernel.
    assert!(records[1].contains("location: None"));
    assert!(records[1].contains("count: 4294967295,"));
    for len in 0..whole {
        let cut = made(CMD_ALERT, &[(0, &summary[..len])]);
        assert!(decoded(&cut, ALL).is_err(), "{len}");
    }
    for entries in [0x8000_0000, u32::MAX, 3] {
        summary[..4].copy_from_slice(&u32::to_ne_bytes(entries));
        let bytes = made(CMD_ALERT, &[(0, &summary)]);
        assert!(decoded(&bytes, ALL).is_err(), "{entries}");
    }
    let nothing = made(CMD_ALERT, &[]);
    assert!(decoded(&nothing, ALL).unwrap().is_empty());
}

#[test]
fn half_a_summary_is_not_handed_out() {
    let mut summary = 1u32.to_ne_bytes().to_vec();
    summary.extend([1; 12]);
    let no_count = nested(&[(attr::HW_TRAP_NAME, b"trap\0")]);
    let entries = nested(&[(attr::HW_ENTRY, &no_count)]);
    let bytes = made(CMD_ALERT, &[(0, &summary), (attr::HW_ENTRIES, &entries)]);
    let (message, _) = Message::parse(&bytes).unwrap();
    let mut handed = 0;
    assert!(decode(&message, 32, ALL, &mut |_| handed += 1).is_err());
    assert_eq!(handed, 0);
}

#[test]
fn a_symbol_that_may_be_cut_is_not_taken() {
    let cases: [(&[u8], Option<SymbolText<'_>>); 5] = [
        (
            b"nft_do_chain+0x1f/0x20 [nf_tables]\0",
            Some(SymbolText::new("nft_do_chain", 0x1f, Some("nf_tables"))),
        ),
        // 38 characters are whole, 39 may have lost some.
        (
            b"a_function_with_a_long_na+0x545/0xdd0f\0",
            Some(SymbolText::new("a_function_with_a_long_na", 0x545, None)),
        ),
        (b"a_function_with_a_very_long_name+0x545/\0", None),
        (b"a_function_with_a_longer_name_yet_+0x54\0", None),
        (b"0xffffffff81000042\0", None),
    ];
    for (text, symbol) in cases {
        let bytes = made(CMD_PACKET_ALERT, &[(attr::SYMBOL, text)]);
        one(&bytes, ALL, |record| assert_eq!(record.symbol, symbol));
    }
}

#[test]
fn the_link_layer_is_told_by_the_protocol() {
    let frame = |ethertype: u16| {
        let mut frame = vec![0; 34];
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame
    };
    let cases = [
        (Some(0x0800), 0x0800, Layer::Ethernet),
        (Some(0x0800), 0x8100, Layer::Ethernet),
        (Some(0x0800), 0x88a8, Layer::Ethernet),
        (Some(0x0800), 0x86dd, Layer::Link),
        (None, 0x0800, Layer::Link),
    ];
    for (protocol, ethertype, layer) in cases {
        let (payload, protocol) = (frame(ethertype), protocol.map(u16::to_ne_bytes));
        let mut attributes = vec![(attr::PAYLOAD, &payload[..])];
        if let Some(protocol) = &protocol {
            attributes.push((attr::PROTO, protocol));
        }
        let bytes = made(CMD_PACKET_ALERT, &attributes);
        one(&bytes, ALL, |record| assert_eq!(record.layer, layer));
    }
}

#[test]
fn what_later_kernels_add_is_passed_over() {
    let bytes = made(CMD_PACKET_ALERT, &[(99, b"new"), (attr::REASON, b"NEW\0")]);
    one(&bytes, ALL, |record| {
        assert_eq!(record.reason, Some(Reason::Name("NEW")));
        assert_eq!((record.ifindex, record.protocol), (None, None));
    });
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let bad: [&[(u16, &[u8])]; 7] = [
        &[(attr::ORIGIN, &[9, 9])],
        &[(attr::ORIGIN, &[1, 0])],
        &[(attr::ORIGIN, &[1])],
        &[(attr::PC, &[0; 7])],
        &[(attr::REASON, b"\xff\xfe\0")],
        &[(attr::ORIG_LEN, &[0; 8])],
        &[(attr::IN_PORT, &[9, 0, 0, 0, 1])],
    ];
    for attributes in bad {
        let bytes = made(CMD_PACKET_ALERT, attributes);
        let error = decoded(&bytes, ALL).expect_err("no record");
        assert_eq!(error.kind(), crate::ErrorKind::InvalidData);
    }
    assert!(decoded(&made(77, &[]), ALL).is_err());
    let bytes = made(CMD_PACKET_ALERT, &[]);
    let (message, _) = Message::parse(&bytes).unwrap();
    let mut sink = |_: Record<'_>| panic!("another family's");
    assert!(decode(&message, 33, ALL, &mut sink).is_err());
    assert!(decoded(&made(CMD_PACKET_ALERT, &[])[..18], ALL).is_err());
}

#[test]
fn nothing_panics() {
    let mut tried = 0;
    for (kernel, names) in [
        (OLD, &["udp4", "cut", "summary"][..]),
        (
            NO_SUBSYSTEMS,
            &["udp6", "hardware", "hardware-cookie", "hardware-summary"],
        ),
        (RECENT, &["udp4", "summary"]),
    ] {
        for name in names {
            let whole = fixture(kernel, name);
            for len in (0..whole.len()).step_by(LENGTHS) {
                let mut cut = whole[..len].to_vec();
                assert!(decoded(&cut, ALL).is_err(), "{kernel} {name} {len}");
                // The header may say so itself.
                if len >= 4 {
                    cut[..4].copy_from_slice(&(len as u32).to_ne_bytes());
                    try_all(&cut);
                }
            }
            for bit in (0..whole.len() * 8).step_by(BITS) {
                let mut spoilt = whole.clone();
                spoilt[bit / 8] ^= 1 << (bit % 8);
                try_all(&spoilt);
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000 / BITS, "{tried}");
}

/// Miri, which takes half a second for a message, tries some of the lengths and bits: primes, so that each bit of a byte comes.
const LENGTHS: usize = if cfg!(miri) { 61 } else { 1 };
const BITS: usize = if cfg!(miri) { 251 } else { 1 };

fn try_all(bytes: &[u8]) {
    if let Ok((message, _)) = Message::parse(bytes) {
        let _ = time(&message);
    }
    let _ = decoded(bytes, ALL);
}
