//! The reader's side of a `BPF_MAP_TYPE_RINGBUF`.
//!
//! Not aya's, for what floods cost: that one gives each record back by itself, so that the producers, who look at the
//! reader's position for each record that they write, miss their cache each time; and it maps the memory twice, which counts twice as
//! resident. How the memory is laid out, and who writes what in which order, is in `kernel/bpf/ringbuf.c`.

use super::bpf::map_info;
use aya_obj::generated::{
    BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ,
    bpf_map_type::BPF_MAP_TYPE_RINGBUF,
};
use memmap2::{MmapOptions, MmapRaw};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    slice,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence},
};

/// Before each record: its length with two bits, and a number of the kernel's own.
const HEADER: usize = BPF_RINGBUF_HDR_SZ as usize;
/// Records are given back when they are so many bytes, or this part of the ring.
const GIVE_BACK: usize = 16 << 10;
const GIVE_BACK_PART: usize = 16;

/// A ring buffer that eBPF programs write to, of which this is the only reader.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Memory,
    /// Where the next record is. Positions only grow; they wrap with the word.
    next: usize,
    /// Up to where records were given back.
    given_back: usize,
    /// Up to where there were records when the kernel was last asked.
    end: usize,
    /// A record that begins at the end of the memory and ends at its begin.
    joined: Vec<u8>,
}

/// What is mapped. Only the kernel writes to `records`, and only beyond what the reader was promised.
#[derive(Debug)]
struct Memory {
    /// A page, at whose begin is the reader's position.
    reader: MmapRaw,
    /// A page, at whose begin is the writers' position, and the records.
    records: MmapRaw,
    page: usize,
    /// Bytes for records: a power of two.
    size: usize,
}

impl Ring {
    /// Maps a ring buffer (since Linux 5.8).
    pub(crate) fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        // This fails for a descriptor of anything else.
        let info = map_info(map)?;
        let size = info.max_entries as usize;
        if info.type_ != BPF_MAP_TYPE_RINGBUF as u32 || !size.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page = rustix::param::page_size();
        let mut options = MmapOptions::new();
        let reader = options.len(page).map_raw(map.as_raw_fd())?;
        // Behind it the kernel has the records once more, so that none ends at the begin.
        let records = options
            .offset(page as u64)
            .len(page + size)
            .map_raw_read_only(map.as_raw_fd())?;
        let memory = Memory {
            reader,
            records,
            page,
            size,
        };
        Ok(Self::of(memory))
    }

    fn of(memory: Memory) -> Self {
        let next = memory.reader_position().load(Ordering::Acquire);
        Self {
            memory,
            next,
            given_back: next,
            end: next,
            joined: Vec::new(),
        }
    }

    /// The next record. All that came before it may be given back to the kernel by now, and are once there is none.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let part = (self.memory.size / GIVE_BACK_PART).min(GIVE_BACK);
        if self.next.wrapping_sub(self.given_back) >= part {
            self.give_back();
        }
        let len = self.skip_to_record()?;
        let at = self.next.wrapping_add(HEADER);
        self.pass(len);
        Some(self.memory.bytes(at, len, &mut self.joined))
    }

    /// Whether there is a record, which stays there. What came before it is given back.
    pub(crate) fn has_record(&mut self) -> bool {
        self.give_back();
        self.skip_to_record().is_some()
    }

    /// Length of the record that is next, behind those that were discarded. If there is none, what was taken is given back.
    fn skip_to_record(&mut self) -> Option<usize> {
        loop {
            if self.next == self.end {
                self.end = self.memory.writers_position().load(Ordering::Relaxed);
                fence(Ordering::Acquire);
                if self.next == self.end {
                    break;
                }
            }
            let header = self.memory.header(self.next).load(Ordering::Relaxed);
            // What the kernel wrote before the header is read behind it.
            fence(Ordering::Acquire);
            // Not written to its end yet. Those behind it wait for it.
            if header & BPF_RINGBUF_BUSY_BIT != 0 {
                break;
            }
            let len = (header & !BPF_RINGBUF_DISCARD_BIT) as usize;
            if header & BPF_RINGBUF_DISCARD_BIT == 0 {
                return Some(len);
            }
            self.pass(len);
        }
        self.give_back();
        None
    }

    /// Passes over what is next, of this length. A length that no record can have ends with those that there are.
    fn pass(&mut self, len: usize) {
        let next = after(self.next, len);
        let is_beyond = next.wrapping_sub(self.next) > self.end.wrapping_sub(self.next);
        self.next = if is_beyond { self.end } else { next };
    }

    fn give_back(&mut self) {
        if self.given_back != self.next {
            self.given_back = self.next;
            // Whoever writes there next has seen that the reader is done.
            self.memory
                .reader_position()
                .store(self.next, Ordering::Release);
        }
    }
}

