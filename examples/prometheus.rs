//! An exporter for Prometheus: what the kernel drops, by reason and interface, counted in the kernel.
//!
//! Between two scrapes it does not run: an eBPF program counts, and a scrape reads its map. `docs/fleet.md` says how to run it
//! on many hosts.
//!
//! ```text
//! # cargo run --release --features prometheus --example prometheus -- --listen 127.0.0.1:9976 &
//! # curl -s http://127.0.0.1:9976/metrics | grep '^skbdrop_drops_total'
//! skbdrop_drops_total{reason="NO_SOCKET",subsystem="CORE",netns="own",interface="lo"} 17
//! ```

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use skbdrop::{By, Count, Counters, Counts, Tally};
use skbdrop_examples::{Result, signals};
use std::{
    collections::BTreeMap,
    fmt,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

const HELP: &str = "\
prometheus: counts the kernel's drops, for Prometheus to scrape at /metrics

  --listen ADDRESS:PORT   where to serve (default: 127.0.0.1:9976)
  --by LIST               what to tell apart besides the reason: interface, location, protocol,
                          with commas; or nothing (default: interface)
  --max-kinds N           how many kinds of drops to tell apart; those of further kinds are counted
                          together, with reason=\"other\" (default: 8192)
";

#[derive(Debug)]
struct Options {
    listen: String,
    by: Vec<By>,
    max_kinds: u32,
}

fn main() -> ExitCode {
    skbdrop_examples::run("prometheus", HELP, options, serve)
}

// One thread: a scrape takes a millisecond.
#[tokio::main(flavor = "current_thread")]
async fn serve(options: Options) -> Result {
    let exporter = Arc::new(Exporter::new(&options)?);
    let listener = tokio::net::TcpListener::bind(&options.listen)
        .await
        .map_err(|e| format!("cannot listen on `{}`: {e}", options.listen))?;
    eprintln!("prometheus: http://{}/metrics", listener.local_addr()?);
    let router = Router::new()
        .route("/", get(async || "skbdrop: see /metrics\n"))
        .route("/metrics", get(metrics))
        .with_state(exporter);
    // Answers what has been asked, then returns.
    axum::serve(listener, router)
        .with_graceful_shutdown(signals::interrupted())
        .await?;
    Ok(())
}

async fn metrics(State(exporter): State<Arc<Exporter>>) -> impl IntoResponse {
    match exporter.scrape() {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        // The scrape fails, and Prometheus' own `up` tells so: zeroes would be a lie.
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e:#}\n")).into_response(),
    }
}

#[derive(Debug)]
struct Exporter {
    counters: Mutex<Counters>,
    by: Vec<By>,
    max_kinds: u32,
    /// Our network namespace, whose interfaces have names that we can ask for.
    own_netns: u64,
    socket: OwnedFd,
}

impl Exporter {
    fn new(options: &Options) -> Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        let mut by = vec![By::Reason];
        by.extend(&options.by);
        if by.contains(&By::Interface) {
            // An interface's index is one of its namespace.
            by.push(By::NetNs);
        }
        let counters = Counters::builder()
            .by(by.iter().copied())
            .max_kinds(options.max_kinds)
            .build()?;
        let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
        Ok(Self {
            counters: Mutex::new(counters),
            by,
            max_kinds: options.max_kinds,
            own_netns: std::fs::metadata("/proc/self/ns/net")?.ino(),
            socket: socket_with(family, kind, SocketFlags::CLOEXEC, None)?,
        })
    }

    /// The answer to a scrape, in the OpenMetrics format.
    fn scrape(&self) -> Result<String> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counters.snapshot()?;
        drop(counters);
        let mut registry = Registry::with_prefix("skbdrop");
        registry.register_collector(Box::new(Reading::new(self, &counts)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// What tells a series from others.
    fn labels(&self, count: &Count) -> Labels {
        let mut labels = Labels::new();
        let reason = count.reason.as_ref();
        labels.push(("reason", reason.map(ToString::to_string)));
        let subsystem = reason.and_then(|reason| reason.subsystem());
        let name = subsystem.and_then(|subsystem| match (&subsystem.name, subsystem.number) {
            (Some(name), _) => Some(name.to_string()),
            (None, number) => number.map(|number| number.to_string()),
        });
        labels.push(("subsystem", name));
        if self.by.contains(&By::Interface) {
            let own = count
                .netns
                .as_ref()
                .map(|netns| u64::from(netns.inode) == self.own_netns);
            labels.push((
                "netns",
                own.map(|own| if own { "own" } else { "other" }.to_owned()),
            ));
            // Those of other namespaces come and go with containers, by the thousand.
            let index = count.ifindex.filter(|_| own == Some(true));
            labels.push(("interface", index.map(|index| self.interface(index))));
        }
        if self.by.contains(&By::Location) {
            let symbol = count
                .location
                .as_ref()
                .and_then(|location| location.symbol.as_ref());
            // An address without a name is another one after each boot.
            labels.push(("location", symbol.map(|symbol| symbol.name.to_string())));
        }
        if self.by.contains(&By::Protocol) {
            labels.push((
                "protocol",
                count.protocol.map(|protocol| protocol.to_string()),
            ));
        }
        labels
    }

    /// Its name, or the number of one that is no more.
    fn interface(&self, index: u32) -> String {
        rustix::net::netdevice::index_to_name(&self.socket, index)
            .unwrap_or_else(|_| index.to_string())
    }
}

/// Without a value where there is none to tell.
type Labels = Vec<(&'static str, Option<String>)>;

/// One reading of the counters, as Prometheus gets it.
#[derive(Debug)]
struct Reading {
    series: BTreeMap<Labels, Tally>,
    overflow: Tally,
    missed: u64,
    kinds: usize,
    max_kinds: u32,
}

impl Reading {
    fn new(exporter: &Exporter, counts: &Counts) -> Self {
        let mut series = BTreeMap::<Labels, Tally>::new();
        for count in &counts.kinds {
            // Kinds of one function, or of interfaces elsewhere, are one series.
            let sum = series.entry(exporter.labels(count)).or_default();
            sum.drops += count.tally.drops;
            sum.bytes += count.tally.bytes;
        }
        // Always there, so that an increase from nothing is one.
        series.insert(vec![("reason", Some("other".to_owned()))], counts.overflow);
        Self {
            series,
            overflow: counts.overflow,
            missed: counts.missed,
            kinds: counts.kinds.len(),
            max_kinds: exporter.max_kinds,
        }
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.series.iter();
        let drops = series.clone().map(|(labels, tally)| (labels, tally.drops));
        family(
            &mut encoder,
            "drops",
            "Packets that the kernel dropped.",
            None,
            drops,
        )?;
        let bytes = series.map(|(labels, tally)| (labels, tally.bytes));
        let help = "Their bytes, without headers that the kernel had taken off before.";
        family(&mut encoder, "dropped", help, Some(&Unit::Bytes), bytes)?;

        let none = Labels::new();
        let help = "Drops with reason=\"other\": of kinds for which there was no room.";
        let overflow = [(&none, self.overflow.drops)].into_iter();
        family(&mut encoder, "overflow_drops", help, None, overflow)?;
        let help = "Drops in none of the counts: the kernel did not run the program for them.";
        let missed = [(&none, self.missed)].into_iter();
        family(&mut encoder, "missed_drops", help, None, missed)?;
        let help = "Kinds of drops seen. Each is reason, interface and so on of one namespace.";
        gauge(&mut encoder, "kinds", help, self.kinds as u64)?;
        let help = "Kinds for which there is room.";
        gauge(&mut encoder, "max_kinds", help, self.max_kinds.into())
    }
}

/// Counters of one name; the encoder appends `_total`.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    series: impl Iterator<Item = (&'a Labels, u64)>,
) -> fmt::Result {
    let kind = prometheus_client::metrics::MetricType::Counter;
    let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(encoder)
}

fn options(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        listen: "127.0.0.1:9976".to_owned(),
        by: vec![By::Interface],
        max_kinds: 8192,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => options.listen = parser.value()?.string()?,
            Long("by") => options.by = parser.value()?.parse_with(by)?,
            Long("max-kinds") => options.max_kinds = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn by(list: &str) -> Result<Vec<By>, String> {
    let words = list.split(',').filter(|word| !word.is_empty());
    words
        .map(|word| match word {
            "interface" => Ok(By::Interface),
            "location" => Ok(By::Location),
            "protocol" => Ok(By::Protocol),
            _ => Err(format!(
                "there are interface, location and protocol, not `{word}`"
            )),
        })
        .collect()
}
