//! Opens what the first argument names and says what came of it: `ok` with a detail, or the error.
//! The tests run it with fewer privileges than they have.

use skbdrop::{Backend, DropEvent, Monitor, Resolver, Symbols};

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let result = match what.as_str() {
        "resolver" => Resolver::from_kernel().map(|names| names.reasons().count().to_string()),
        "tracefs" => Resolver::from_tracefs().map(|names| names.reasons().count().to_string()),
        "symbols" => Symbols::from_kernel().map(|symbols| symbols.len().to_string()),
        "event" => event(Backend::Auto).map(|event| event.to_string()),
        "event=perf" => event(Backend::Perf).map(|event| event.to_string()),
        "event=ebpf" => event(Backend::Ebpf).map(|event| event.to_string()),
        "large=ebpf" => large(Backend::Ebpf),
        "large=perf" => large(Backend::Perf),
        "time=ebpf" => event(Backend::Ebpf).map(|event| seconds(&event)),
        "time=perf" => event(Backend::Perf).map(|event| seconds(&event)),
        "support" => Ok(skbdrop::support().to_string()),
        "report" => {
            let built = Monitor::builder().build();
            let error = built.expect_err("automatic choice finds no backend");
            Ok(error.report().expect("it has a report").to_string())
        }
        backend => backend.parse::<Backend>().and_then(|backend| {
            let monitor = Monitor::builder().backend(backend).build()?;
            Ok(format!("{:?}", monitor.backend()))
        }),
    };
    match result {
        Ok(detail) => println!("ok: {detail}"),
        Err(e) => println!("{:?}: {e:#}", e.kind()),
    }
}

/// One drop of our own.
fn event(backend: Backend) -> skbdrop::Result<DropEvent> {
    let mut monitor = Monitor::builder().backend(backend).build()?;
    support::drops::flood(1);
    let own = support::own_netns();
    Ok(support::collect(&mut monitor, 1, |event| support::is_flood(event, own)).remove(0))
}

/// With a buffer of 256 MiB.
fn large(backend: Backend) -> skbdrop::Result<String> {
    let builder = Monitor::builder().backend(backend).symbols(false);
    builder.buffer_size(1 << 28).build()?;
    Ok("no event".to_owned())
}

/// When it was, in seconds since the epoch.
fn seconds(event: &DropEvent) -> String {
    let since = event.wall_time.duration_since(std::time::UNIX_EPOCH);
    since.expect("after the epoch").as_secs().to_string()
}
