//! Memory that eBPF programs and this process both read and write.

use super::bpf::map_info;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use memmap2::{MmapOptions, MmapRaw};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::atomic::AtomicU64,
};

/// `BPF_F_MMAPABLE` in `include/uapi/linux/bpf.h`.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The values of an eBPF array, as words of 64 bits.
#[derive(Debug)]
pub(crate) struct SharedWords {
    memory: MmapRaw,
    len: usize,
}

impl SharedWords {
    /// Maps an array that was created with `BPF_F_MMAPABLE` (since Linux 5.5).
    pub(crate) fn map(array: BorrowedFd<'_>) -> io::Result<Self> {
        // This fails for a descriptor of anything else.
        let info = map_info(array)?;
        if info.type_ != BPF_MAP_TYPE_ARRAY as u32 || info.map_flags & BPF_F_MMAPABLE == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Values follow each other at multiples of eight bytes (`array_map_alloc` in `kernel/bpf/arraymap.c`).
        let len = info.value_size.div_ceil(8) as usize * info.max_entries as usize;
        let memory = MmapOptions::new()
            .len(len * size_of::<u64>())
            .map_raw(array.as_raw_fd())?;
        Ok(Self { memory, len })
    }

    /// The word at this place; `None` beyond the end.
    pub(crate) fn word(&self, at: usize) -> Option<&AtomicU64> {
        if at >= self.len {
            return None;
        }
        // SAFETY: the mapping is of whole pages, aligned to them, and has `len` words; it stays as long as `self`.
        // An array's memory is there as long as it is mapped. Whoever else writes there is an eBPF
        // program, whose aligned loads and stores of 64 bits the kernel makes single ones.
        Some(unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().cast::<u64>().add(at)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memmap2::MmapMut;
    use std::{sync::atomic::Ordering, thread};

    #[test]
    fn words_are_shared_from_the_first_to_the_last() {
        let len = 5;
        let memory = MmapMut::map_anon(len * size_of::<u64>()).expect("memory of our own");
        let shared = SharedWords {
            memory: memory.into(),
            len,
        };
        let count = |at: usize| {
            for _ in 0..100 {
                shared
                    .word(at)
                    .expect("it is there")
                    .fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| count(0));
            scope.spawn(|| count(len - 1));
            count(0);
        });
        let words: Vec<Option<u64>> = (0..=len)
            .map(|at| shared.word(at).map(|word| word.load(Ordering::Relaxed)))
            .collect();
        let expected = [Some(200), Some(0), Some(0), Some(0), Some(100), None];
        assert_eq!(words, expected);
        assert!(shared.word(usize::MAX).is_none());
    }
}
