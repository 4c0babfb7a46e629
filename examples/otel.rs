//! OpenTelemetry: drops by reason as metrics, counted in the kernel, and some of the packets as logs, by OTLP over HTTP.
//!
//! Where to and how often is said by OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_ENDPOINT` (by default a collector on
//! this host, port 4318), `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! ```text
//! # cargo run --release --features otel --example otel -- --logs-per-second 5
//! otel: sending until Ctrl-C
//! ```

use futures::StreamExt as _;
use opentelemetry::{
    KeyValue,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
    metrics::{AsyncInstrument, Meter, MeterProvider as _},
};
use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::{SdkLogger, SdkLoggerProvider},
    metrics::SdkMeterProvider,
};
use skbdrop::{By, Count, Counters, Counts, DropEvent, Endpoint, Monitor, Tally};
use skbdrop_examples::{Result, signals};
use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const HELP: &str = "\
otel: sends what the kernel drops to an OpenTelemetry collector, by OTLP over HTTP

  --logs-per-second N   how many packets to send as log records (default: 10); all are in the metrics

OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other variables say where to and how often.
";

fn main() -> ExitCode {
    skbdrop_examples::run("otel", HELP, logs_per_second, send)
}

fn send(logs_per_second: u32) -> Result {
    // What goes wrong on the way to the collector is told by `tracing` alone.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let resource = Resource::builder().with_service_name("skbdrop").build();
    let protocol = Protocol::HttpBinary;
    let exporter = MetricExporter::builder()
        .with_http()
        .with_protocol(protocol);
    let metrics = SdkMeterProvider::builder()
        .with_resource(resource.clone())
        .with_periodic_exporter(exporter.build()?)
        .build();
    let exporter = LogExporter::builder().with_http().with_protocol(protocol);
    let logs = SdkLoggerProvider::builder()
        .with_resource(resource)
        // Its queue is bounded: what finds no room is not sent.
        .with_batch_exporter(exporter.build()?)
        .build();

    let meter = metrics.meter("skbdrop");
    count(&meter)?;
    let result = watch(&meter, &logs.logger("skbdrop"), logs_per_second);
    // Sends what is waiting.
    let sent = metrics.shutdown().and(logs.shutdown());
    result.and(sent.map_err(Into::into))
}

/// Metrics, which are read from the kernel whenever they are to be sent.
fn count(meter: &Meter) -> Result {
    let counters = Counters::builder().by([By::Reason]).build()?;
    let counters = Arc::new(Mutex::new(counters));
    let observe = |tell: fn(&Counts, &dyn AsyncInstrument<u64>)| {
        let counters = Arc::clone(&counters);
        move |observer: &dyn AsyncInstrument<u64>| {
            let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
            match counters.snapshot() {
                Ok(counts) => tell(&counts, observer),
                Err(e) => eprintln!("otel: {e:#}"),
            }
        }
    };
    meter
        .u64_observable_counter("skbdrop.drops")
        .with_description("Packets that the kernel dropped")
        .with_unit("{packet}")
        .with_callback(observe(|counts, observer| {
            by_reason(counts, observer, |it| it.drops)
        }))
        .build();
    meter
        .u64_observable_counter("skbdrop.dropped")
        .with_description("Their bytes, without headers that the kernel had taken off before")
        .with_unit("By")
        .with_callback(observe(|counts, observer| {
            by_reason(counts, observer, |it| it.bytes)
        }))
        .build();
    meter
        .u64_observable_counter("skbdrop.missed")
        .with_description(
            "Drops in none of the counts: the kernel did not run the program for them",
        )
        .with_unit("{packet}")
        .with_callback(observe(|counts, observer| {
            observer.observe(counts.missed, &[])
        }))
        .build();
    Ok(())
}

