//! The order in which the reader falls asleep, and a search through all ways in which it and the programs on
//! several CPUs can meet: no record is left lying while the reader sleeps with nobody to wake it.

/// One act of the reader on what it shares with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Takes all that is in the bell's ring: it is not readable any more.
    SilenceBell,
    /// Writes in the shared word that it sleeps.
    SayAsleep,
    /// A full barrier: the word is written before anything is read.
    Fence,
    /// Looks whether there is a record to take. If so it does not sleep.
    LookAgain,
}

/// The reader found no record.
pub(super) const FALL_ASLEEP: [Step; 4] = [
    Step::SilenceBell,
    Step::SayAsleep,
    Step::Fence,
    Step::LookAgain,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashSet, VecDeque};

    /// What the program does for a drop, after `skbdrop-ebpf/src/program/{record,wake}.rs`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Act {
        /// Takes room in the ring, under the kernel's lock. Where there is none, it goes on at `Load`.
        Reserve,
        /// Makes the record readable, by the kernel's exchange.
        Submit,
        /// Reads the word; if the reader is awake, that was it.
        Load,
        /// Writes in the word that the reader is awake.
        SayAwake,
        /// Makes the bell readable, under the kernel's lock.
        Ring,
    }

    impl Act {
        /// The kernel's locks and exchanges are full barriers on x86: what was stored before is written.
        fn is_barrier(self) -> bool {
            matches!(self, Self::Reserve | Self::Submit | Self::Ring)
        }
    }

    const RECORD: [Act; 5] = [
        Act::Reserve,
        Act::Submit,
        Act::Load,
        Act::SayAwake,
        Act::Ring,
    ];

    /// What is searched.
    #[derive(Clone, Debug)]
    struct Search {
        record: [Act; 5],
        fall_asleep: [Step; 4],
        /// Records that each of the two programs writes.
        records: u8,
        /// Records that the ring has room for.
        room: usize,
        /// Whether a CPU keeps stores back while it goes on to load, as all CPUs do; else each is seen at once.
        store_buffers: bool,
    }

    impl Default for Search {
        fn default() -> Self {
            Self {
                record: RECORD,
                fall_asleep: FALL_ASLEEP,
                records: 2,
                room: 2,
                store_buffers: true,
            }
        }
    }

    /// A program on one CPU.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
    struct Producer {
        /// Records still to write, this one included.
        left: u8,
        /// Place in the acts of this one.
        at: usize,
        /// The number of its record in the ring.
        reserved: usize,
        /// Stores of the word that others do not see yet.
        stores: VecDeque<bool>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Reader {
        Draining,
        FallingAsleep(usize),
        Asleep,
    }

    /// Everything at one moment. `true` in the word is "asleep".
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct State {
        producers: [Producer; 2],
        reader: Reader,
        reader_stores: VecDeque<bool>,
        word: bool,
        bell: bool,
        /// The ring from the first record that was not taken: whether each is submitted.
        ring: VecDeque<bool>,
        /// Records taken.
        taken: usize,
        /// How often the reader may still wake by itself: whoever uses it just looks.
        looks: u8,
    }

    impl State {
        fn head_is_readable(&self) -> bool {
            self.ring.front() == Some(&true)
        }

        /// Nobody will do anything any more that wakes the reader.
        fn is_at_rest(&self) -> bool {
            let done = |producer: &Producer| producer.left == 0 && producer.stores.is_empty();
            self.producers.iter().all(done)
                && self.reader_stores.is_empty()
                && self.reader == Reader::Asleep
                && !self.bell
        }
    }

    impl Search {
        /// Searches all orders; gives how many states were met, or one in which a record was left lying.
        fn run(&self) -> Result<usize, Box<State>> {
            let producer = Producer {
                left: self.records,
                ..Producer::default()
            };
            let start = State {
                producers: [producer.clone(), producer],
                reader: Reader::Draining,
                reader_stores: VecDeque::new(),
                word: false,
                bell: false,
                ring: VecDeque::new(),
                taken: 0,
                looks: 1,
            };
            let mut known = HashSet::from([start.clone()]);
            let mut open = vec![start];
            while let Some(state) = open.pop() {
                if state.is_at_rest() && !state.ring.is_empty() {
                    return Err(Box::new(state));
                }
                for state in self.next(&state) {
                    if known.insert(state.clone()) {
                        open.push(state);
                    }
                }
            }
            Ok(known.len())
        }

        /// Every state that can come next.
        fn next(&self, state: &State) -> Vec<State> {
            let mut next = Vec::new();
            for n in 0..2 {
                if let Some(value) = state.producers[n].stores.front() {
                    let mut written = state.clone();
                    written.word = *value;
                    written.producers[n].stores.pop_front();
                    next.push(written);
                }
                next.extend(self.produce(state, n));
            }
            if let Some(value) = state.reader_stores.front() {
                let mut written = state.clone();
                written.word = *value;
                written.reader_stores.pop_front();
                next.push(written);
            }
            next.extend(self.read(state));
            next
        }

        /// One act of a program; `None` if it has to wait for its stores, or is done.
        fn produce(&self, state: &State, n: usize) -> Option<State> {
            let before = &state.producers[n];
            let act = self.record[before.at];
            if before.left == 0 || act.is_barrier() && !before.stores.is_empty() {
                return None;
            }
            let mut state = state.clone();
            let producer = &mut state.producers[n];
            producer.at += 1;
            match act {
                Act::Reserve if state.ring.len() >= self.room => {
                    let load = self.record.iter().position(|act| *act == Act::Load);
                    producer.at = load.expect("it looks at the word");
                }
                Act::Reserve => {
                    producer.reserved = state.taken + state.ring.len();
                    state.ring.push_back(false);
                }
                Act::Submit => state.ring[producer.reserved - state.taken] = true,
                Act::Load => {
                    // A CPU sees its own stores.
                    let asleep = *producer.stores.back().unwrap_or(&state.word);
                    if !asleep {
                        producer.at = self.record.len();
                    }
                }
                Act::SayAwake if self.store_buffers => producer.stores.push_back(false),
                Act::SayAwake => state.word = false,
                Act::Ring => state.bell = true,
            }
            let producer = &mut state.producers[n];
            if producer.at == self.record.len() {
                (producer.at, producer.left) = (0, producer.left - 1);
            }
            Some(state)
        }

        /// One act of the reader; `None` if it has to wait for its stores, or sleeps and nobody rings.
        fn read(&self, state: &State) -> Option<State> {
            let mut state = state.clone();
            let store = |state: &mut State, asleep| match self.store_buffers {
                true => state.reader_stores.push_back(asleep),
                false => state.word = asleep,
            };
            match state.reader {
                Reader::Draining if state.head_is_readable() => {
                    state.ring.pop_front();
                    state.taken += 1;
                }
                Reader::Draining => state.reader = Reader::FallingAsleep(0),
                Reader::FallingAsleep(at) => {
                    state.reader = match self.fall_asleep.get(at + 1) {
                        Some(_) => Reader::FallingAsleep(at + 1),
                        None => Reader::Asleep,
                    };
                    match self.fall_asleep[at] {
                        Step::SilenceBell => state.bell = false,
                        Step::SayAsleep => store(&mut state, true),
                        Step::Fence if state.reader_stores.is_empty() => {}
                        Step::Fence => return None,
                        Step::LookAgain if state.head_is_readable() => {
                            store(&mut state, false);
                            state.reader = Reader::Draining;
                        }
                        Step::LookAgain => {}
                    }
                }
                Reader::Asleep if state.bell || state.looks > 0 => {
                    state.looks -= u8::from(!state.bell);
                    store(&mut state, false);
                    state.reader = Reader::Draining;
                }
                Reader::Asleep => return None,
            }
            Some(state)
        }
    }

    #[test]
    fn no_record_is_left_lying() {
        for room in 1..=3 {
            let search = Search {
                room,
                ..Search::default()
            };
            let states = search.run().expect("every record is taken");
            println!("room for {room}: {states} states");
            assert!(states > 1000);
        }
    }

    /// The search finds what is wrong with other orders, so it can.
    #[test]
    fn without_the_fence_a_record_is_left_lying() {
        let no_fence = Search {
            // To silence the bell twice is no barrier.
            fall_asleep: [
                Step::SilenceBell,
                Step::SilenceBell,
                Step::SayAsleep,
                Step::LookAgain,
            ],
            ..Search::default()
        };
        let left = no_fence.run().expect_err("a lost wake-up");
        assert!(left.head_is_readable() && left.reader == Reader::Asleep && !left.bell);
        // It is the store that others see late.
        let at_once = Search {
            store_buffers: false,
            ..no_fence
        };
        at_once.run().expect("every record is taken");
    }

    #[test]
    fn in_another_order_a_record_is_left_lying() {
        use Step::{Fence, LookAgain, SayAsleep, SilenceBell};
        for fall_asleep in [
            [SilenceBell, LookAgain, SayAsleep, Fence],
            [SayAsleep, Fence, LookAgain, SilenceBell],
        ] {
            let search = Search {
                fall_asleep,
                ..Search::default()
            };
            search.run().expect_err("a lost wake-up");
        }
        let bell_before_word = Search {
            record: [
                Act::Reserve,
                Act::Submit,
                Act::Load,
                Act::Ring,
                Act::SayAwake,
            ],
            ..Search::default()
        };
        bell_before_word.run().expect_err("a lost wake-up");
    }
}
