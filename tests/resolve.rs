//! The resolver on BTF and `format` texts that are no running kernel's: it must say what they say,
//! or nothing.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{ErrorKind, Resolver};
use support::btf::Encoder;

const MASK: (&str, u32) = ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000);

/// Enums as kernels have them: markers, irregular names, subsystems, aliases.
fn kernel(big_endian: bool) -> Vec<u8> {
    let mut btf = Encoder::new();
    btf.big_endian = big_endian;
    btf.enumeration("unrelated", &[("SKB_DROP_REASON_FAKE", 7)]);
    btf.enumeration(
        "skb_drop_reason",
        &[
            ("SKB_NOT_DROPPED_YET", 0),
            ("SKB_CONSUMED", 1),
            ("SKB_DROP_REASON_NOT_SPECIFIED", 2),
            ("SKB_DROP_REASON_NO_SOCKET", 3),
            ("SKB_DROP_REASON_MAX", 4),
            MASK,
        ],
    );
    btf.enumeration(
        "skb_drop_reason_subsys",
        &[
            ("SKB_DROP_REASON_SUBSYS_CORE", 0),
            ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 2),
            ("SKB_DROP_REASON_SUBSYS_NUM", 3),
        ],
    );
    btf.enumeration(
        "ovs_drop_reason",
        &[
            ("RX_CONTINUE", 1),
            ("__OVS_DROP_REASON", 0x2_0000),
            ("OVS_DROP_LAST_ACTION", 0x2_0001),
            ("___OVS_DROP_OTHER", 0x2_0002),
            ("OVS_DROP_MAX", 0x2_0003),
        ],
    );
    btf.finish()
}

#[test]
fn names_are_the_kernels_without_prefix_and_markers() {
    for big_endian in [false, true] {
        let resolver = Resolver::from_btf_bytes(&kernel(big_endian)).unwrap();
        let names: Vec<_> = resolver
            .reasons()
            .map(|reason| (reason.raw().unwrap(), reason.name().unwrap().to_owned()))
            .collect();
        let expected = [
            (0, "NOT_DROPPED_YET"),
            (1, "CONSUMED"),
            (2, "NOT_SPECIFIED"),
            (3, "NO_SOCKET"),
            (0x2_0001, "OVS_DROP_LAST_ACTION"),
            (0x2_0002, "OVS_DROP_OTHER"),
        ];
        assert_eq!(names, expected.map(|(raw, name)| (raw, name.to_owned())));
        assert_eq!(resolver.number("NO_SOCKET"), Some(3));
        assert_eq!(resolver.number("MAX"), None);
        assert_eq!(resolver.subsystems().count(), 2);
    }
}

#[test]
fn number_subsystem_and_name_are_kept_apart() {
    let resolver = Resolver::from_btf_bytes(&kernel(false)).unwrap();
    let known = resolver.reason(0x2_0001);
    assert_eq!(
        known.subsystem().unwrap().name.as_deref(),
        Some("OPENVSWITCH")
    );
    assert_eq!(known.to_string(), "OVS_DROP_LAST_ACTION");
    // No enum has it: a number, in a subsystem that is known.
    let unknown = resolver.reason(0x2_4242);
    assert_eq!((unknown.raw(), unknown.name()), (Some(0x2_4242), None));
    assert_eq!(
        unknown.subsystem().unwrap().name.as_deref(),
        Some("OPENVSWITCH")
    );
    assert_eq!(unknown.to_string(), "148034");
    // A subsystem that the kernel does not name.
    let foreign = resolver.reason(0x7_0001);
    assert_eq!(
        (foreign.subsystem().unwrap().number, foreign.name()),
        (Some(7), None)
    );
    assert_eq!(foreign.subsystem().unwrap().name, None);
    for marker in [4, 0xffff_0000, 0x2_0000, 0x2_0003, u32::MAX] {
        assert_eq!(resolver.reason(marker).name(), None, "{marker:#x}");
    }
}

#[test]
fn shuffled_values_give_the_shuffled_names() {
    let shuffled: Vec<(String, u32)> = (0..100)
        .map(|n| (format!("SKB_DROP_REASON_R{n}"), (n * 37 + 11) % 101))
        .collect();
    let pairs: Vec<(&str, u32)> = shuffled
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", &pairs);
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
    for (name, value) in shuffled {
        assert_eq!(
            Some(resolver.reason(value).to_string().as_str()),
            name.strip_prefix("SKB_DROP_REASON_")
        );
    }
    assert_eq!(resolver.reason(101).name(), None);
}

