//! The resolver on recorded facts of real kernels: every name of every enum, by other readings of the same
//! facts. Needs no privilege. How the fixtures were made: `fixtures/HOW.md`.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{ErrorKind, Resolver, Subsystem};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use support::btf::Encoder;

/// The low half of a number counts within a subsystem, on every kernel recorded. Written here, for the
/// library reads it from the kernel.
const SUBSYSTEM: u32 = 0xffff_0000;

/// What one kernel said.
struct Kernel {
    release: String,
    folder: PathBuf,
    /// In the order of declaration.
    enumerators: Vec<Enumerator>,
}

/// A line of `reasons.txt`: what bpftool read.
struct Enumerator {
    module: String,
    enumeration: String,
    name: String,
    number: u32,
}

impl Kernel {
    fn all() -> Vec<Self> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let entries = fs::read_dir(fixtures).unwrap();
        let folders = entries.map(|entry| entry.unwrap().path());
        let mut kernels: Vec<Self> = folders.filter_map(Self::recorded).collect();
        kernels.sort_by(|a, b| a.release.cmp(&b.release));
        // A test of no kernel would pass.
        assert!(kernels.len() >= 8, "{} kernels", kernels.len());
        kernels
    }

    /// `None` for a folder without facts, which has other fixtures.
    fn recorded(folder: PathBuf) -> Option<Self> {
        let text = fs::read_to_string(folder.join("reasons.txt")).ok()?;
        let enumerators = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [module, enumeration, name, number] = words[..] else {
                panic!("{}: {line}", folder.display());
            };
            Enumerator {
                module: module.to_owned(),
                enumeration: enumeration.to_owned(),
                name: name.to_owned(),
                number: number.parse().unwrap(),
            }
        });
        Some(Self {
            enumerators: enumerators.collect(),
            release: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            folder,
        })
    }

    fn starting(release: &str) -> Self {
        let mut kernels = Self::all().into_iter();
        let found = kernels.find(|kernel| kernel.release.starts_with(release));
        found.unwrap_or_else(|| panic!("no kernel {release}"))
    }

    fn read(&self, file: &str) -> Vec<u8> {
        let path = self.folder.join(file);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn format(&self) -> String {
        String::from_utf8(self.read("kfree_skb.format")).unwrap()
    }

    /// The modules that declare reasons.
    fn modules(&self) -> BTreeSet<&str> {
        let modules = self.enumerators.iter().map(|it| it.module.as_str());
        modules.filter(|module| *module != "vmlinux").collect()
    }

    /// The resolver of this kernel with its modules loaded.
    fn resolver(&self) -> Resolver {
        let at = |file: &str| self.folder.join(file);
        let mut builder = Resolver::builder().vmlinux(at("vmlinux.btf"));
        for module in self.modules() {
            builder = builder.module(at(&format!("{module}.btf")));
        }
        builder.build().unwrap()
    }

    fn core(&self) -> impl Iterator<Item = &Enumerator> {
        let all = self.enumerators.iter();
        all.filter(|it| it.enumeration == "skb_drop_reason")
    }

    fn subsystems(&self) -> impl Iterator<Item = &Enumerator> {
        let all = self.enumerators.iter();
        all.filter(|it| it.enumeration == "skb_drop_reason_subsys")
    }

    /// Enumerators of the subsystems' own enums.
    fn foreign(&self) -> impl Iterator<Item = &Enumerator> {
        let all = self.enumerators.iter();
        all.filter(|it| !it.enumeration.starts_with("skb_drop_reason"))
    }

    /// Number and name of each reason of this kernel, as its enums have them.
    fn expected(&self) -> BTreeMap<u32, String> {
        let core = self.core().filter(|it| !is_core_marker(&it.name));
        let mut expected: BTreeMap<u32, String> = core
            .map(|it| (it.number, plain_core(&it.name).to_owned()))
            .collect();
        // What a subsystem spells without underscores is a reason, its base too: drop_monitor says
        // `RX_DROP_MONITOR`. What is in the core's range aliases one of the core's: `RX_QUEUED`.
        for it in self.foreign() {
            if it.number & SUBSYSTEM != 0 && !it.name.starts_with('_') && !it.name.ends_with("_MAX")
            {
                let other = expected.insert(it.number, it.name.clone());
                let name = &it.name;
                assert!(other.is_none(), "{}: {name} is {other:?}", self.release);
            }
        }
        // What is only spelled with underscores is a reason without them, unless it is a base. A base that is spelled both ways
        // has the name behind the underscores: of `RX_DROP` and `___RX_DROP_UNUSABLE`, drop_monitor says
        // `RX_DROP_UNUSABLE`.
        for it in self.foreign() {
            if it.number & SUBSYSTEM != 0 && it.name.starts_with('_') {
                let plain = it.name.trim_start_matches('_').to_owned();
                let is_base = it.number & !SUBSYSTEM == 0;
                let known = expected.entry(it.number);
                if is_base {
                    known.and_modify(|name| *name = plain);
                } else {
                    known.or_insert(plain);
                }
            }
        }
        expected
    }
}

