//! The reader's half of the wake-ups. The program's half, `wake.rs` of `skbdrop-ebpf`, says how they meet.

use super::{
    load::{Loaded, ring},
    object::{BELL, READER},
    protocol::{FALL_ASLEEP, Step},
};
use crate::{
    Result,
    backend::wake::{Bell, Sleep},
    sys::{ring::Ring, shared::SharedWords},
};
use aya::maps::MapData;
use skbdrop_ebpf::reader;
use std::{
    fmt,
    os::fd::{AsFd as _, BorrowedFd},
    sync::atomic::{Ordering, fence},
};

/// A ring buffer that the program only writes to to wake the reader, and the word in which the reader says that it is to.
pub(super) struct EbpfBell {
    map: MapData,
    ring: Ring,
    word: SharedWords,
}

impl EbpfBell {
    /// With the maps of a program that was loaded.
    pub(super) fn new(loaded: &mut Loaded) -> Result<Self> {
        let map = loaded.map(BELL)?;
        Ok(Self {
            ring: ring(&map, BELL)?,
            map,
            word: loaded.words(READER)?,
        })
    }

    fn say(&self, state: u64) {
        if let Some(word) = self.word.word(0) {
            word.store(state, Ordering::Relaxed);
        }
    }
}

impl Bell for EbpfBell {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.map.fd().as_fd()]
    }

    fn is_ringing(&mut self) -> bool {
        self.ring.has_record()
    }

    fn stays_readable(&mut self) -> bool {
        self.is_ringing()
    }

    fn awake(&mut self) {
        self.say(reader::AWAKE);
    }

    fn fall_asleep(&mut self, sleep: Sleep, has_record: &mut dyn FnMut() -> bool) -> Result<bool> {
        for step in FALL_ASLEEP {
            match step {
                Step::SilenceBell => while self.ring.next().is_some() {},
                Step::SayAsleep => self.say(match sleep {
                    Sleep::UntilRecord => reader::ASLEEP,
                    Sleep::For(_) => reader::ASLEEP_UNTIL_MARK,
                }),
                Step::Fence => fence(Ordering::SeqCst),
                // What came before a sleep of bounded time is found when it ends.
                Step::LookAgain if sleep == Sleep::UntilRecord && has_record() => {
                    self.say(reader::AWAKE);
                    return Ok(false);
                }
                Step::LookAgain => {}
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for EbpfBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EbpfBell").finish_non_exhaustive()
    }
}