#[test]
fn wide_and_negative_values_are_no_reasons() {
    let mut btf = Encoder::new();
    btf.enumeration64(
        "skb_drop_reason",
        &[
            ("SKB_DROP_REASON_GOOD", 5),
            ("SKB_DROP_REASON_WIDE", 0x1_0000_0005),
            ("SKB_DROP_REASON_NEGATIVE", u64::MAX),
        ],
    );
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
    assert_eq!(resolver.reasons().count(), 1);
    assert_eq!(resolver.reason(5).name(), Some("GOOD"));
}

#[test]
fn a_kernel_without_reasons_names_none() {
    let mut btf = Encoder::new();
    btf.enumeration("other", &[("A", 1)]);
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
    assert_eq!(resolver.reasons().count(), 0);
    assert_eq!(resolver.reason(3).subsystem(), None);
    assert_eq!(Resolver::empty().reason(3).to_string(), "3");
}

#[test]
fn print_fmt_is_a_second_source() {
    let format = "name: kfree_skb\nID: 1\nformat:\n\nprint fmt: \"reason: %s\", \
        __print_symbolic(REC->reason, { 1, \"NOT_SPECIFIED\" }, { 2, \"NO_SOCKET\" }, { 3, \"MAX\" })\n";
    let resolver = Resolver::from_format(format).unwrap();
    assert_eq!(resolver.reason(2).name(), Some("NO_SOCKET"));
    assert_eq!(resolver.reason(3).name(), None);
    assert_eq!(
        Resolver::from_format("nonsense").unwrap_err().kind(),
        ErrorKind::InvalidData
    );
}

#[test]
fn corrupt_btf_is_a_clear_error_and_never_a_panic() {
    let good = kernel(false);
    for end in 0..good.len() {
        let error = Resolver::from_btf_bytes(&good[..end]).expect_err("a truncated BTF");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{end}: {error:#}");
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            // Whatever a changed bit means: an error, or other names for other values.
            if let Ok(resolver) = Resolver::from_btf_bytes(&bad) {
                resolver
                    .reasons()
                    .for_each(|reason| drop(reason.to_string()));
            }
        }
    }
}

#[test]
fn errors_name_the_file_and_what_was_expected() {
    let missing = Resolver::from_btf_file("/nonexistent/vmlinux").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(
        format!("{missing:#}").contains("`/nonexistent/vmlinux`"),
        "{missing:#}"
    );
    let other = Resolver::from_btf_file("/proc/self/exe").unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidData);
    assert!(
        format!("{other:#}").contains("no `.BTF` section"),
        "{other:#}"
    );
    let text = Resolver::from_btf_file("/proc/self/status").unwrap_err();
    assert!(format!("{text:#}").contains("not BTF"), "{text:#}");
}

#[test]
fn vmlinux_is_read_by_its_section() {
    let btf = kernel(false);
    let folder = std::env::temp_dir().join(format!("skbdrop-elf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("vmlinux");
    std::fs::write(&path, elf(&btf)).unwrap();
    let resolver = Resolver::from_btf_file(&path).unwrap();
    assert_eq!(resolver.number("NO_SOCKET"), Some(3));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A minimal 64-bit ELF file with `btf` as its section `.BTF`.
fn elf(btf: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    let names = b"\0.BTF\0.shstrtab\0";
    let names_at = HEADER + btf.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [1u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [0, 0, sections_at] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [HEADER as u16, 0, 0, 64, 3, 2] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(btf);
    file.extend_from_slice(names);
    file.resize(sections_at as usize, 0);
    for (name, kind, at, len) in [
        (0u32, 0u32, 0, 0),
        (1, 1, HEADER, btf.len() as u64),
        (6, 3, names_at, names.len() as u64),
    ] {
        file.extend_from_slice(&name.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        for word in [0, 0, at, len, 0, 1, 0] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file
}

#[test]
fn the_running_kernel_is_read_the_same_whole_and_pruned() {
    let Ok(whole) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        panic!("this kernel shows no BTF: the tests need CONFIG_DEBUG_INFO_BTF");
    };
    let pruned = skbdrop::prune_btf(&whole).unwrap();
    assert!(pruned.bytes.len() < 100_000, "{} bytes", pruned.bytes.len());
    assert!(pruned.tracepoint_id.is_some());
    let names = |resolver: Resolver| {
        resolver
            .reasons()
            .map(|reason| (reason.raw(), reason.to_string()))
            .collect::<Vec<_>>()
    };
    let from_kernel = names(Resolver::from_kernel().unwrap());
    assert!(from_kernel.len() > 5, "{from_kernel:?}");
    assert_eq!(
        from_kernel,
        names(Resolver::from_btf_bytes(&whole).unwrap())
    );
    assert_eq!(
        from_kernel,
        names(Resolver::from_btf_bytes(&pruned.bytes).unwrap())
    );
    // Pruning again finds nothing to leave out.
    assert_eq!(
        skbdrop::prune_btf(&pruned.bytes).unwrap().bytes,
        pruned.bytes
    );
}
