//! Kernel images made by hand around a small vmlinux, which the kernel's own tools have packed: each
//! way in leads to the same names, and damage to an error.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{ErrorKind, Resolver};
use support::btf::{Encoder, elf};

const GZIP: &[u8] = include_bytes!("fixtures/images/vmlinux.gz");
const XZ: &[u8] = include_bytes!("fixtures/images/vmlinux.xz");
const ZSTD: &[u8] = include_bytes!("fixtures/images/vmlinux.zst");
const LZ4: &[u8] = include_bytes!("fixtures/images/vmlinux.lz4");
const BZIP2: &[u8] = include_bytes!("fixtures/images/vmlinux.bz2");
const PACKED: [(&str, &[u8]); 4] = [("gzip", GZIP), ("xz", XZ), ("zstd", ZSTD), ("lz4", LZ4)];

/// What the fixtures unpack to. The first enum is full of what xz's filter for x86 takes for calls.
fn vmlinux() -> Vec<u8> {
    elf(&btf(""))
}

fn btf(infix: &str) -> Vec<u8> {
    let mut btf = Encoder::new();
    let calls: Vec<(String, u32)> = (0..16)
        .map(|n| (format!("CALL_{n}"), 0xe800_0000 + n))
        .collect();
    let calls: Vec<(&str, u32)> = calls.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    btf.enumeration("calls", &calls);
    let name = |name: &str| format!("SKB_DROP_REASON_{infix}{name}");
    btf.enumeration(
        "skb_drop_reason",
        &[
            (&name("NOT_SPECIFIED"), 2),
            (&name("NO_SOCKET"), 3),
            (&name("PKT_TOO_SMALL"), 4),
            ("SKB_DROP_REASON_MAX", 5),
        ],
    );
    btf.typedef("btf_trace_kfree_skb", 0);
    btf.finish()
}

/// An x86 image: the setup header, three sectors of setup, the kernel's code before its payload, the
/// payload, and what follows it.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    const SETUP_SECTORS: usize = 3;
    const CODE: usize = 100;
    let mut image = vec![0; (SETUP_SECTORS + 1) * 512 + CODE];
    image[..2].copy_from_slice(b"MZ");
    image[0x1f1] = SETUP_SECTORS as u8;
    image[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&(CODE as u32).to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image.extend_from_slice(&[0xcc; 50]);
    image
}

/// The payload of an x86 image: gzip ends with the size by itself, to the others the build appends it.
fn with_size(packed: &[u8]) -> Vec<u8> {
    let mut payload = packed.to_vec();
    if packed != GZIP {
        payload.extend_from_slice(&(vmlinux().len() as u32).to_le_bytes());
    }
    payload
}

fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut image = b"MZ\0\0zimg".to_vec();
    for word in [64, payload.len() as u32] {
        image.extend_from_slice(&word.to_le_bytes());
    }
    image.resize(64, 0);
    image.extend_from_slice(payload);
    image.extend_from_slice(&[0; 20]);
    image
}

/// An arm64 image: no sections, BTF of something smaller before the kernel's, and headers of no BTF.
fn flat() -> Vec<u8> {
    let mut small = Encoder::new();
    small.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_OF_A_PROGRAM", 3)]);
    let mut image = b"MZ".to_vec();
    image.resize(0x38, 0);
    image.extend_from_slice(b"ARM\x64");
    image.extend_from_slice(&small.finish());
    image.extend_from_slice(b"\x9f\xeb\x01\0\x18\0\0\0");
    image.extend_from_slice(&btf(""));
    // Plausible and larger, but its type is of no kind.
    let mut bad = btf("AS_LONG_AS_IT_CAN_BE_");
    bad[24 + 7] = 31;
    image.extend_from_slice(&bad);
    image.extend_from_slice(b"the end\x9f\xeb\x01");
    image
}

type Names = Vec<(u32, String)>;

fn names(resolver: &Resolver) -> Names {
    let reasons = resolver.reasons();
    reasons
        .map(|reason| (reason.raw().unwrap(), reason.to_string()))
        .collect()
}

fn expected() -> Names {
    names(&Resolver::from_btf_bytes(&vmlinux()).unwrap())
}

#[track_caller]
fn error(image: &[u8]) -> (ErrorKind, String) {
    let error = Resolver::from_btf_bytes(image).unwrap_err();
    (error.kind(), format!("{error:#}"))
}