/// Where the next record is, if one of this length is at `position`.
fn after(position: usize, len: usize) -> usize {
    position.wrapping_add((HEADER + len).next_multiple_of(HEADER))
}

impl Memory {
    fn reader_position(&self) -> &AtomicUsize {
        // SAFETY: the mapping begins with it, is aligned to a page and stays as long as `self`. All who write there, the kernel
        // and we, do so by single stores.
        unsafe { AtomicUsize::from_ptr(self.reader.as_mut_ptr().cast()) }
    }

    fn writers_position(&self) -> &AtomicUsize {
        // SAFETY: as for the reader's. The mapping is read-only, which is allowed for relaxed loads; nobody does more than that.
        unsafe { AtomicUsize::from_ptr(self.records.as_mut_ptr().cast()) }
    }

    /// The header of what is at `position`, a multiple of its size.
    fn header(&self, position: usize) -> &AtomicU32 {
        let at = self.page + (position & (self.size - HEADER));
        // SAFETY: the mask leaves multiples of a header's size that are less than `size`, so a header fits. The mapping has `page + size` bytes
        // and stays as long as `self`; the kernel writes there by single stores. The mapping is read-only, as above.
        unsafe { AtomicU32::from_ptr(self.records.as_mut_ptr().add(at).cast()) }
    }

