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
        "dropped=ebpf" => dropped(Backend::Ebpf),
        "dropped=perf" => dropped(Backend::Perf),
        "dropped=netlink" => dropped(Backend::Netlink),
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

/// A drop of our own that a monitor without capabilities tells of, and what this process has and can after that.
fn dropped(backend: Backend) -> skbdrop::Result<String> {
    let builder = Monitor::builder().backend(backend).drop_capabilities(true);
    let mut monitor = builder.build()?;
    let told = monitor.limitations().len();
    support::drops::flood(1);
    let own = support::own_netns();
    let event = support::collect(&mut monitor, 1, |event| support::is_flood(event, own)).remove(0);
    let lost = monitor.stats()?.lost;
    let sets = support::capability_sets().join("; ");
    let again = Monitor::builder().backend(backend).build();
    let again = again.expect_err("nobody opens it without capabilities");
    let kind = again.kind();
    // What it executes has no more, user 0 or not.
    let executed = std::process::Command::new("grep")
        .args(["-E", "^(CapEff|NoNewPrivs)", "/proc/self/status"])
        .output()
        .expect("grep is there");
    let executed = String::from_utf8_lossy(&executed.stdout).replace(['\n', '\t'], " ");
    Ok(format!(
        "{event}\nlost {lost}, limitations {told}\nsets {sets}\nexecuted {executed}\nagain {kind:?}: {again:#}"
    ))
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