fn is_core_marker(name: &str) -> bool {
    matches!(name, "SKB_DROP_REASON_MAX" | "SKB_DROP_REASON_SUBSYS_MASK")
}

/// The core's names without their prefix, which two of them have not whole.
fn plain_core(name: &str) -> &str {
    match name {
        "SKB_NOT_DROPPED_YET" | "SKB_CONSUMED" => &name["SKB_".len()..],
        _ => name.strip_prefix("SKB_DROP_REASON_").unwrap(),
    }
}

/// The pairs of a `format` text's list of reasons, `MAX` among them, as a reader with nothing but eyes
/// would find them: `{ NUMBER, "NAME" }`.
fn listed(format: &str) -> BTreeMap<u32, String> {
    let Some((_, list)) = format.split_once("__print_symbolic(REC->reason, ") else {
        return BTreeMap::new();
    };
    let pairs = list.split("{ ").skip(1).map(|pair| {
        let (pair, _) = pair.split_once(" }").unwrap();
        let (number, name) = pair.split_once(", ").unwrap();
        (number.parse().unwrap(), name.trim_matches('"').to_owned())
    });
    pairs.collect()
}

/// What a resolver names.
fn named(resolver: &Resolver) -> BTreeMap<u32, String> {
    let mut named = BTreeMap::new();
    for reason in resolver.reasons() {
        let (raw, name) = (reason.raw().unwrap(), reason.name().unwrap().to_owned());
        assert_eq!(resolver.reason(raw).name(), Some(name.as_str()));
        assert_eq!(resolver.number(&name), Some(raw), "{name}");
        assert_eq!(named.insert(raw, name), None, "{raw} came twice");
    }
    named
}

/// Fails with what is different alone.
fn assert_same(named: &BTreeMap<u32, String>, expected: &BTreeMap<u32, String>, release: &str) {
    let numbers: BTreeSet<&u32> = named.keys().chain(expected.keys()).collect();
    let different: Vec<String> = numbers
        .into_iter()
        .filter(|&number| named.get(number) != expected.get(number))
        .map(|number| {
            let (is, be) = (named.get(number), expected.get(number));
            format!("{number:#x} is {is:?} and should be {be:?}")
        })
        .collect();
    assert!(different.is_empty(), "{release}: {different:#?}");
}

#[test]
fn every_name_of_every_enum_comes_out_and_no_other() {
    for kernel in Kernel::all() {
        let resolver = kernel.resolver();
        assert_same(&named(&resolver), &kernel.expected(), &kernel.release);
        let modules = kernel.modules();
        println!(
            "{}: {} reasons, {modules:?}",
            kernel.release,
            kernel.expected().len()
        );
    }
}

#[test]
fn markers_never_come_out() {
    let mut markers = 0;
    for kernel in Kernel::all() {
        let (resolver, expected) = (kernel.resolver(), kernel.expected());
        let reasons = kernel.core().chain(kernel.foreign());
        for it in reasons {
            // By its number, and spelled in each way that a careless reader would.
            if !expected.contains_key(&it.number) {
                let reason = resolver.reason(it.number);
                assert_eq!(reason.name(), None, "{}: {}", kernel.release, it.name);
                assert_eq!(reason.raw(), Some(it.number));
                markers += 1;
            }
            let plain = it.name.trim_start_matches('_');
            for name in [
                &it.name,
                plain,
                plain.trim_start_matches("SKB_DROP_REASON_"),
            ] {
                let is_reason = expected.values().any(|expected| expected == name);
                assert_eq!(
                    resolver.number(name).is_some(),
                    is_reason,
                    "{}: {name}",
                    kernel.release
                );
            }
        }
    }
    // `MAX` and the mask of each kernel, bases and `MAX` of the subsystems.
    assert!(markers > 16, "{markers}");
}

#[test]
fn subsystems_are_the_kernels() {
    for kernel in Kernel::all() {
        let resolver = kernel.resolver();
        let expected: BTreeMap<u32, &str> = kernel
            .subsystems()
            .map(|it| {
                (
                    it.number,
                    it.name.strip_prefix("SKB_DROP_REASON_SUBSYS_").unwrap(),
                )
            })
            .filter(|(_, name)| *name != "NUM")
            .collect();
        let named: BTreeMap<u32, &str> = resolver
            .subsystems()
            .map(|subsystem| {
                (
                    subsystem.number.unwrap(),
                    subsystem.name.as_deref().unwrap(),
                )
            })
            .collect();
        assert_eq!(named, expected, "{}", kernel.release);
        for number in kernel.expected().into_keys() {
            let subsystem = resolver.reason(number).subsystem().and_then(name);
            let expected = expected.get(&(number >> SUBSYSTEM.trailing_zeros()));
            assert_eq!(
                subsystem.as_deref(),
                expected.copied(),
                "{}: {number:#x}",
                kernel.release
            );
        }
    }
}

