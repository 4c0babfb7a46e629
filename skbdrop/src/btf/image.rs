//! Files that hold a kernel's or a module's BTF, down to the raw BTF in them.
//!
//! | file | what is inside |
//! | --- | --- |
//! | raw BTF, as in `/sys/kernel/btf` | itself |
//! | `vmlinux`, a module `.ko` (ELF) | a section `.BTF` |
//! | x86 `vmlinuz` (bzImage) | a packed `vmlinux` |
//! | arm64 and riscv `Image` | BTF at no marked place |
//! | `vmlinuz.efi` (EFI zboot) | a packed `Image` or `vmlinux` |
//! | any of these in gzip, xz, zstd, lz4 | the same |

use super::prune::prune;
use crate::{Error, Result, decompress::Compression};
use memchr::memmem;
use object::{Object as _, ObjectSection as _};
use std::{borrow::Cow, cmp::Reverse, ops::Range};

/// The raw BTF of a file of any kind.
///
/// # Errors
///
/// There is none, or what it is packed in is truncated, corrupt, or of a kind that is not read.
pub(crate) fn raw_btf(file: &[u8]) -> Result<Cow<'_, [u8]>> {
    let Unpacked { bytes, btf, .. } = Unpacked::read(file)?;
    Ok(match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[btf]),
        Cow::Owned(mut bytes) => {
            // It is a tenth of the kernel that was unpacked.
            bytes.truncate(btf.end);
            bytes.drain(..btf.start);
            bytes.shrink_to_fit();
            Cow::Owned(bytes)
        }
    })
}

/// A file whose BTF was found.
#[derive(Debug)]
pub(super) struct Unpacked<'a> {
    bytes: Cow<'a, [u8]>,
    btf: Range<usize>,
    base: Option<Range<usize>>,
}

impl<'a> Unpacked<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self> {
        let mut bytes = Cow::Borrowed(file);
        for _ in 0..=MAX_LAYERS {
            let (btf, base) = match Layer::of(&bytes)? {
                Layer::Btf => (0..bytes.len(), None),
                Layer::Elf => elf_btf(&bytes)?,
                Layer::Flat(what) => (flat_btf(&bytes, what)?, None),
                Layer::Packed(packed) => {
                    bytes = Cow::Owned(packed.unpack(&bytes)?);
                    continue;
                }
            };
            return Ok(Self { bytes, btf, base });
        }
        Err(Error::invalid_data(format!(
            "packed more than {MAX_LAYERS} times, which no kernel is"
        )))
    }

    /// The raw BTF; a module's is split from its kernel's, or from [`base`](Self::base).
    pub(super) fn btf(&self) -> &[u8] {
        &self.bytes[self.btf.clone()]
    }

    /// What of the kernel's BTF a module brings along if it was built outside of the kernel's
    /// tree: its section `.BTF.base`, since Linux 6.11.
    pub(super) fn base(&self) -> Option<&[u8]> {
        self.base.clone().map(|base| &self.bytes[base])
    }
}

