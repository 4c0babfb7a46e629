//! The exporter as `examples/fleet` has it run: with the unit's capabilities and no more, and within its system calls.
#![allow(clippy::unwrap_used)] // tests panic

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use support::{database::get, drops::flood, netns::NetNs};

const PORT: u16 = 9976;
/// How long the exporter may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/fleet")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn unit() -> String {
    file("skbdrop-exporter.service")
}

/// The values of a setting of the unit, in the order of its lines.
fn settings(name: &str) -> Vec<String> {
    let unit = unit();
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The capabilities of the unit in lower case, without `CAP_`.
fn capabilities() -> Vec<String> {
    let bounding = settings("CapabilityBoundingSet");
    assert_eq!(bounding, settings("AmbientCapabilities"));
    bounding
        .iter()
        .map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase())
        .collect()
}

/// A folder with the exporter, which any user may enter and write to: other users may not enter the build's.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("skbdrop-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy(support::example("prometheus"), folder.join("exporter")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The exporter, by an ordinary user with these capabilities alone, behind `wrapper`.
    fn exporter(&self, capabilities: &[String], wrapper: &[&str]) -> Command {
        let list: String = capabilities
            .iter()
            .map(|name| format!(",+{name}"))
            .collect();
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--no-new-privs",
            ])
            .args(
                ["inh-caps", "ambient-caps", "bounding-set"]
                    .map(|set| format!("--{set}=-all{list}")),
            )
            .args(wrapper)
            .arg(self.path("exporter"))
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ends the process and what it started, as systemd does.
fn terminate(child: Child, by_parent: bool) -> Output {
    let id = child.id().to_string();
    if by_parent {
        support::run("pkill", &["-TERM", "-P", &id]);
    } else {
        support::run("kill", &["-TERM", &id]);
    }
    child.wait_with_output().unwrap()
}

/// What the exporter in the namespace answers to a scrape, once it does.
fn scrape(netns: &NetNs) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = get(netns, PORT, "/metrics") {
            return answer;
        }
        assert!(Instant::now() < deadline, "the exporter does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs root to give and take capabilities: cargo xtask test"]
fn the_units_capabilities_are_enough_and_each_is_needed() {
    let (netns, folder) = (NetNs::new(), Folder::new("capabilities"));
    let all = capabilities();
    let mut exporter = folder.exporter(&all, &[]);
    let exporter = netns.run(move || exporter.spawn()).unwrap();
    scrape(&netns);
    netns.run(|| flood(50));
    let answer = scrape(&netns);
    let counted = answer.lines().any(|line| {
        // Besides the datagrams, connections that were refused before it listened.
        let labels = "skbdrop_drops_total{reason=\"NO_SOCKET\",subsystem=\"CORE\",netns=\"own\",interface=\"lo\"} ";
        let value = line.strip_prefix(labels).and_then(|value| value.parse::<u64>().ok());
        value.is_some_and(|value| value >= 50)
    });
    assert!(counted, "{answer}");
    let output = terminate(exporter, false);
    assert!(output.status.success(), "{output:?}");
    for name in &all {
        let fewer: Vec<String> = all.iter().filter(|other| *other != name).cloned().collect();
        let output = folder.exporter(&fewer, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "without {name}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("needs CAP_BPF and CAP_PERFMON"), "{text}");
    }
}

#[test]
#[ignore = "needs root, systemd's programs and strace: cargo xtask test"]
fn the_units_system_calls_are_enough() {
    let (netns, folder) = (NetNs::new(), Folder::new("calls"));
    let calls = folder.path("calls");
    let mut exporter = folder.exporter(&capabilities(), &["strace", "-f", "-qq", "-o", &calls]);
    let exporter = netns.run(move || exporter.spawn()).unwrap();
    scrape(&netns);
    let output = terminate(exporter, true);
    assert!(output.status.success(), "{output:?}");
    let allowed = allowed_calls();
    let text = fs::read_to_string(&calls).unwrap();
    // `PID NAME(ARGUMENTS) = RESULT`; other lines are of signals and resumed calls.
    let made: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
        .collect();
    assert!(made.contains("bpf") && made.contains("accept4"), "{made:?}");
    let refused: Vec<&&str> = made
        .iter()
        .filter(|name| !allowed.contains(**name))
        .collect();
    assert!(refused.is_empty(), "the unit does not allow {refused:?}");
    assert!(!allowed.contains("mount") && !allowed.contains("perf_event_open"));
}

/// The system calls that the unit allows: each line adds, or with a tilde takes away.
fn allowed_calls() -> BTreeSet<String> {
    let unit = unit();
    let mut allowed = BTreeSet::new();
    for line in unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let (takes, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line),
        };
        for name in names.split_whitespace().flat_map(expand) {
            if takes {
                allowed.remove(&name);
            } else {
                allowed.insert(name);
            }
        }
    }
    allowed
}

/// A system call, or those of one of systemd's sets.
fn expand(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().skip(1).map(str::trim);
    names
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .flat_map(expand)
        .collect()
}

#[test]
#[ignore = "needs systemd's programs: cargo xtask test"]
fn systemd_has_nothing_to_say_against_the_unit() {
    let folder = Folder::new("unit");
    let path = folder.path("skbdrop-exporter.service");
    let installed = unit().replace("/usr/local/bin/skbdrop-exporter", &folder.path("exporter"));
    fs::write(&path, installed).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(&path).output().unwrap()
    };
    let output = analyze(&["verify", "--man=no"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // In tenths; a service without any of it has 96.
    let output = analyze(&["security", "--offline=yes", "--threshold=20", "--no-pager"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn the_manifest_asks_for_the_units_capabilities() {
    let names: Vec<String> = capabilities()
        .iter()
        .map(|name| format!("\"{}\"", name.to_uppercase()))
        .collect();
    let manifest = file("daemonset.yaml");
    assert!(
        manifest.contains(&format!("add: [{}]\n", names.join(", "))),
        "{names:?}"
    );
    assert!(manifest.contains("drop: [\"ALL\"]\n") && manifest.contains("privileged: false\n"));
}
