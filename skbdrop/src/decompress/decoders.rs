//! From packed bytes to unpacked ones, no more of them than a limit.

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use std::io::{Error, ErrorKind, Read, Result};

pub(super) fn gzip(packed: &[u8], limit: usize) -> Result<Vec<u8>> {
    read(GzDecoder::new(packed), limit)
}

pub(super) fn xz(packed: &[u8], limit: usize) -> Result<Vec<u8>> {
    read(
        XzReader::new_mem_limit(packed, false, MAX_WINDOW / 1024 + LZMA_STATE),
        limit,
    )
}

pub(super) fn zstd(packed: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut decoder = StreamingDecoder::new_with_max_window_size(packed, MAX_WINDOW.into())
        .map_err(Error::other)?;
    let unpacked = read(&mut decoder, limit)?;
    // The decoder checks neither by itself. A frame without a size has 0 here.
    let decoder = decoder.into_frame_decoder();
    let size = decoder.content_size();
    if size != 0 && size != unpacked.len() as u64 {
        return Err(invalid(format!(
            "the frame says that it has {size} bytes, and has {}",
            unpacked.len()
        )));
    }
    let (written, computed) = (
        decoder.get_checksum_from_data(),
        decoder.get_calculated_checksum(),
    );
    if written.is_some() && written != computed {
        return Err(invalid("the checksum is of other bytes".to_owned()));
    }
    Ok(unpacked)
}

/// The frame of old: blocks of 8 MiB, each after its packed size, to the end of the input. The
/// kernel's build appends the size of the whole, four bytes after which nothing follows.
pub(super) fn lz4(packed: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    let mut rest = packed.get(LZ4_MAGIC.len()..).unwrap_or_default();
    while let Some((size, blocks)) = rest.split_first_chunk() {
        let size = u32::from_le_bytes(*size) as usize;
        if blocks.is_empty() && size == unpacked.len() {
            return Ok(unpacked);
        }
        let Some((packed, others)) = blocks.split_at_checked(size) else {
            return Err(Error::new(
                ErrorKind::UnexpectedEof,
                format!(
                    "a block has {size} bytes, of which {} are there",
                    blocks.len()
                ),
            ));
        };
        let count = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|e| invalid(e.to_string()))?;
        if count > limit - unpacked.len() {
            return Err(too_large(limit));
        }
        unpacked.extend_from_slice(&block[..count]);
        rest = others;
    }
    if rest.is_empty() {
        Ok(unpacked)
    } else {
        Err(Error::new(
            ErrorKind::UnexpectedEof,
            format!("{} bytes are too few for a block's size", rest.len()),
        ))
    }
}

fn read(reader: impl Read, limit: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    // One more than may be shows that there is more.
    reader.take(limit as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > limit {
        return Err(too_large(limit));
    }
    Ok(unpacked)
}

fn too_large(limit: usize) -> Error {
    let what = format!("unpacks to more than {limit} bytes");
    Error::new(ErrorKind::FileTooLarge, what)
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// How far back packed data may refer, in bytes: as far as it does in kernels, which the build packs
/// at the highest levels. Memory of this size goes beside that of the unpacked data.
const MAX_WINDOW: u32 = 128 << 20;
/// What else the decoder of xz takes by its own account, in KiB.
const LZMA_STATE: u32 = 1024;

const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const LZ4_BLOCK: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of zstd with `blocks` of 128 KiB of one byte each, that says it has `size` bytes.
    fn repeated(blocks: u32, size: Option<u32>) -> Vec<u8> {
        const RLE: u32 = 1;
        let mut frame = b"\x28\xb5\x2f\xfd".to_vec();
        frame.push(if size.is_some() { 0x80 } else { 0 });
        // The window: 128 KiB.
        frame.push(7 << 3);
        frame.extend(size.iter().flat_map(|size| size.to_le_bytes()));
        for n in 1..=blocks {
            let header = (128 << 10) << 3 | RLE << 1 | u32::from(n == blocks);
            frame.extend_from_slice(&header.to_le_bytes()[..3]);
            frame.push(b'x');
        }
        frame
    }

    /// Blocks of lz4 that have but literals.
    fn literals(blocks: &[&[u8]]) -> Vec<u8> {
        let mut frame = LZ4_MAGIC.to_vec();
        for block in blocks {
            frame.extend_from_slice(&(block.len() as u32 + 1).to_le_bytes());
            frame.push((block.len() as u8) << 4);
            frame.extend_from_slice(block);
        }
        frame
    }

    fn text(result: Result<Vec<u8>>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        let frame = repeated(3, None);
        assert_eq!(zstd(&frame, 3 << 17).unwrap().len(), 3 << 17);
        assert!(text(zstd(&frame, (3 << 17) - 1)).contains("more than 393215 bytes"));
        let frame = literals(&[b"hello", b" world"]);
        assert_eq!(lz4(&frame, 11).unwrap(), b"hello world");
        assert!(text(lz4(&frame, 10)).contains("more than 10 bytes"));
        assert_eq!(read(&b"hello"[..], 5).unwrap(), b"hello");
        assert!(text(read(std::io::repeat(0), 5)).contains("more than 5 bytes"));
    }

    #[test]
    fn a_size_that_is_not_so_is_refused() {
        assert_eq!(
            zstd(&repeated(2, Some(2 << 17)), 1 << 20).unwrap().len(),
            2 << 17
        );
        for size in [1, (2 << 17) - 1, 3 << 17, u32::MAX] {
            assert!(zstd(&repeated(2, Some(size)), 1 << 20).is_err(), "{size}");
        }
        let mut frame = literals(&[b"hello"]);
        frame.extend_from_slice(&5u32.to_le_bytes());
        assert_eq!(lz4(&frame, 11).unwrap(), b"hello");
        let last = frame.len() - 4;
        frame[last] = 6;
        assert!(text(lz4(&frame, 11)).contains("a block has 6 bytes, of which 0"));
        frame.truncate(last + 2);
        assert!(text(lz4(&frame, 11)).contains("2 bytes are too few"));
    }

    #[test]
    fn a_window_that_no_kernel_has_is_refused_before_memory_is_taken() {
        // 2 GiB.
        let mut frame = repeated(1, None);
        frame[5] = 21 << 3;
        assert!(zstd(&frame, 1 << 20).is_err());
    }
}
