//! BTF that no compiler writes, made to take memory or time: each is refused or read at once. And files of modules.

use super::*;

const ANONYMOUS: u32 = 0;

/// Little-endian BTF of these words and strings.
fn raw(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let (types_len, strings_len) = (4 * types.len() as u32, strings.len() as u32);
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let words = [24, 0, types_len, types_len, strings_len];
    for word in words.iter().chain(types) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(strings);
    bytes
}

/// The error's text.
fn refused(btf: &[u8]) -> String {
    let error = prune(btf).expect_err("hostile BTF");
    assert_eq!(error.kind(), crate::ErrorKind::InvalidData);
    error.to_string()
}

#[test]
fn names_that_overlap_do_not_multiply() {
    // Each enumerator's name begins a byte after the one before and has the same end.
    let count = 0xffff;
    let name = b"\0drop_reason\0";
    let mut strings = name.to_vec();
    strings.resize(name.len() + 500, b'X');
    strings.push(0);
    let first = name.len() as u32;
    let mut types = vec![1, 6 << 24 | count, 4];
    types.extend((0..count).flat_map(|n| [first + n % 500, n]));
    let few = prune(&raw(&types, &strings)).map(|pruned| pruned.bytes.len());
    // 500 names of 250 bytes each, and an enum of half a megabyte.
    assert!(few.is_err());
    types.truncate(3 + 2 * 1000);
    types[1] = 6 << 24 | 1000;
    let few = prune(&raw(&types, &strings)).expect("500 names");
    assert!(few.bytes.len() > 500 * 250 && few.bytes.len() < 150_000);
    types.truncate(3 + 2);
    types[1] = 6 << 24 | 1;
    strings.splice(name.len()..name.len(), [b'X'; 12]);
    let refusal = refused(&raw(&types, &strings));
    assert!(refusal.contains("less than 512 bytes"), "{refusal}");
}

#[test]
fn the_anonymous_have_no_name() {
    // A structure inside one that is wanted is kept where it has no name, wherever that is not.
    let kept = |name: u32, strings: &[u8]| {
        let inner = [name, 4 << 24 | 1, 0, 9, 0, 64];
        let outer = [1, 4 << 24 | 1, 0, ANONYMOUS, 1, 0];
        let btf = raw(&[inner, outer].concat(), strings);
        DropTypes::parse(&btf)?.offset("sk_buff", &["len"])
    };
    let strings = b"\0sk_buff\0len\0";
    assert_eq!(kept(ANONYMOUS, strings).expect("good BTF"), Some(8));
    assert_eq!(kept(8, strings).expect("good BTF"), Some(8));
    assert_eq!(kept(9, strings).expect("good BTF"), None);
    kept(ANONYMOUS, b"xsk_buff\0len\0").expect_err("no empty string");
    kept(ANONYMOUS, b"").expect_err("no string at all");
}

#[test]
fn more_than_a_kernel_has_is_refused() {
    let count = 0xffff;
    let mut types = vec![1, 6 << 24 | count, 4];
    types.extend((0..count).flat_map(|n| [0, n]));
    let refusal = refused(&raw(&types, b"\0drop_reason\0"));
    assert!(refusal.contains("more than 262144 bytes"), "{refusal}");
}

#[test]
fn anonymous_structures_are_searched_once() {
    // Each of the levels has the next one twice, and the last has nothing.
    let levels = 30;
    let mut types = vec![1, 4 << 24 | 1, 0, ANONYMOUS, 2, 0];
    for level in 0..levels {
        let next = level + 3;
        types.extend([ANONYMOUS, 4 << 24 | 2, 0]);
        types.extend([ANONYMOUS, next, 0, ANONYMOUS, next, 32]);
    }
    types.extend([ANONYMOUS, 4 << 24 | 1, 0, 9, 0, 64]);
    let types = DropTypes::parse(&raw(&types, b"\0sk_buff\0len\0")).expect("good BTF");
    assert_eq!(types.offset("sk_buff", &["len"]).expect("a path"), Some(8));
    assert_eq!(types.offset("sk_buff", &["head"]).expect("a path"), None);
}