    /// So many bytes from `position` on, of which the reader holds that they are a record that is written and not given back. Joined
    /// in `joined` if they are not in one piece.
    fn bytes<'a>(&'a self, position: usize, len: usize, joined: &'a mut Vec<u8>) -> &'a [u8] {
        // No record is longer than the ring.
        let len = len.min(self.size);
        let at = position & (self.size - 1);
        let piece = |at: usize, len: usize| {
            debug_assert!(at + len <= self.size);
            // SAFETY: `at` and `len` are of the ring, and the mapping has `size` bytes behind the page; it stays as long as `self`. The kernel
            // does not write to a record between its header's last store, which the reader has seen, and its being given
            // back, which takes `&mut` of the ring that these bytes borrow.
            unsafe { slice::from_raw_parts(self.records.as_ptr().add(self.page + at), len) }
        };
        let first = len.min(self.size - at);
        if first == len {
            return piece(at, len);
        }
        joined.clear();
        joined.extend_from_slice(piece(at, first));
        joined.extend_from_slice(piece(0, len - first));
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memmap2::MmapMut;
    use std::{
        fs::File,
        os::fd::AsFd as _,
        ptr, thread,
        time::{Duration, Instant},
    };

    const SIZE: usize = 4096;

    /// Writes as the kernel does, from one thread.
    struct Writer {
        /// Where the ring's memory is.
        reader: usize,
        records: usize,
        page: usize,
        position: usize,
    }

    impl Writer {
        /// Makes room for a record once the reader has given back enough; its header says that it is being written.
        fn reserve(&mut self, len: usize) -> usize {
            let at = self.position;
            let end = after(at, len);
            // SAFETY: the test keeps the ring, whose memory begins with these.
            let (reader, writers) = unsafe {
                (
                    AtomicUsize::from_ptr(ptr::with_exposed_provenance_mut(self.reader)),
                    AtomicUsize::from_ptr(ptr::with_exposed_provenance_mut(self.records)),
                )
            };
            until(|| end.wrapping_sub(reader.load(Ordering::Acquire)) <= SIZE);
            self.commit(at, len as u32 | BPF_RINGBUF_BUSY_BIT);
            writers.store(end, Ordering::Release);
            self.position = end;
            at
        }

        fn fill(&self, at: usize, len: usize, byte: u8) {
            for i in 0..len {
                let to = self.records + self.page + at.wrapping_add(HEADER + i) % SIZE;
                // SAFETY: it is in the ring's memory, and the reader waits for the header.
                unsafe { ptr::with_exposed_provenance_mut::<u8>(to).write(byte) };
            }
        }

        fn commit(&self, at: usize, header: u32) {
            let to = ptr::with_exposed_provenance_mut(self.records + self.page + at % SIZE);
            // SAFETY: it is in the ring's memory.
            unsafe { AtomicU32::from_ptr(to) }.store(header, Ordering::Release);
        }
    }

    /// Waits for what the other thread does, which may have failed.
    fn until(mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the other thread has stopped"
            );
            thread::yield_now();
        }
    }

    /// A ring in memory of our own, whose positions are about to wrap with the word.
    fn ring() -> (Ring, Writer) {
        let page = rustix::param::page_size();
        let map = |len: usize| MmapRaw::from(MmapMut::map_anon(len).expect("memory of our own"));
        let memory = Memory {
            reader: map(page),
            records: map(page + SIZE),
            page,
            size: SIZE,
        };
        let position = 0usize.wrapping_sub(5 * SIZE);
        memory.reader_position().store(position, Ordering::Relaxed);
        memory.writers_position().store(position, Ordering::Relaxed);
        let writer = Writer {
            reader: memory.reader.as_mut_ptr().expose_provenance(),
            records: memory.records.as_mut_ptr().expose_provenance(),
            page,
            position,
        };
        (Ring::of(memory), writer)
    }

    #[test]
    fn records_come_whole_and_in_order_beside_their_writer() {
        let (mut ring, mut writer) = ring();
        let count = if cfg!(miri) { 300 } else { 20_000 };
        let len = |i: usize| 1 + i * 7 % 700;
        thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..count {
                    let at = writer.reserve(len(i));
                    writer.fill(at, len(i), i as u8);
                    let discarded = if i % 5 == 0 {
                        BPF_RINGBUF_DISCARD_BIT
                    } else {
                        0
                    };
                    writer.commit(at, len(i) as u32 | discarded);
                }
            });
            for i in (0..count).filter(|i| i % 5 != 0) {
                until(|| ring.has_record());
                let record = ring.next().expect("what it has");
                assert_eq!(record.len(), len(i));
                assert!(record.iter().all(|&byte| byte == i as u8), "record {i}");
            }
        });
        assert!(ring.next().is_none() && !ring.has_record());
    }

    #[test]
    fn what_is_being_written_holds_back_those_behind_it() {
        let (mut ring, mut writer) = ring();
        let first = writer.reserve(8);
        let second = writer.reserve(16);
        writer.fill(second, 16, 2);
        writer.commit(second, 16);
        assert!(!ring.has_record() && ring.next().is_none());
        writer.commit(first, 8 | BPF_RINGBUF_DISCARD_BIT);
        assert!(ring.has_record());
        assert_eq!(ring.next(), Some(&[2; 16][..]));
        assert_eq!(ring.next(), None);
    }

    #[test]
    fn records_are_given_back_a_part_at_a_time_and_all_at_the_end() {
        let (mut ring, mut writer) = ring();
        let given_back = |ring: &Ring| ring.memory.reader_position().load(Ordering::Relaxed);
        let begin = given_back(&ring);
        for _ in 0..SIZE / 32 {
            let at = writer.reserve(24);
            writer.commit(at, 24);
        }
        let mut steps = 0;
        let mut last = begin;
        while ring.next().is_some() {
            let now = given_back(&ring);
            steps += usize::from(now != last);
            last = now;
            assert!(ring.next.wrapping_sub(now) <= SIZE / GIVE_BACK_PART + 32);
        }
        assert!((8..=GIVE_BACK_PART).contains(&steps), "{steps}");
        assert_eq!(given_back(&ring), begin.wrapping_add(SIZE));
    }

    #[test]
    fn a_length_that_cannot_be_does_no_harm() {
        let (mut ring, mut writer) = ring();
        let at = writer.reserve(8);
        writer.commit(at, !(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT));
        assert_eq!(ring.next().map(<[u8]>::len), Some(SIZE));
        assert_eq!(ring.next(), None);
        let at = writer.reserve(8);
        writer.fill(at, 8, 1);
        writer.commit(at, 8);
        assert_eq!(ring.next(), Some(&[1; 8][..]));
    }

    #[test]
    fn other_descriptors_are_refused() {
        if cfg!(miri) {
            return;
        }
        let file = File::open("/dev/null").expect("a file");
        assert!(Ring::map(file.as_fd()).is_err());
    }
}
