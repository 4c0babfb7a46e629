//! What does it take to make events of what a backend's ring holds, decoded and resolved, without the waiting? A burst of
//! real drops is left in the ring, then taken out. `cargo bench -p skbdrop-benches --bench ring`, as root; the perf backend
//! needs tracefs mounted.

use criterion::{BenchmarkId, Criterion, Throughput};
use skbdrop::{Backend, Monitor};
use std::{
    hint::black_box,
    net::UdpSocket,
    time::{Duration, Instant},
};

/// Fewer than any ring has room for.
const BURST: usize = 4096;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("ring to event");
    group.throughput(Throughput::Elements(BURST as u64));
    for (backend, bytes) in [
        (Backend::Ebpf, 0),
        (Backend::Ebpf, 96),
        (Backend::Ebpf, 1500),
        (Backend::Perf, 0),
    ] {
        let id = BenchmarkId::new(backend.name(), bytes);
        let built = Monitor::builder().backend(backend).snap_len(bytes).build();
        let mut monitor = match built {
            Ok(monitor) => monitor,
            Err(e) => {
                println!("{}: not measured: {e:#}", backend.name());
                continue;
            }
        };
        // At the first event symbols are read.
        burst(&mut monitor);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| burst(&mut monitor)).sum());
        });
    }
    group.finish();
    criterion.final_summary();
}

/// How long it takes to read a burst that has happened.
fn burst(monitor: &mut Monitor) -> Duration {
    // What others dropped meanwhile.
    while !monitor.next_batch(BURST).expect("events").is_empty() {}
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..BURST {
        socket
            .send_to(&[0; 1472], "127.0.0.1:9")
            .expect("the loopback takes a datagram");
    }
    let start = Instant::now();
    let mut events = 0;
    loop {
        match black_box(monitor.next_batch(256).expect("events")).len() {
            0 => break,
            taken => events += taken,
        }
    }
    // Others' drops are among them, or have taken the room of ours.
    assert!(events > 0, "a burst of drops and no event");
    start.elapsed().mul_f64(BURST as f64 / events as f64)
}