/// What a file begins with.
#[derive(Debug)]
enum Layer {
    /// Raw BTF, or bytes of no kind that we know.
    Btf,
    Elf,
    /// A kernel as it lies in memory, of the architecture named.
    Flat(&'static str),
    Packed(Packed),
}

/// Packed data in a file.
#[derive(Debug)]
struct Packed {
    /// For errors.
    what: &'static str,
    compression: Compression,
    /// Where it is in the file.
    place: Range<usize>,
    /// How long the file says that the unpacked data is.
    size: Option<u32>,
}

impl Layer {
    fn of(bytes: &[u8]) -> Result<Self> {
        let has = |at: usize, magic: &[u8]| {
            let found = bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
            found.then_some(())
        };
        let flat = |(magic, what)| has(FLAT_MAGIC, magic).map(|()| Self::Flat(what));
        // What is at its front says it surest: anything may be further back.
        if has(0, b"\x9f\xeb").or(has(0, b"\xeb\x9f")).is_some() {
            Ok(Self::Btf)
        } else if has(0, b"\x7fELF").is_some() {
            Ok(Self::Elf)
        } else if let Some(compression) = Compression::of(bytes) {
            Ok(Self::Packed(Packed {
                what: "file",
                compression,
                place: 0..bytes.len(),
                size: None,
            }))
        } else if has(0x1fe, b"\x55\xaa").and(has(0x202, b"HdrS")).is_some() {
            Packed::in_bzimage(bytes).map(Self::Packed)
        } else if has(0, b"MZ").and(has(4, b"zimg")).is_some() {
            Packed::in_zboot(bytes).map(Self::Packed)
        } else if let Some(layer) = FLAT.into_iter().find_map(flat) {
            Ok(layer)
        } else if has(0, b"MZ").is_some() {
            Err(Error::invalid_data(
                "an EFI program that is no kernel image (a unified kernel image has the kernel in \
                 its section `.linux`: objcopy -O binary --only-section=.linux FILE VMLINUZ)",
            ))
        } else {
            Ok(Self::Btf)
        }
    }
}

impl Packed {
    /// After Documentation/arch/x86/boot.rst: the setup header says where the payload is, counted
    /// from the end of the code for real mode. The payload's last four bytes are its unpacked size.
    fn in_bzimage(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "x86 kernel image (bzImage)";
        let setup_sectors = match bytes[0x1f1] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let protocol = u32_at(bytes, 0x206).map(|word| word & 0xffff);
        let (Some(0x0208..), Some(offset), Some(len)) =
            (protocol, u32_at(bytes, 0x248), u32_at(bytes, 0x24c))
        else {
            return Err(Error::invalid_data(format!(
                "the {WHAT} does not say where its kernel is (truncated, or of a Linux before 2.6.26)"
            )));
        };
        let place = place(
            bytes,
            (setup_sectors + 1) * 512 + u64::from(offset),
            len,
            WHAT,
        )?;
        let size = place.end.checked_sub(4).and_then(|at| u32_at(bytes, at));
        Self::found(bytes, place, size, WHAT)
    }

    /// After drivers/firmware/efi/libstub/zboot-header.S.
    fn in_zboot(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "EFI zboot kernel image";
        let (Some(offset), Some(len)) = (u32_at(bytes, 8), u32_at(bytes, 12)) else {
            return Err(Error::invalid_data(format!("the {WHAT} is truncated")));
        };
        let place = place(bytes, offset.into(), len, WHAT)?;
        Self::found(bytes, place, None, WHAT)
    }

    fn found(
        bytes: &[u8],
        place: Range<usize>,
        size: Option<u32>,
        what: &'static str,
    ) -> Result<Self> {
        let payload = &bytes[place.clone()];
        let compression = Compression::of(payload).ok_or_else(|| {
            Error::invalid_data(format!(
                "the {what} is packed in an unknown way: its payload begins with {:02x?}",
                &payload[..payload.len().min(6)]
            ))
        })?;
        Ok(Self {
            what,
            compression,
            place,
            size,
        })
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let Self {
            what, compression, ..
        } = self;
        let unpacked = compression.unpack(&bytes[self.place.clone()]);
        let unpacked = unpacked.map_err(|e| {
            let name = compression.name();
            Error::new(e.kind(), format!("cannot unpack the {what} from {name}")).caused_by(e)
        })?;
        match self.size {
            Some(size) if size as usize != unpacked.len() => Err(Error::invalid_data(format!(
                "the {what} is corrupt: it says that it unpacks to {size} bytes, and has {}",
                unpacked.len()
            ))),
            _ => Ok(unpacked),
        }
    }
}

/// The place of `len` bytes from `offset` on.
fn place(bytes: &[u8], offset: u64, len: u32, what: &str) -> Result<Range<usize>> {
    let end = offset + u64::from(len);
    if end > bytes.len() as u64 {
        return Err(Error::invalid_data(format!(
            "the {what} is truncated: its payload ends at byte {end} of {}",
            bytes.len()
        )));
    }
    // Both fit, being below the length.
    Ok(offset as usize..end as usize)
}

/// Sections `.BTF` and `.BTF.base`.
fn elf_btf(bytes: &[u8]) -> Result<(Range<usize>, Option<Range<usize>>)> {
    let elf = object::File::parse(bytes)
        .map_err(|e| Error::invalid_data("cannot parse the ELF file").caused_by(e))?;
    let section = |name: &str| {
        let Some(section) = elf.section_by_name(name) else {
            return Ok(None);
        };
        let range = section.file_range().and_then(|(offset, len)| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            (end <= bytes.len()).then_some(start..end)
        });
        let outside = || {
            Error::invalid_data(format!(
                "the ELF file is truncated: its section `{name}` ends outside of the {} bytes",
                bytes.len()
            ))
        };
        range.ok_or_else(outside).map(Some)
    };
    let btf = section(".BTF")?.ok_or_else(|| {
        Error::invalid_data(
            "the ELF file has no `.BTF` section (a kernel without CONFIG_DEBUG_INFO_BTF?)",
        )
    })?;
    Ok((btf, section(".BTF.base")?))
}

