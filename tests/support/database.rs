//! Real databases of metrics, in a network namespace, by the query language that they share.

use crate::netns::NetNs;
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    ops::RangeInclusive,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to start, or to know what it was told.
const PATIENCE: Duration = Duration::from_secs(90);

/// A database that runs as long as the value.
pub struct Database<'a> {
    netns: &'a NetNs,
    port: u16,
    child: Child,
    folder: PathBuf,
}

impl<'a> Database<'a> {
    /// A Prometheus of this configuration, at port 9090. `SKBDROP_PROMETHEUS` names the program.
    #[track_caller]
    pub fn prometheus(netns: &'a NetNs, configuration: &str) -> Self {
        let folder = folder(netns);
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ];
        let program = program("SKBDROP_PROMETHEUS", "prometheus");
        Self::start(netns, folder, 9090, &program, &arguments, "/-/ready")
    }

    /// A VictoriaMetrics, which takes OTLP, at port 8428. `SKBDROP_VICTORIA_METRICS` names the program.
    #[track_caller]
    pub fn victoria_metrics(netns: &'a NetNs) -> Self {
        let folder = folder(netns);
        let arguments = [
            format!("-storageDataPath={}", folder.join("data").display()),
            "-httpListenAddr=127.0.0.1:8428".to_owned(),
            "-opentelemetry.usePrometheusNaming".to_owned(),
            // What is there is to be seen at once.
            "-search.latencyOffset=0s".to_owned(),
        ];
        let program = program("SKBDROP_VICTORIA_METRICS", "victoria-metrics");
        Self::start(netns, folder, 8428, &program, &arguments, "/health")
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    fn start(
        netns: &'a NetNs,
        folder: PathBuf,
        port: u16,
        program: &OsStr,
        arguments: &[String],
        ready: &str,
    ) -> Self {
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(log);
        let child = netns.run(move || command.spawn()).unwrap_or_else(|e| {
            let _ = std::fs::remove_dir_all(&folder);
            panic!(
                "cannot start `{}`: {e}; `cargo xtask test` fetches it and names it in a variable",
                program.display()
            )
        });
        let database = Self {
            netns,
            port,
            child,
            folder,
        };
        database.until("it is ready", || {
            let answer = database.get(ready).unwrap_or_default();
            if answer.starts_with("HTTP/1.0 200") {
                Ok(())
            } else {
                Err(answer)
            }
        });
        database
    }

    /// Waits until the HTTP API answers a query with one series of this value.
    #[track_caller]
    pub fn expect(&self, query: &str, value: u64) {
        self.expect_within(query, value..=value);
    }

    /// The same with a value in this range.
    #[track_caller]
    pub fn expect_within(&self, query: &str, range: RangeInclusive<u64>) {
        let path = format!("/api/v1/query?query={}", encoded(query));
        self.until(&format!("`{query}` is in {range:?}"), || {
            let answer = self.get(&path).unwrap_or_default();
            match only_value(&answer) {
                Some(value) if range.contains(&value) => Ok(()),
                _ => Err(answer),
            }
        });
    }

    #[track_caller]
    fn until(&self, what: &str, mut answer: impl FnMut() -> Result<(), String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(last) = answer() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("not seen in time that {what}: {last}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn get(&self, path: &str) -> Option<String> {
        get(self.netns, self.port, path)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(netns: &NetNs) -> PathBuf {
    let name = format!("skbdrop-database-{}-{}", std::process::id(), netns.inode);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

/// What a server on 127.0.0.1 of the namespace answers, with its status line; `None` if it does not listen.
pub fn get(netns: &NetNs, port: u16, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    netns.run(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

/// The value in an answer with one series: `…,"value":[TIME,"VALUE"]…`.
fn only_value(answer: &str) -> Option<u64> {
    let mut values = answer.split("\"value\":[").skip(1);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    value.split('"').nth(1)?.parse().ok()
}

fn encoded(query: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    query.bytes().map(encode).collect()
}
