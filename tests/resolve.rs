//! The resolver on BTF and `format` texts that are no running kernel's: it must say what they say,
//! or nothing.
#![allow(clippy::unwrap_used)] // tests panic

use proptest::prelude::*;
use skbdrop::{
    ErrorKind, Resolver,
    reason::{Disagreement, NameSourceKind},
};
use std::{fs, path::PathBuf, time::Duration};
use support::btf::{Encoder, elf};

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
    btf.enumeration(
        "___mac80211_drop_reason",
        &[
            ("___RX_CONTINUE", 1),
            ("___RX_DROP_MONITOR", 0x1_0000),
            ("___RX_DROP_U_MIC_FAIL", 0x1_0001),
            ("___RX_DROP_UNUSABLE", 0x4_0000),
            ("___RX_DROP_OTHER", 0x5_0000),
        ],
    );
    btf.enumeration(
        "mac80211_drop_reason",
        &[
            ("RX_QUEUED", 0),
            ("RX_DROP_MONITOR", 0x1_0000),
            ("RX_DROP_U_MIC_FAIL", 0x1_0001),
            // As of 6.16, which says `RX_DROP_OTHER` where it gives the name itself.
            ("RX_DROP", 0x5_0000),
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
            (0x1_0000, "RX_DROP_MONITOR"),
            (0x1_0001, "RX_DROP_U_MIC_FAIL"),
            (0x2_0001, "OVS_DROP_LAST_ACTION"),
            (0x2_0002, "OVS_DROP_OTHER"),
            (0x5_0000, "RX_DROP_OTHER"),
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
    for marker in [4, 0xffff_0000, 0x2_0000, 0x2_0003, 0x4_0000, u32::MAX] {
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
fn negative_values_of_32_bits_are_no_reasons_either() {
    let mut btf = Encoder::new();
    let values = [
        ("SKB_DROP_REASON_NEGATIVE", u32::MAX),
        ("SKB_DROP_REASON_GOOD", 5),
    ];
    btf.signed_enumeration("skb_drop_reason", &values);
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
    assert_eq!(resolver.reasons().count(), 1);
    assert_eq!(resolver.reason(5).name(), Some("GOOD"));
}

#[test]
fn a_declaration_without_values_hides_nothing() {
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", &[]);
    btf.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_GOOD", 5)]);
    let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
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
fn a_truncated_format_is_a_clear_error() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/7.3.4+deb13-amd64");
    let whole = fs::read_to_string(format!("{folder}/kfree_skb.format")).unwrap();
    let list = whole.rfind("\"MAX\" }").unwrap() + "\"MAX\" }".len();
    for end in 0..=list {
        let error = Resolver::from_format(&whole[..end]).expect_err("a truncated format");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{end}: {error:#}");
    }
    Resolver::from_format(&whole[..=list]).unwrap();
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

/// A folder of the test's own, which goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skbdrop-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The core alone: what a kernel has without its modules.
fn core() -> Vec<u8> {
    let mut btf = Encoder::new();
    let reasons = [("SKB_DROP_REASON_NO_SOCKET", 3), MASK];
    btf.enumeration("skb_drop_reason", &reasons);
    btf.enumeration(
        "skb_drop_reason_subsys",
        &[("SKB_DROP_REASON_SUBSYS_NEW", 5)],
    );
    btf.finish()
}

/// A module of that kernel, whose BTF refers to its kernel's strings.
fn module(name: &str) -> Vec<u8> {
    let mut btf = Encoder::split(&core());
    btf.enumeration(
        "new_drop_reason",
        &[("__NEW_BASE", 0x5_0000), (name, 0x5_0001)],
    );
    btf.finish()
}

#[test]
fn modules_are_read_when_a_number_asks_and_their_names_stay() {
    let files = Folder::new("modules");
    let vmlinux = files.write("kernel", &core());
    let folder = Folder::new("modules-btf");
    // It costs only itself.
    folder.write("broken", b"nonsense");
    let builder = Resolver::builder().vmlinux(&vmlinux).modules_in(&folder.0);
    let mut resolver = builder.build().unwrap();
    assert_eq!(resolver.resolve(0x5_0001).name(), None);
    let path = folder.write("new", &module("NEW_FIRST"));
    // Not more often than once a second.
    assert_eq!(resolver.resolve(0x5_0001).name(), None);
    std::thread::sleep(Duration::from_millis(1100));
    let reason = resolver.resolve(0x5_0001);
    assert_eq!(reason.name(), Some("NEW_FIRST"));
    assert_eq!(reason.subsystem().unwrap().name.as_deref(), Some("NEW"));
    let source = reason.source().unwrap();
    assert_eq!(source.kind, NameSourceKind::ModuleBtf);
    assert_eq!(source.file.as_deref(), Some(&*path));
    fs::remove_file(&path).unwrap();
    assert!(!resolver.refresh());
    assert_eq!(resolver.reason(0x5_0001).name(), Some("NEW_FIRST"));
    // Another build of it is another file, whether or not the file system gives its number anew.
    folder.write("other", b"keeps the number");
    fs::remove_file(&path).unwrap_err();
    let renamed = folder.write("renamed", &module("NEW_SECOND"));
    fs::rename(renamed, &path).unwrap();
    assert!(resolver.refresh());
    assert_eq!(resolver.reason(0x5_0001).name(), Some("NEW_SECOND"));
    assert_eq!(resolver.reason(0x5_0000).name(), None);
}

#[test]
fn each_source_can_be_given_by_path_and_says_where_a_name_is_from() {
    let files = Folder::new("sources");
    let vmlinux = files.write("kernel", &core());
    let split = files.write("new", &module("NEW_FIRST"));
    let format = files.write(
        "format",
        print_fmt(&[(3, "NO_SOCKET"), (4, "MAX")]).as_bytes(),
    );
    let by_file = |raw, resolver: &Resolver| {
        let reason = resolver.reason(raw);
        let source = reason.source().unwrap();
        (source.kind, source.file.as_deref().map(ToOwned::to_owned))
    };

    let builder = Resolver::builder().vmlinux(&vmlinux).module(&split);
    let resolver = builder.format(&format).build().unwrap();
    assert_eq!(by_file(3, &resolver), (NameSourceKind::Btf, Some(vmlinux)));
    assert_eq!(
        by_file(0x5_0001, &resolver),
        (NameSourceKind::ModuleBtf, Some(split.clone()))
    );

    let resolver = Resolver::builder().format(&format).build().unwrap();
    assert_eq!(
        by_file(3, &resolver),
        (NameSourceKind::PrintFmt, Some(format.clone()))
    );
    assert_eq!(
        resolver.reason(3).source().unwrap().to_string(),
        format!("the tracepoint's print fmt in `{}`", format.display())
    );

    // BTF without reasons, and a list of them in tracefs.
    let none = files.write("none", &Encoder::new().finish());
    let resolver = Resolver::builder()
        .vmlinux(none)
        .format(&format)
        .build()
        .unwrap();
    assert_eq!(resolver.reason(3).name(), Some("NO_SOCKET"));

    // A module's alone is no kernel's, and no other kernel's either.
    let error = Resolver::from_btf_file(&split).unwrap_err();
    assert!(
        format!("{error:#}").contains("does not stand alone"),
        "{error:#}"
    );
    let missing = files.0.join("missing");
    for builder in [
        Resolver::builder().vmlinux(&missing),
        Resolver::builder().format(&missing),
        Resolver::builder().modules_in(&missing),
        Resolver::builder().module(&missing),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("missing`"), "{error}");
    }
}

/// The text of a `format` file with this list.
fn print_fmt(symbols: &[(u32, &str)]) -> String {
    let list: Vec<String> = symbols
        .iter()
        .map(|(raw, name)| format!("{{ {raw}, \"{name}\" }}"))
        .collect();
    format!(
        "name: kfree_skb\nID: 1\nformat:\n\nprint fmt: \"reason: %s\", __print_symbolic(REC->reason, {})\n",
        list.join(", ")
    )
}

#[test]
fn disagreement_with_print_fmt_is_told() {
    let resolver = Resolver::from_btf_bytes(&kernel(false)).unwrap();
    let good = print_fmt(&[(2, "NOT_SPECIFIED"), (3, "NO_SOCKET"), (4, "MAX")]);
    assert_eq!(resolver.check_format(&good).unwrap(), []);
    let moved = print_fmt(&[(2, "NOT_SPECIFIED"), (4, "NO_SOCKET"), (5, "MAX")]);
    let found: Vec<String> = resolver
        .check_format(&moved)
        .unwrap()
        .iter()
        .map(Disagreement::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "3 is NO_SOCKET here and nothing in print fmt",
            "4 is nothing here and NO_SOCKET in print fmt"
        ]
    );
    // A kernel without reasons is of one mind with its own tracepoint alone.
    let none = "name: kfree_skb\nprint fmt: \"skbaddr=%p\", REC->skbaddr\n";
    assert_eq!(resolver.check_format(none).unwrap().len(), 4);
    assert_eq!(Resolver::empty().check_format(none).unwrap(), []);
}

#[test]
fn what_the_kernel_says_of_itself_agrees() {
    let resolver = Resolver::from_kernel().unwrap();
    match resolver.check() {
        Ok(found) => assert_eq!(found, []),
        // Where backends are to be tested, as in guests, tracefs has to be there.
        Err(e)
            if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&e.kind())
                && std::env::var_os("SKBDROP_BACKENDS").is_none() =>
        {
            println!("skipped: {e:#}");
        }
        Err(e) => panic!("{e:#}"),
    }
}

/// Names as kernels have them, and as they should not be.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "SKB_DROP_REASON_[A-Z][A-Z0-9_]{0,12}",
        1 => "_{0,3}[A-Z]{1,3}_DROP_[A-Z]{1,4}(_MAX)?",
        1 => prop_oneof![
            Just("SKB_DROP_REASON_MAX"),
            Just("SKB_DROP_REASON_SUBSYS_MASK"),
            Just("SKB_DROP_REASON_"),
            Just("___"),
        ].prop_map(str::to_owned),
        1 => "[^\0\"]{0,12}",
    ]
}

