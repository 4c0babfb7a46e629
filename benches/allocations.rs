//! How often the library allocates for an event: next to never. Counted, so that it stays so.
#![allow(clippy::unwrap_used)] // tests panic

use allocation_counter::measure;
use skbdrop::{Monitor, Resolver};
use skbdrop_benches::synthetic::Synthetic;

/// Events that a monitor decodes at a time, and so the size of batch that needs but one allocation.
const BATCH: usize = 64;
const BATCHES: usize = 256;
/// Packets' bytes are cut from blocks of this size, each of which is one allocation, and one more for the count of
/// who has a part of it.
const BLOCK: usize = 64 * 1024;

#[test]
fn a_look_up_allocates_nothing() {
    let mut resolver = Resolver::from_kernel().unwrap();
    let numbers: Vec<u32> = resolver.reasons().filter_map(|r| r.raw()).collect();
    let unknown = [u32::MAX, 0xffff, 0xfff0_0001];
    // Modules may be looked at for these; the next time that is due is a second away.
    let _ = resolver.resolve(unknown[0]);
    let mut named = 0;
    let counted = measure(|| {
        for &number in numbers.iter().chain(&unknown) {
            named += usize::from(resolver.resolve(number).name().is_some());
            named += usize::from(resolver.reason(number).name().is_some());
        }
    });
    assert_eq!(named, 2 * numbers.len());
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_batch_is_one_allocation_and_the_packets_blocks() {
    for bytes in [0, 96, 1500] {
        let mut monitor = monitor(bytes);
        let counted = measure(|| {
            for _ in 0..BATCHES {
                assert_eq!(monitor.next_batch(BATCH).unwrap().len(), BATCH);
            }
        });
        let most = BATCHES as u64 + blocks(bytes, BATCHES * BATCH);
        assert!(
            counted.count_total <= most,
            "{bytes} bytes: {} allocations for {BATCHES} batches, more than {most}",
            counted.count_total
        );
    }
}

#[test]
fn an_event_of_the_iterator_allocates_nothing_but_the_packets_blocks() {
    for bytes in [0, 96] {
        let mut monitor = monitor(bytes);
        let counted = measure(|| {
            let events = monitor.iter().take(BATCHES * BATCH);
            assert_eq!(events.filter(Result::is_ok).count(), BATCHES * BATCH);
        });
        let most = blocks(bytes, BATCHES * BATCH);
        assert!(
            counted.count_total <= most,
            "{bytes} bytes: {} allocations, more than {most}",
            counted.count_total
        );
    }
}

/// A monitor whose first batch is taken: names are learnt, and its queue has its size.
fn monitor(bytes: usize) -> Monitor {
    let resolver = Resolver::from_kernel().unwrap();
    let number = resolver.reasons().find_map(|reason| reason.raw()).unwrap();
    let mut monitor = Monitor::builder()
        .resolver(resolver)
        // The place is no function: to know that takes no more and no less, and no root.
        .source(Synthetic::new(number, bytes, &[1]))
        .build()
        .unwrap();
    monitor.next_batch(BATCH).unwrap();
    monitor
}

/// The most allocations for the bytes of so many packets.
fn blocks(bytes: usize, packets: usize) -> u64 {
    match bytes {
        0 => 0,
        // One is in use at the beginning, and the end of each may be too short for a packet.
        _ => 2 * packets.div_ceil(BLOCK / bytes) as u64 + 2,
    }
}
