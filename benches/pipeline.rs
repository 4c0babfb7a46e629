//! From a record to an event in the reader's hands, what does each take: with names and symbols, by bytes of the packet, by
//! number of distinct places, and from a recording? `cargo bench -p skbdrop-benches --bench pipeline`, as root.

use criterion::{BenchmarkId, Criterion, Throughput};
use futures::StreamExt as _;
use skbdrop::{
    Monitor,
    backend::replay::{Recorder, Replay},
};
use skbdrop_benches::synthetic::monitor;
use std::{hint::black_box, io::Cursor};

/// Events of an iteration.
const EVENTS: usize = 4096;
/// Taken at a time.
const BATCH: usize = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    by_bytes(&mut criterion);
    by_places(&mut criterion);
    stream(&mut criterion);
    recording(&mut criterion);
    criterion.final_summary();
}

fn by_bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("next_batch, by bytes of the packet");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for bytes in [0, 64, 96, 256, 1500] {
        let mut monitor = monitor(bytes, 1);
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| batches(&mut monitor));
        });
    }
    group.finish();
}

fn by_places(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("next_batch, by number of places");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for count in [1, 16, 256, 4096] {
        let mut monitor = monitor(96, count);
        // Each place is new once.
        batches(&mut monitor);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| batches(&mut monitor));
        });
    }
    group.finish();
}

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let mut tokio = monitor(96, 1);
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..EVENTS {
                    black_box(tokio.next().await);
                }
            });
        });
    });
    let mut blocking = monitor(96, 1);
    group.bench_function("iter", |bencher| {
        bencher.iter(|| {
            blocking
                .iter()
                .take(EVENTS)
                .for_each(|event| drop(black_box(event)))
        });
    });
    group.finish();
}

fn recording(criterion: &mut Criterion) {
    let mut recorder = Recorder::new(Vec::new()).expect("memory");
    for event in monitor(96, 1).iter().take(EVENTS) {
        recorder
            .write(&event.expect("synthetic ones"))
            .expect("memory");
    }
    let lines = recorder.finish(0).expect("memory");
    let mut group = criterion.benchmark_group("recording");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("replay", |bencher| {
        bencher.iter(|| {
            let source = Replay::from_reader(Cursor::new(lines.clone())).expect("a recording");
            let mut monitor = Monitor::builder().source(source).build().expect("no needs");
            assert_eq!(monitor.iter().count(), EVENTS);
        });
    });
    group.finish();
}

fn batches(monitor: &mut Monitor) {
    for _ in 0..EVENTS / BATCH {
        let batch = monitor.next_batch(BATCH).expect("synthetic ones");
        assert_eq!(black_box(batch).len(), BATCH);
    }
}
