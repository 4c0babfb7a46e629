//! What does it take to look up a reason by its number, and by one that the kernel does not define?
//! `cargo bench -p skbdrop-benches --bench resolve`

use criterion::Criterion;
use skbdrop::Resolver;
use std::hint::black_box;

/// In a subsystem that no kernel has, so that it is not looked for in modules for long.
const UNKNOWN: u32 = 0xfff0_0001;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut resolver = Resolver::from_kernel().expect("the kernel shows its BTF");
    let known: Vec<u32> = resolver
        .reasons()
        .filter_map(|reason| reason.raw())
        .collect();
    assert!(!known.is_empty(), "this kernel has no reasons");
    let mut group = criterion.benchmark_group("resolve");
    group.bench_function("known", |bencher| {
        let mut numbers = known.iter().cycle();
        bencher.iter(|| resolver.resolve(black_box(*numbers.next().expect("a cycle"))));
    });
    assert!(resolver.resolve(UNKNOWN).name().is_none());
    group.bench_function("unknown", |bencher| {
        bencher.iter(|| resolver.resolve(black_box(UNKNOWN)));
    });
    group.bench_function("known, without looking at modules", |bencher| {
        let mut numbers = known.iter().cycle();
        bencher.iter(|| resolver.reason(black_box(*numbers.next().expect("a cycle"))));
    });
    group.finish();
    criterion.final_summary();
}
