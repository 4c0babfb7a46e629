//! `examples/prometheus` and `examples/otel` against those who receive from them: what they know of the drops that
//! were made is what was made.
#![allow(clippy::unwrap_used)] // tests panic

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value,
    logs::v1::LogRecord,
};
use prost::Message as _;
use skbdrop::{By, Counters, DropReason};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    process::{Child, ChildStderr, Command, Stdio},
};
use support::{
    database::{Database, get},
    drops::{CLOSED, flood},
    netns::NetNs,
};

/// Where the exporter serves.
const EXPORTER: u16 = 9976;

/// An example that runs in a namespace and ends when it is told to.
struct Running {
    child: Child,
    // Held, so that the example can go on writing.
    _stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Starts it, and waits for the line with which it says that it is ready.
    fn start(netns: &NetNs, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(support::example(name));
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped());
        let mut child = netns.run(move || command.spawn()).unwrap();
        let ready = match name {
            "prometheus" => "http://127.0.0.1:9976/metrics",
            _ => "sending until Ctrl-C",
        };
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            let read = stderr.read_line(&mut line).unwrap();
            assert!(read > 0, "`{name}` ended without `{ready}`");
        }
        Self {
            child,
            _stderr: stderr,
        }
    }

    /// By SIGTERM, as systemd and Kubernetes do it.
    fn stop(mut self) {
        support::run("kill", &["-TERM", &self.child.id().to_string()]);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs root to load eBPF, and a Prometheus: cargo xtask test"]
fn a_prometheus_that_scrapes_knows_the_drops() {
    let netns = NetNs::new();
    let by = ["--by", "interface,location,protocol"];
    let exporter = Running::start(&netns, "prometheus", &by, &[]);
    let configuration = format!(
        "global: {{scrape_interval: 500ms}}\n\
         scrape_configs: [{{job_name: skbdrop, static_configs: [{{targets: ['127.0.0.1:{EXPORTER}']}}]}}]\n"
    );
    let prometheus = Database::prometheus(&netns, &configuration);
    prometheus.expect("up{job=\"skbdrop\"}", 1);
    netns.run(|| flood(1234));
    netns.run(|| {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        for _ in 0..3 {
            // Answered by an error, which the next call may tell.
            while socket.send_to(b"closed", ("::1", CLOSED)).is_err() {}
        }
    });
    // Connections that were refused while Prometheus started are drops as well: those are TCP's.
    let ours =
        r#"reason="NO_SOCKET",subsystem="CORE",netns="own",interface="lo",location=~".*udp.*""#;
    for (protocol, drops, bytes) in [("IPv4", 1234, 1234 * (32 + 8)), ("IPv6", 3, 3 * (6 + 8))] {
        let labels = format!("{{{ours},protocol=\"{protocol}\"}}");
        prometheus.expect(&format!("skbdrop_drops_total{labels}"), drops);
        prometheus.expect(&format!("skbdrop_dropped_bytes_total{labels}"), bytes);
    }
    prometheus.expect("skbdrop_drops_total{reason=\"other\"}", 0);
    prometheus.expect("skbdrop_missed_drops_total", 0);
    exporter.stop();
    prometheus.expect("up{job=\"skbdrop\"}", 0);
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn what_has_no_room_is_told_as_other() {
    let netns = NetNs::new();
    let arguments = ["--by", "location", "--max-kinds", "1"];
    let exporter = Running::start(&netns, "prometheus", &arguments, &[]);
    // Two kinds at least: by UDP and by TCP.
    netns.run(|| {
        flood(10);
        TcpStream::connect(("127.0.0.1", CLOSED)).expect_err("nothing listens");
    });
    let text = get(&netns, EXPORTER, "/metrics").unwrap();
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
    let value = |name: &str| -> u64 {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no `{name}` in {text}"))
            .parse()
            .unwrap()
    };
    let other = value("skbdrop_drops_total{reason=\"other\"}");
    assert!(other >= 1, "{text}");
    assert_eq!(value("skbdrop_overflow_drops_total"), other);
    assert_eq!((value("skbdrop_kinds"), value("skbdrop_max_kinds")), (1, 1));
    // One series, and that of the others.
    let series = text
        .lines()
        .filter(|line| line.starts_with("skbdrop_drops_total{"));
    assert_eq!(series.count(), 2, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    exporter.stop();
}

#[test]
#[ignore = "needs root to load eBPF, and a VictoriaMetrics: cargo xtask test"]
fn otlp_metrics_arrive_and_logs_are_of_the_packets() {
    let netns = NetNs::new();
    let database = Database::victoria_metrics(&netns);
    let logs = netns.run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let endpoint = format!("http://{}/v1/logs", logs.local_addr().unwrap());
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://127.0.0.1:8428/opentelemetry/v1/metrics",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &endpoint),
        ("OTEL_BLRP_SCHEDULE_DELAY", "500"),
    ];
    // Begins before the example, so that it has counted no less.
    let mut bound = Counters::builder().by([By::Reason]).build().unwrap();
    let otel = Running::start(
        &netns,
        "otel",
        &["--logs-per-second", "1000000"],
        &variables,
    );
    netns.run(|| {
        flood(5);
        send_what_nobody_handles(321);
    });
    let record = receive(&logs, |record| {
        attribute(record, "destination.port") == Some(Value::IntValue(CLOSED.into()))
            && attribute(record, "network.interface.name").is_some()
    });
    let text = |name| match attribute(&record, name) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(record.event_name, "skbdrop.drop");
    assert_eq!(record.severity_text, "WARN");
    assert_eq!(text("skbdrop.reason"), "NO_SOCKET");
    assert_eq!(text("network.interface.name"), "lo");
    assert_eq!(text("network.transport"), "udp");
    assert_eq!(text("destination.address"), "127.0.0.1");
    assert!(text("skbdrop.location").contains("udp"), "{record:?}");
    let Some(Value::StringValue(body)) = record.body.and_then(|body| body.value) else {
        panic!("a record without a body");
    };
    assert!(body.contains("NO_SOCKET at "), "{body}");
    assert!(record.time_unix_nano > 0);
    drop(logs);

    // The metrics are of the whole machine, where this is a rare reason.
    let bound = bound.snapshot().unwrap().kinds.into_iter();
    let is_ours = |reason: DropReason| reason.name() == Some("IP_NOPROTO");
    let bound = bound.filter(|count| count.reason.clone().is_some_and(is_ours));
    let bound: u64 = bound.map(|count| count.tally.drops).sum();
    let query = r#"skbdrop_drops_total{skbdrop_reason="IP_NOPROTO",skbdrop_subsystem="CORE"}"#;
    database.expect_within(query, 321..=bound);
    otel.stop();
}

/// Datagrams of an IP protocol that nobody handles.
fn send_what_nobody_handles(count: usize) {
    use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};
    // What is sent by this kind of socket brings its own header, in which the kernel fills in the rest.
    let raw = Protocol::from_raw(255.try_into().unwrap());
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(raw)).unwrap();
    let mut header = [0; 20];
    (header[0], header[8], header[9]) = (0x45, 64, 253);
    header[16..].copy_from_slice(&[127, 0, 0, 1]);
    for _ in 0..count {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        sendto(&socket, &header, SendFlags::empty(), &to).unwrap();
    }
}

fn attribute(record: &LogRecord, name: &str) -> Option<Value> {
    let attribute = record
        .attributes
        .iter()
        .find(|attribute| attribute.key == name)?;
    attribute.value.clone()?.value
}

/// Takes requests with log records until one is `wanted`.
fn receive(listener: &TcpListener, wanted: impl Fn(&LogRecord) -> bool) -> LogRecord {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        while let Some(body) = request(&mut stream) {
            let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
            let scopes = request
                .resource_logs
                .into_iter()
                .flat_map(|resource| resource.scope_logs);
            let found = scopes
                .flat_map(|scope| scope.log_records)
                .find(|record| wanted(record));
            // An empty message says that all were taken.
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if let Some(found) = found {
                return found;
            }
        }
    }
}

/// The body of an HTTP request; `None` if the client has left.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.expect("a request with a length")];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}
