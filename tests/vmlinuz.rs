//! The image that this very kernel was booted from, as its distribution packs it, against what the
//! kernel says of itself. For guests: `cargo xtask kernels` lays the image there.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::Resolver;
use std::collections::BTreeMap;

/// Where the guest has the image.
const IMAGE: &str = "/vmlinuz";
const FORMAT: &str = "/sys/kernel/tracing/events/skb/kfree_skb/format";

fn names(resolver: &Resolver) -> BTreeMap<u32, String> {
    let reasons = resolver.reasons();
    reasons
        .map(|reason| (reason.raw().unwrap(), reason.name().unwrap().to_owned()))
        .collect()
}

/// The list of the tracepoint's `print fmt`, which the kernel's build makes from the sources and not
/// from BTF; empty where there is none, before Linux 5.17.
fn listed() -> BTreeMap<u32, String> {
    let format = std::fs::read_to_string(FORMAT).unwrap();
    let Some((_, list)) = format.split_once("REC->reason, ") else {
        assert!(!format.contains("field:enum skb_drop_reason"), "{format}");
        return BTreeMap::new();
    };
    let pairs = list.split('{').skip(1);
    pairs
        .map(|pair| {
            let (number, rest) = pair.split_once(", \"").unwrap();
            let name = rest.split('"').next().unwrap();
            (number.trim().parse().unwrap(), name.to_owned())
        })
        .filter(|(_, name)| name != "MAX")
        .collect()
}

#[test]
#[ignore = "needs a guest: cargo xtask kernels"]
fn the_image_names_the_reasons_that_the_booted_kernel_has() {
    let image = names(&Resolver::from_btf_file(IMAGE).unwrap());
    let kernel = Resolver::from_btf_file("/sys/kernel/btf/vmlinux").unwrap();
    assert_eq!(image, names(&kernel));
    // The tracepoint lists the core's own, but for those that are no drops.
    let core: BTreeMap<u32, String> = image
        .iter()
        .filter(|(raw, name)| {
            let reason = kernel.reason(**raw);
            let subsystem = reason.subsystem().and_then(|subsystem| subsystem.number);
            subsystem.unwrap_or(0) == 0 && *name != "NOT_DROPPED_YET" && *name != "CONSUMED"
        })
        .map(|(raw, name)| (*raw, name.clone()))
        .collect();
    assert_eq!(core, listed());
    println!(
        "{} names, {} of them in `print fmt`",
        image.len(),
        core.len()
    );
}
