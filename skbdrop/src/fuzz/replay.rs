//! Recordings.

use super::delivered;
use crate::{
    BackendKind, DropEvent,
    backend::{
        Source as _,
        replay::{Recorder, Replay},
    },
};

/// Plays `data`, records what was played, and plays that: both are the same.
pub fn replay(data: &[u8]) {
    let Some((events, lost, _)) = play(data.to_vec()) else {
        return;
    };
    let recording = record(&events, lost);
    let again = play(recording.clone()).expect("a recording of ours");
    assert!(again.2, "a recording of ours is read to its end");
    assert_eq!(
        String::from_utf8_lossy(&record(&again.0, again.1)),
        String::from_utf8_lossy(&recording)
    );
}

/// Events, what was lost after the last, and whether all was read; `None` if it is no recording.
fn play(data: Vec<u8>) -> Option<(Vec<DropEvent>, u64, bool)> {
    let mut source = Replay::from_reader(std::io::Cursor::new(data)).ok()?;
    let (mut events, mut told) = (Vec::new(), 0u64);
    let whole = loop {
        let mut taken = 0;
        let read = source.read(16, &mut |record| {
            taken += 1;
            told = told.saturating_add(record.lost_before);
            events.extend(delivered(vec![record.clone()], BackendKind::Replay));
        });
        match read {
            Ok(read) => {
                assert_eq!((read.taken, read.undecodable), (taken, 0));
                if read.ended {
                    break true;
                }
            }
            Err(_) => break false,
        }
    };
    let lost = source.lost().expect("it is a number");
    Some((
        events,
        lost.checked_sub(told).expect("all that was told is lost"),
        whole,
    ))
}

fn record(events: &[DropEvent], lost: u64) -> Vec<u8> {
    let mut recorder = Recorder::new(Vec::new()).expect("writing to memory");
    for event in events {
        recorder.write(event).expect("writing to memory");
    }
    recorder.finish(lost).expect("writing to memory")
}