/// Values close to each other, of subsystems, of 32 and of 64 bits, and negative ones.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200u64,
        2 => 0x1_0000..0x1_0010u64,
        1 => any::<u32>().prop_map(u64::from),
        1 => any::<u64>(),
        1 => Just(-1i32 as u32 as u64),
    ]
}

/// The ways in which a name may be shown: whole, without a prefix, without underscores in front.
fn spellings(name: &str) -> [&str; 4] {
    [
        name,
        name.strip_prefix("SKB_DROP_REASON_").unwrap_or(name),
        name.strip_prefix("SKB_").unwrap_or(name),
        name.trim_start_matches('_'),
    ]
}

/// Whether a name leaves no doubt: a reason of the core, and no marker.
fn is_plain(name: &str) -> bool {
    name.strip_prefix("SKB_DROP_REASON_").is_some_and(|rest| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !["", "MAX", "SUBSYS_MASK"].contains(&rest) && rest.bytes().all(good)
    })
}

/// What was encoded, or a number; never a neighbour. And what leaves no doubt is named.
fn assert_named_as_encoded(resolver: &Resolver, encoded: &[(String, u64)], must: bool) {
    for reason in resolver.reasons() {
        let raw = u64::from(reason.raw().unwrap());
        let name = reason.name().unwrap();
        let of_value = encoded.iter().filter(|(_, value)| *value == raw);
        let mut spelled = of_value.flat_map(|(name, _)| spellings(name));
        assert!(spelled.any(|spelling| spelling == name), "{raw} is {name}");
        assert!(!["MAX", "SUBSYS_MASK"].contains(&name), "{raw} is {name}");
    }
    for (name, value) in encoded {
        let Ok(raw) = u32::try_from(*value) else {
            continue;
        };
        if must && is_plain(name) {
            assert!(resolver.reason(raw).name().is_some(), "{raw} is {name}");
        }
        for neighbour in [raw.wrapping_sub(1), raw.wrapping_add(1)] {
            if !encoded
                .iter()
                .any(|(_, value)| *value == u64::from(neighbour))
            {
                assert_eq!(resolver.reason(neighbour).name(), None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_enum_in_btf_gives_what_it_says(
        core in prop::collection::vec((name(), value()), 0..60),
        other in prop::collection::vec((name(), value()), 0..20),
        wide: bool,
        big_endian: bool,
        mask in prop_oneof![Just(None), Just(Some(0xffff_0000u32)), any::<u32>().prop_map(Some)],
    ) {
        let mut btf = Encoder::new();
        btf.big_endian = big_endian;
        let mut core = core;
        if let Some(mask) = mask {
            core.push((MASK.0.to_owned(), mask.into()));
        }
        if !wide {
            core.iter_mut().for_each(|(_, value)| *value = u64::from(*value as u32));
        }
        if wide {
            let values: Vec<_> = core.iter().map(|(name, value)| (&**name, *value)).collect();
            btf.enumeration64("skb_drop_reason", &values);
        } else {
            let values: Vec<_> = core.iter().map(|(name, value)| (&**name, *value as u32)).collect();
            btf.enumeration("skb_drop_reason", &values);
        }
        let values: Vec<_> = other.iter().map(|(name, value)| (&**name, *value)).collect();
        btf.enumeration64("any_drop_reason", &values);
        let resolver = Resolver::from_btf_bytes(&btf.finish()).unwrap();
        let must = core.clone();
        let both: Vec<_> = core.into_iter().chain(other).collect();
        assert_named_as_encoded(&resolver, &both, false);
        for (name, value) in must {
            if let Ok(raw) = u32::try_from(value) && is_plain(&name) {
                prop_assert!(resolver.reason(raw).name().is_some(), "{} is {}", raw, name);
            }
        }
    }

    #[test]
    fn any_list_in_print_fmt_gives_what_it_says(
        symbols in prop::collection::vec((name(), 0..300u32), 0..60),
    ) {
        let symbols: Vec<_> = symbols.into_iter().map(|(name, raw)| (name.replace('\n', " "), raw)).collect();
        let list: Vec<_> = symbols.iter().map(|(name, raw)| (*raw, &**name)).collect();
        let resolver = Resolver::from_format(&print_fmt(&list)).unwrap();
        let encoded: Vec<_> = symbols.into_iter().map(|(name, raw)| (name, raw.into())).collect();
        assert_named_as_encoded(&resolver, &encoded, true);
    }
}
