//! A source that hands out records of the test's own, as if they came from this kernel.

use skbdrop::{
    BackendKind, Result,
    backend::{Read, Record, Source},
};
use std::{
    fmt,
    os::fd::{AsFd as _, BorrowedFd},
};

type Make = Box<dyn FnMut(usize, &mut dyn FnMut(&Record<'_>)) + Send>;

/// Hands out what `make` makes of each number below `count`, and ends.
pub struct Played {
    make: Make,
    next: usize,
    count: usize,
    /// Readable from the start: its other end is closed.
    reader: std::io::PipeReader,
}

impl Played {
    /// `make` is given a number and the sink for its record.
    pub fn new(
        count: usize,
        make: impl FnMut(usize, &mut dyn FnMut(&Record<'_>)) + Send + 'static,
    ) -> Self {
        let (reader, _) = std::io::pipe().unwrap();
        Self {
            make: Box::new(make),
            next: 0,
            count,
            reader,
        }
    }
}

impl Source for Played {
    fn kind(&self) -> BackendKind {
        BackendKind::Other("played")
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        while read.taken < max && self.next < self.count {
            (self.make)(self.next, sink);
            self.next += 1;
            read.taken += 1;
        }
        read.ended = self.next == self.count;
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        Ok(0)
    }

    fn stop(&mut self) {
        self.count = self.next;
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Played")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