/// BTF with one enum. Its name and its enumerators', which have the values 1, 2, … are given by
/// their places in the strings.
fn enumeration(name: u32, enumerators: &[u32], strings: &[u8]) -> Vec<u8> {
    let mut types = vec![name, 6 << 24 | enumerators.len() as u32, 4];
    for (value, name) in (1..).zip(enumerators) {
        types.extend([*name, value]);
    }
    let len = 4 * types.len() as u32;
    let header = [24, 0, len, len, strings.len() as u32];
    let words = header.into_iter().chain(types);
    let mut btf = b"\x9f\xeb\x01\0".to_vec();
    btf.extend(words.flat_map(u32::to_le_bytes));
    btf.extend_from_slice(strings);
    btf
}

#[test]
fn a_modules_file_is_read_with_its_own_kernels_strings_alone() {
    let base = enumeration(1, &[3], b"\0x\0OVS_LAST\0another_string_here\0");
    // Its name and its second enumerator are in its own strings, the first in the base's.
    let module = enumeration(32, &[3, 48], b"ovs_drop_reason\0OVS_METER\0");
    let path = std::env::temp_dir().join(format!("skbdrop-module-{}", std::process::id()));
    fs::write(&path, module).unwrap();
    let base_path = path.with_extension("base");
    fs::write(&base_path, base).unwrap();
    let good = module_enums(&path, &base_path);
    let other = enumeration(1, &[3], b"\0x\0OVS_FIRST\0another_string_here\0");
    fs::write(&base_path, other).unwrap();
    let bad = module_enums(&path, &base_path);
    let alone = from_file(&path);
    fs::remove_file(&path).unwrap();
    fs::remove_file(&base_path).unwrap();

    let values = [("OVS_LAST", 1), ("OVS_METER", 2)];
    let expected = EnumFacts {
        name: "ovs_drop_reason".to_owned(),
        values: values.map(|(name, n)| (name.to_owned(), n)).to_vec(),
    };
    assert_eq!(good.unwrap(), [expected]);
    let text = format!("{:#}", bad.unwrap_err());
    assert!(text.contains("of another kernel?"), "{text}");
    let text = format!("{:#}", alone.unwrap_err());
    assert!(text.contains("does not stand alone"), "{text}");
}

#[cfg(not(feature = "image"))]
#[test]
fn without_the_feature_an_image_says_what_it_needs() {
    let error = from_bytes(b"\x28\xb5\x2f\xfd and so on").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotSupported);
    let text = format!("{error:#}");
    assert!(
        text.contains("from zstd") && text.contains("feature `image`"),
        "{text}"
    );
}

#[test]
fn bits_are_counted_from_the_least_whatever_the_byte_order() {
    // Three bits, the second to the fourth of a byte as the compiler declares them: a bit field has the flag of its kind, and
    // its width above its offset.
    let int = [14, 1 << 24, 1, 8];
    let skb = [1, 1 << 31 | 4 << 24 | 1, 1, 9, 1, 3 << 24 | 1];
    let words = [int.to_vec(), skb.to_vec()].concat();
    let little = raw(&words, b"\0sk_buff\0bits\0u8\0");
    let mut big = little.clone();
    big[..2].reverse();
    let strings = big.len() - b"\0sk_buff\0bits\0u8\0".len();
    for word in big[4..strings].chunks_exact_mut(4) {
        word.reverse();
    }
    let at = |btf: &[u8]| {
        let types = DropTypes::parse(btf).expect("good BTF");
        let bits = types.bits("sk_buff", &["bits"]).expect("good BTF");
        bits.map(|bits| (bits.at, bits.width))
    };
    assert_eq!(at(&little), Some((1, 3)));
    assert_eq!(at(&big), Some((4, 3)));
}