#[test]
fn the_fixtures_are_of_this_vmlinux() {
    assert_eq!(
        vmlinux(),
        include_bytes!("fixtures/images/vmlinux").as_slice()
    );
    assert_eq!(expected().len(), 3);
}

#[test]
fn every_wrapping_gives_the_same_names() {
    let mut images = vec![
        ("raw BTF".to_owned(), btf("")),
        ("Image".to_owned(), flat()),
    ];
    for (name, packed) in PACKED {
        images.push((format!("vmlinux in {name}"), packed.to_vec()));
        images.push((format!("bzImage, {name}"), bzimage(&with_size(packed))));
        images.push((format!("zboot, {name}"), zboot(packed)));
        let size = (vmlinux().len() as u32).to_le_bytes();
        images.push((format!("{name} and its size"), [packed, &size].concat()));
    }
    for (name, packed) in [PACKED[0], PACKED[1], PACKED[2]] {
        let junk = [packed, b"a signature"].concat();
        images.push((format!("{name} and more"), junk));
    }
    for (what, image) in images {
        let resolver = Resolver::from_btf_bytes(&image).unwrap_or_else(|e| panic!("{what}: {e:#}"));
        assert_eq!(names(&resolver), expected(), "{what}");
    }
}

#[test]
fn a_truncated_image_is_a_clear_error() {
    let mut images = vec![flat()];
    images.extend(PACKED.map(|(_, packed)| packed.to_vec()));
    images.extend(PACKED.map(|(_, packed)| bzimage(&with_size(packed))));
    images.extend(PACKED.map(|(_, packed)| zboot(packed)));
    for image in images {
        // Behind the payload only bytes that do not matter are missing.
        let whole = (0..=image.len())
            .find(|end| Resolver::from_btf_bytes(&image[..*end]).is_ok())
            .unwrap();
        for end in 0..whole {
            let (kind, text) = error(&image[..end]);
            assert_eq!(kind, ErrorKind::InvalidData, "{end}: {text}");
        }
        let resolver = Resolver::from_btf_bytes(&image[..whole]).unwrap();
        assert_eq!(names(&resolver), expected());
    }
}

#[test]
fn a_changed_bit_is_an_error_or_changes_nothing() {
    for (name, packed) in PACKED {
        let image = bzimage(&with_size(packed));
        // Of the image what is read; its payload is changed in the packed file.
        let header = (0x1f0..0x208).chain(0x248..0x250);
        for (image, places) in [
            (packed, (0..packed.len()).collect::<Vec<_>>()),
            (&image, header.collect()),
        ] {
            for bit in places.iter().flat_map(|at| at * 8..at * 8 + 8) {
                let mut bad = image.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                let Ok(resolver) = Resolver::from_btf_bytes(&bad) else {
                    continue;
                };
                // lz4 alone has no checksum: there a changed bit may be a changed letter.
                if name != "lz4" {
                    assert_eq!(names(&resolver), expected(), "{name}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn errors_name_the_image_and_what_is_wrong_with_it() {
    let (kind, text) = error(&bzimage(BZIP2));
    assert_eq!(kind, ErrorKind::NotSupported);
    assert!(
        text.contains("x86 kernel image (bzImage) from bzip2") && text.contains("extract-vmlinux"),
        "{text}"
    );
    let (_, text) = error(&bzimage(b"garbage"));
    assert!(text.contains("packed in an unknown way"), "{text}");
    let mut lying = bzimage(&with_size(ZSTD));
    let at = lying.len() - 50 - 4;
    lying[at] ^= 1;
    let (kind, text) = error(&lying);
    assert_eq!(kind, ErrorKind::InvalidData);
    assert!(text.contains("unpacks to 761 bytes, and has 760"), "{text}");
    let mut cut = bzimage(&with_size(XZ));
    cut.truncate(2500);
    let (_, text) = error(&cut);
    assert!(text.contains("its payload ends at byte 2504"), "{text}");
    let mut old = bzimage(GZIP);
    old[0x206] = 7;
    let (_, text) = error(&old);
    assert!(text.contains("before 2.6.26"), "{text}");
    let mut without = flat();
    without.truncate(0x40);
    let (_, text) = error(&without);
    assert!(text.contains("no BTF in the arm64 kernel image"), "{text}");
    let (_, text) = error(b"MZ of another program");
    assert!(text.contains("no kernel image"), "{text}");
    let (_, text) = error(&zboot(b"\x04\x22\x4d\x18"));
    assert!(
        text.contains("EFI zboot") && text.contains("lz4's newer frame"),
        "{text}"
    );
}