fn name(subsystem: &Subsystem) -> Option<String> {
    subsystem.name.as_deref().map(str::to_owned)
}

#[test]
fn print_fmt_and_btf_give_the_same_names() {
    for kernel in Kernel::all() {
        let mut listed = listed(&kernel.format());
        // The list has it, as the enum has.
        let max = listed.iter().find(|(_, name)| *name == "MAX");
        let max = max.map(|(number, _)| *number);
        let in_enum = kernel.core().find(|it| it.name == "SKB_DROP_REASON_MAX");
        assert_eq!(max, in_enum.map(|it| it.number), "{}", kernel.release);
        listed.retain(|_, name| name != "MAX");

        let resolver = Resolver::from_format(&kernel.format()).unwrap();
        assert_same(&named(&resolver), &listed, &kernel.release);
        assert_eq!(resolver.subsystems().count(), 0);

        // The tracepoint never passes the two that are no drops, and its list has no subsystem's.
        let mut core = named(&kernel.resolver());
        core.retain(|number, name| {
            number & SUBSYSTEM == 0 && !matches!(name.as_str(), "NOT_DROPPED_YET" | "CONSUMED")
        });
        assert_same(&core, &listed, &kernel.release);
    }
}

#[test]
fn a_kernel_without_reasons_names_none() {
    let kernel = Kernel::starting("5.10.");
    assert!(kernel.enumerators.is_empty() && listed(&kernel.format()).is_empty());
    assert_eq!(kernel.resolver().reasons().count(), 0);
    let by_format = Resolver::from_format(&kernel.format()).unwrap();
    assert_eq!(by_format.reasons().count(), 0);
    assert_eq!(by_format.reason(3).name(), None);
}

#[test]
fn numbers_move_within_a_stable_series() {
    let (early, late) = (Kernel::starting("6.12.107"), Kernel::starting("6.12.117"));
    let (early, late) = (early.resolver(), late.resolver());
    let moved: Vec<_> = early
        .reasons()
        .filter(|reason| late.number(reason.name().unwrap()) != reason.raw())
        .collect();
    assert!(!moved.is_empty());
    for reason in moved {
        // What the other kernel means by the same number is something else.
        assert_ne!(late.reason(reason.raw().unwrap()), reason);
    }
}

/// Ubuntu's 5.15 has reasons that began later elsewhere, and counts them from 0.
#[test]
fn reasons_may_count_from_0() {
    let path = "fixtures/5.15.0-58-generic/kfree_skb.format";
    let format = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let resolver = Resolver::from_format(&format).unwrap();
    assert_eq!(named(&resolver), listed(&format));
    let first = ["NOT_SPECIFIED", "NO_SOCKET", "PKT_TOO_SMALL"];
    for (number, name) in first.into_iter().enumerate() {
        assert_eq!(resolver.reason(number as u32).name(), Some(name));
    }
    assert_eq!(resolver.reason(12).name(), None);
}

#[test]
fn pruned_btf_stands_alone() {
    let mut modules = 0;
    for kernel in Kernel::all() {
        let whole = kernel.read("vmlinux.btf");
        assert_eq!(skbdrop::prune_btf(&whole).unwrap().bytes, whole);
        for module in kernel.modules() {
            let bytes = kernel.read(&format!("{module}.btf"));
            let pruned = skbdrop::prune_btf(&bytes).unwrap();
            assert_eq!(pruned.bytes, bytes, "{} {module}", kernel.release);
            assert_eq!(pruned.tracepoint_id, None);
            modules += 1;
        }
    }
    assert!(modules >= 4, "{modules} modules");
}

#[test]
fn a_modules_btf_is_read_with_its_kernels() {
    let mut kernel = Encoder::new();
    kernel.enumeration("unrelated", &[("A_STRING_OF_THE_KERNEL_THAT_IS_LONG", 1)]);
    let kernel = kernel.finish();
    let mut module = Encoder::split(&kernel);
    module.typedef("own", 1);
    module.enumeration("own_drop_reason", &[("OWN_DROP_ONE", 0x2_0001)]);
    let module = module.finish();

    let pruned = skbdrop::prune_module_btf(&module, &kernel).unwrap();
    assert_eq!(pruned.tracepoint_id, None);
    // It stands alone now, as this does.
    let mut alone = Encoder::new();
    alone.enumeration("own_drop_reason", &[("OWN_DROP_ONE", 0x2_0001)]);
    assert_eq!(pruned.bytes, alone.finish());

    for (btf, base) in [
        (&module[..20], &kernel[..]),
        (&module, &kernel[..20]),
        (&module, b"no BTF, and longer than a header"),
        // Its strings are not where they would be with this base.
        (&module, &Encoder::new().finish()),
    ] {
        let error = skbdrop::prune_module_btf(btf, base).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
