//! Notes of an ELF image, as `/sys/kernel/notes` shows the kernel's. Pure.

/// `NT_GNU_BUILD_ID` in `include/uapi/linux/elf.h`.
const BUILD_ID: u32 = 3;
const OWNER: &[u8] = b"GNU\0";

/// The build ID among them; `None` if there is none.
pub(super) fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut rest = notes;
    loop {
        let (head, after) = rest.split_first_chunk::<12>()?;
        let (words, _) = head.as_chunks::<4>();
        let [name_len, len, kind] = [0, 1, 2].map(|n| u32::from_ne_bytes(words[n]));
        let (name, after) = padded(after, name_len)?;
        let (content, after) = padded(after, len)?;
        if kind == BUILD_ID && name == OWNER {
            return Some(content);
        }
        rest = after;
    }
}

/// The first `len` bytes, and what follows from the next multiple of four on. After the last there may be no padding.
fn padded(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let content = bytes.get(..len)?;
    let next = len.checked_next_multiple_of(4)?;
    Some((content, bytes.get(next..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for part in [name, content] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_among_others() {
        let mut notes = note(b"Xen\0", BUILD_ID, &[9; 7]);
        notes.extend(note(b"Linux\0", 0x101, &[]));
        assert_eq!(build_id(&notes), None);
        notes.extend(note(OWNER, 1, &[1, 2, 3, 4]));
        notes.extend(note(OWNER, BUILD_ID, &[5; 20]));
        assert_eq!(build_id(&notes), Some(&[5; 20][..]));
        for end in 0..notes.len() {
            assert_eq!(build_id(&notes[..end]), None, "{end}");
        }
    }

    #[test]
    fn lengths_that_are_none_do_no_harm() {
        let mut bad = note(OWNER, BUILD_ID, &[5; 20]);
        bad[..8].fill(0xff);
        assert_eq!(build_id(&bad), None);
        assert_eq!(build_id(&[]), None);
    }
}