fn by_reason(counts: &Counts, observer: &dyn AsyncInstrument<u64>, value: fn(&Tally) -> u64) {
    for count in &counts.kinds {
        observer.observe(value(&count.tally), &reason(count));
    }
    // Of more reasons than there is room for, which no kernel has.
    let other = KeyValue::new("skbdrop.reason", "other");
    observer.observe(value(&counts.overflow), &[other]);
}

fn reason(count: &Count) -> Vec<KeyValue> {
    let Some(reason) = &count.reason else {
        return Vec::new();
    };
    let mut attributes = vec![KeyValue::new("skbdrop.reason", reason.to_string())];
    if let Some(name) = reason.subsystem().and_then(|it| it.name.as_ref()) {
        attributes.push(KeyValue::new("skbdrop.subsystem", name.to_string()));
    }
    attributes
}

/// Log records, of so many packets a second, until Ctrl-C or SIGTERM.
#[tokio::main(flavor = "current_thread")]
async fn watch(meter: &Meter, logger: &SdkLogger, per_second: u32) -> Result {
    let mut monitor = Monitor::builder().build()?;
    let (unsent, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    own_health(
        meter,
        "skbdrop.logs.unsent",
        "Packets beyond the rate of log records",
        &unsent,
    );
    own_health(
        meter,
        "skbdrop.logs.lost",
        "Packets that were lost on their way to the logs",
        &lost,
    );
    let interrupted = signals::interrupted();
    tokio::pin!(interrupted);
    let (mut second, mut left) = (Instant::now(), per_second);
    eprintln!("otel: sending until Ctrl-C");
    loop {
        let event = tokio::select! {
            () = &mut interrupted => return Ok(()),
            event = monitor.next() => event,
        };
        let Some(event) = event.transpose()? else {
            return Ok(());
        };
        lost.fetch_add(event.lost_before, Relaxed);
        if second.elapsed() >= Duration::from_secs(1) {
            (second, left) = (Instant::now(), per_second);
        }
        match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                log(logger, &event);
            }
            None => _ = unsent.fetch_add(1, Relaxed),
        }
    }
}

fn own_health(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
    value: &Arc<AtomicU64>,
) {
    let value = Arc::clone(value);
    meter
        .u64_observable_counter(name)
        .with_description(description)
        .with_unit("{packet}")
        .with_callback(move |observer| observer.observe(value.load(Relaxed), &[]))
        .build();
}

/// A record with the attributes that OpenTelemetry has names for, and some of our own.
fn log(logger: &SdkLogger, event: &DropEvent) {
    let mut record = logger.create_log_record();
    record.set_event_name("skbdrop.drop");
    record.set_timestamp(event.wall_time);
    record.set_severity_number(Severity::Warn);
    record.set_severity_text("WARN");
    record.set_body(event.to_string().into());
    let mut add = |name: &'static str, value: Option<AnyValue>| {
        if let Some(value) = value {
            record.add_attribute(name, value);
        }
    };
    let text = |value: String| AnyValue::from(value);
    let reason = event.reason.as_ref();
    add("skbdrop.reason", reason.map(|it| text(it.to_string())));
    let symbol = event.location.symbol.as_ref();
    add(
        "skbdrop.location",
        symbol.map(|it| text(it.name.to_string())),
    );
    add(
        "network.interface.name",
        event.ifname.as_ref().map(|it| text(it.to_string())),
    );
    let transport = event
        .transport
        .map(|it| text(it.to_string().to_lowercase()));
    add("network.transport", transport);
    let address = |it: Option<Endpoint>| it.map(|it| text(it.address.to_string()));
    let port = |it: Option<Endpoint>| {
        it.and_then(|it| it.port)
            .map(|port| AnyValue::Int(port.into()))
    };
    add("source.address", address(event.src));
    add("source.port", port(event.src));
    add("destination.address", address(event.dst));
    add("destination.port", port(event.dst));
    logger.emit(record);
}

fn logs_per_second(parser: &mut lexopt::Parser) -> Result<Option<u32>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut logs = 10;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("logs-per-second") => logs = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(logs))
}
