//! What kernels and modules are packed by, told by the first bytes.

#[cfg(feature = "image")]
mod decoders;

use crate::{Error, Result};

/// A way in which the kernel's build packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// In the frame of old that kernels use.
    Lz4,
    /// Named in errors alone.
    Unread(&'static str),
}

impl Compression {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let known = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic));
        known.map(|(_, compression)| *compression)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Unread(name) => name,
        }
    }

    /// Unpacks what `packed` begins with; bytes after its end are passed over.
    pub(crate) fn unpack(self, packed: &[u8]) -> Result<Vec<u8>> {
        if let Self::Unread(_) = self {
            return Err(Error::not_supported(
                "gzip, xz, zstd and lz4 are read (unpack it first, a kernel image with \
                 scripts/extract-vmlinux of the kernel's sources)",
            ));
        }
        self.decode(packed)
    }

    #[cfg(not(feature = "image"))]
    fn decode(self, _packed: &[u8]) -> Result<Vec<u8>> {
        Err(Error::not_supported(
            "this build of skbdrop reads nothing packed: it needs the crate's feature `image`",
        ))
    }

    #[cfg(feature = "image")]
    fn decode(self, packed: &[u8]) -> Result<Vec<u8>> {
        let unpacked = match self {
            Self::Gzip => decoders::gzip(packed, MAX_UNPACKED),
            Self::Xz => decoders::xz(packed, MAX_UNPACKED),
            Self::Zstd => decoders::zstd(packed, MAX_UNPACKED),
            Self::Lz4 => decoders::lz4(packed, MAX_UNPACKED),
            Self::Unread(name) => Err(std::io::Error::other(name)),
        };
        unpacked.map_err(refused)
    }
}

#[cfg(feature = "image")]
fn refused(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            Error::not_supported("too large to be unpacked here (unpack it first)").caused_by(error)
        }
        _ => Error::invalid_data("truncated or corrupt").caused_by(error),
    }
}

const MAGIC: [(&[u8], Compression); 8] = [
    (b"\x1f\x8b", Compression::Gzip),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\x02\x21\x4c\x18", Compression::Lz4),
    (
        b"\x04\x22\x4d\x18",
        Compression::Unread("lz4's newer frame"),
    ),
    (b"BZh", Compression::Unread("bzip2")),
    (b"\x5d\0\0", Compression::Unread("lzma")),
    (b"\x89LZO\0\r\n\x1a\n", Compression::Unread("lzo")),
];

/// The most that is unpacked, in bytes. Distributions' kernels have some 60 MB, with the kernel's
/// heaviest debugging options some 200 MB; what is larger was made to fill the memory, or is a
/// kernel with its debug information, which nobody packs as a whole.
#[cfg(feature = "image")]
const MAX_UNPACKED: usize = 256 << 20;

#[cfg(all(test, feature = "image"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_not_called_corrupt() {
        let packed = b"\x02\x21\x4c\x18\x06\0\0\0\x50hello";
        assert!(matches!(decoders::lz4(packed, 5).as_deref(), Ok(b"hello")));
        let too_large = decoders::lz4(packed, 4).map_err(refused);
        let error = too_large.expect_err("five bytes");
        assert_eq!(error.kind(), crate::ErrorKind::NotSupported);
        let text = format!("{error:#}");
        assert!(
            text.contains("unpack it first") && text.contains("more than 4 bytes"),
            "{text}"
        );
        let cut = decoders::lz4(&packed[..12], 5).map_err(refused);
        assert_eq!(
            cut.expect_err("a cut block").kind(),
            crate::ErrorKind::InvalidData
        );
    }
}
