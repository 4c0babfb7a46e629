//! BTF: raw, in ELF files, split from another.

use crate::{
    Resolver,
    btf::{self, DropTypes, Tracepoint},
};

/// Reads `data` as a file with BTF. If raw BTF begins again later in it, what begins there is read as
/// a module's, split from the first.
pub fn btf(data: &[u8]) {
    if let Ok(types) = btf::from_bytes(data) {
        asked(&types);
    }
    if let Ok(pruned) = btf::prune(data) {
        // Whatever it was, the result stands alone, and has nothing to leave out.
        let again = btf::prune(&pruned.bytes).expect("pruned BTF is BTF");
        assert_eq!(again.bytes, pruned.bytes);
        assert_eq!(
            again.tracepoint_id.is_some(),
            pruned.tracepoint_id.is_some()
        );
        assert!(pruned.bytes.len() <= MAX_PRUNED, "{}", pruned.bytes.len());
        let (whole, small) = (names(data), names(&pruned.bytes));
        assert_eq!(whole, small);
        let text = String::from_utf8_lossy(data);
        for (_, name) in small.unwrap_or_default() {
            assert!(text.contains(&name), "{name:?} is not in the BTF");
        }
    }
    let module =
        (1..data.len()).find(|&at| MAGIC.iter().any(|magic| data[at..].starts_with(magic)));
    if let Some(at) = module
        && let Ok(types) = DropTypes::parse_module(&data[at..], &data[..at])
    {
        let _ = types.enums();
    }
}

/// Raw BTF begins so, by byte order.
const MAGIC: [&[u8]; 2] = [b"\x9f\xeb\x01", b"\xeb\x9f\x01"];
/// A real kernel's has some ten kilobytes.
const MAX_PRUNED: usize = 300_000;

/// What the library asks of a kernel's types.
fn asked(types: &DropTypes) {
    let _ = types.enums();
    let _ = types.arguments(Tracepoint::KfreeSkb);
    let _ = types.arguments(Tracepoint::QdiscDrop);
    for (structure, path) in [
        ("sk_buff", &["len"][..]),
        ("sk_buff", &["protocol"]),
        ("net_device", &["nd_net", "net"]),
        ("sock", &["__sk_common", "skc_net", "net"]),
        ("net", &["ns", "inum"]),
        ("Qdisc", &["handle"]),
        ("Qdisc_ops", &["id"]),
    ] {
        let _ = types.offset(structure, path);
    }
}

/// All names of reasons by number.
fn names(btf: &[u8]) -> Option<Vec<(Option<u32>, String)>> {
    let resolver = Resolver::from_btf_bytes(btf).ok()?;
    let mut named = Vec::new();
    for reason in resolver.reasons() {
        let name = reason.name().expect("it is listed by its name").to_owned();
        let number = resolver.number(&name);
        let named_so = number.map(|number| resolver.reason(number));
        assert_eq!(
            named_so.and_then(|reason| reason.name().map(str::to_owned)),
            Some(name.clone())
        );
        named.push((reason.raw(), name));
    }
    Some(named)
}
