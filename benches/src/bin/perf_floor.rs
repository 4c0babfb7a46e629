//! `perf_floor`: perf events with the tracepoint's record and nothing else, which wake nobody. Every 10 ms all are taken off the
//! rings and none is decoded. Says `ready`, and when its standard input has ended `received=N lost=N`.

use perf_event::{Builder, ReadFormat, SampleFlag, Sampler, events::Tracepoint};
use skbdrop_benches::end_of_input;
use std::{fs, io, sync::mpsc::RecvTimeoutError, time::Duration};

const INTERVAL: Duration = Duration::from_millis(10);
/// The ring of one CPU: of two they are as large as the library's default.
const RING: usize = 2 << 20;
/// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE`.
const LOST: u32 = 2;
const SAMPLE: u32 = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rings = rings()?;
    let end = end_of_input();
    println!("ready");
    let (mut received, mut lost) = (0, 0);
    loop {
        let waited = end.recv_timeout(INTERVAL);
        for ring in &mut rings {
            while let Some(record) = ring.next_record() {
                match record.ty() {
                    SAMPLE => received += 1,
                    // Behind the event's number.
                    LOST => lost += u64::from_ne_bytes(record.to_contiguous()[8..16].try_into()?),
                    _ => {}
                }
            }
        }
        if waited == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    println!("received={received} lost={lost}");
    Ok(())
}

/// One for each CPU.
fn rings() -> Result<Vec<Sampler>, Box<dyn std::error::Error>> {
    let id = fs::read_to_string("/sys/kernel/tracing/events/skb/kfree_skb/id")?;
    let tracepoint = Tracepoint::with_id(id.trim().parse()?);
    let cpus = std::thread::available_parallelism()?.get();
    let open = |cpu| -> io::Result<Sampler> {
        let mut builder = Builder::new(tracepoint);
        builder
            .any_pid()
            .one_cpu(cpu)
            .include_kernel()
            .include_hv()
            .enabled(true)
            .sample_period(1)
            .wakeup_watermark(RING)
            .sample(SampleFlag::RAW);
        builder.attrs_mut().read_format = ReadFormat::empty().bits();
        builder.build()?.sampled(RING)
    };
    Ok((0..cpus).map(open).collect::<io::Result<_>>()?)
}