/// The largest of what looks like BTF, can be read, and has the prototype of the tracepoint: a kernel
/// may hold that of BPF programs too, which has not.
fn flat_btf(image: &[u8], what: &str) -> Result<Range<usize>> {
    let mut candidates = Vec::new();
    for magic in [b"\x9f\xeb\x01\x00", b"\xeb\x9f\x01\x00"] {
        for at in memmem::find_iter(image, magic) {
            candidates.extend(btf_at(image, at));
            if candidates.len() > MAX_CANDIDATES {
                candidates.sort_by_key(|range| Reverse(range.len()));
                candidates.truncate(MAX_CANDIDATES);
            }
        }
    }
    candidates.sort_by_key(|range| Reverse(range.len()));
    let found = candidates
        .into_iter()
        .find(|range| prune(&image[range.clone()]).is_ok_and(|btf| btf.tracepoint_id.is_some()));
    found.ok_or_else(|| {
        Error::invalid_data(format!(
            "no BTF in the {what} kernel image (a kernel without CONFIG_DEBUG_INFO_BTF?)"
        ))
    })
}

/// The BTF whose header may be at `at`, if it is as pahole writes it: types, then strings, of which
/// the first is empty.
fn btf_at(image: &[u8], at: usize) -> Option<Range<usize>> {
    let big_endian = image[at] == 0xeb;
    let word = |n: usize| {
        let word = u32_at(image, at + 4 * n)?;
        Some(if big_endian { word.swap_bytes() } else { word } as usize)
    };
    let (header, types, types_len) = (word(1)?, word(2)?, word(3)?);
    let (strings, strings_len) = (word(4)?, word(5)?);
    let plausible = (24..=MAX_HEADER).contains(&header)
        && types_len > 0
        && types_len % 4 == 0
        && strings >= types.checked_add(types_len)?;
    let start = at.checked_add(header)?.checked_add(strings)?;
    let end = start.checked_add(strings_len)?;
    let text = image.get(start..end)?;
    (plausible && text.first() == Some(&0) && text.last() == Some(&0)).then_some(at..end)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

/// A kernel image in gzip has two.
const MAX_LAYERS: usize = 3;

/// Where a kernel as it lies in memory says which architecture's it is, after
/// Documentation/arch/arm64/booting.rst and Documentation/arch/riscv/boot-image-header.rst.
const FLAT_MAGIC: usize = 0x38;
const FLAT: [(&[u8], &str); 2] = [(b"ARM\x64", "arm64"), (b"RSC\x05", "riscv")];

/// What looks like BTF and is not comes by chance, or by malice; each is read as far as it goes.
const MAX_CANDIDATES: usize = 8;
/// A BTF header has 24 bytes; it may grow, but not without measure.
const MAX_HEADER: usize = 64;
