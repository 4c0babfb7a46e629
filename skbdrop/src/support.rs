//! [`support`]: which backends work here, and what the others would need.

use crate::{Backend, BackendKind, Error, ErrorKind, backend::Settings, tracefs};
use std::{fmt, fs, path::Path};

/// What is possible on this kernel, in this network namespace, with this process's privileges.
///
/// `Display` is some lines that a person reads; `examples/doctor` prints them.
///
/// ```
/// use skbdrop::{Support, support};
///
/// for (backend, support) in support().backends {
///     match support {
///         Support::Yes(limitations) => println!("{}: {} limitations", backend.name(), limitations.len()),
///         Support::No(e) => println!("{}: {e:#}", backend.name()), // what is missing, and the remedy
///         _ => println!("{}: not known", backend.name()),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Each backend, the best first: [`Backend::Auto`] takes the first that works.
    pub backends: Vec<(BackendKind, Support)>,
    /// Facts about the machine and this process that the above depends on: a name, and what was found.
    pub facts: Vec<(&'static str, String)>,
}

/// Whether a backend works here.
#[derive(Debug)]
#[non_exhaustive]
pub enum Support {
    /// It does; with what it was asked for and cannot do here, each with the reason.
    Yes(Vec<Error>),
    /// It does not. The error says what is missing, and the remedy.
    No(Error),
    /// It could not be found out.
    Unknown(Error),
}

/// Finds out which backends work here, by opening each for a moment; netlink's `drop_monitor`, whose
/// state all users of the machine share, is only looked at.
#[must_use]
pub fn support() -> Report {
    Report {
        backends: Backend::ALL
            .map(|backend| (backend.kind(), probe(backend)))
            .into(),
        facts: facts(),
    }
}

fn probe(backend: Backend) -> Support {
    let settings = Settings {
        buffer_size: rustix::param::page_size() as u32,
        snap_len: 1,
        ..Settings::default()
    };
    match backend.probe(&settings) {
        Ok(limitations) => Support::Yes(limitations),
        Err(e) => Support::refused(e),
    }
}

impl Support {
    /// An error without a known kind tells nothing of what is possible.
    fn refused(e: Error) -> Self {
        match e.kind() {
            ErrorKind::Other => Self::Unknown(e),
            _ => Self::No(e),
        }
    }
}

impl Report {
    /// That of an attempt in which every backend refused.
    pub(crate) fn of_refusals(refusals: Vec<(BackendKind, Error)>) -> Self {
        let refused = |(kind, e)| (kind, Support::refused(e));
        Self {
            backends: refusals.into_iter().map(refused).collect(),
            facts: facts(),
        }
    }

    /// The backends that do not work, or of which it is not known, with the error of each.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (BackendKind, &Error)> {
        self.backends
            .iter()
            .filter_map(|(kind, support)| match support {
                Support::Yes(_) => None,
                Support::No(e) | Support::Unknown(e) => Some((*kind, e)),
            })
    }

    /// The backend that [`Backend::Auto`] takes.
    #[must_use]
    pub fn best(&self) -> Option<BackendKind> {
        let mut backends = self.backends.iter();
        backends
            .find(|(_, support)| matches!(support, Support::Yes(_)))
            .map(|(kind, _)| *kind)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, support) in &self.backends {
            let name = kind.name();
            match support {
                Support::Yes(limitations) => {
                    writeln!(f, "{name:8} yes")?;
                    for limitation in limitations {
                        writeln!(f, "{:8}     but {limitation:#}", "")?;
                    }
                }
                Support::No(e) => writeln!(f, "{name:8} no: {e:#}")?,
                Support::Unknown(e) => writeln!(f, "{name:8} could not tell: {e:#}")?,
            }
        }
        match self.best() {
            Some(kind) => writeln!(f, "\nauto takes {}", kind.name())?,
            None => writeln!(f, "\nauto finds no backend")?,
        }
        writeln!(f)?;
        for (name, value) in &self.facts {
            writeln!(f, "{name:32} {value}")?;
        }
        Ok(())
    }
}

/// Capabilities that matter here, by their number in `include/uapi/linux/capability.h`.
const CAPABILITIES: [(&str, u32); 8] = [
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_NET_ADMIN", 12),
    ("CAP_IPC_LOCK", 14),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_SYSLOG", 34),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

fn facts() -> Vec<(&'static str, String)> {
    let file = |path: &str| match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(e) => format!("cannot tell ({path}: {e})"),
    };
    let there = |path: &str| match Path::new(path).try_exists() {
        Ok(true) => "there".to_owned(),
        Ok(false) => format!("not there ({path})"),
        Err(e) => format!("cannot tell ({path}: {e})"),
    };
    let link = |path: &str| match fs::read_link(path) {
        Ok(target) => target.display().to_string(),
        Err(e) => format!("cannot tell ({path}: {e})"),
    };
    vec![
        ("kernel", file("/proc/sys/kernel/osrelease")),
        ("capabilities", capabilities(&file("/proc/self/status"))),
        (
            "kernel.perf_event_paranoid",
            file("/proc/sys/kernel/perf_event_paranoid"),
        ),
        (
            "kernel.unprivileged_bpf_disabled",
            file("/proc/sys/kernel/unprivileged_bpf_disabled"),
        ),
        (
            "kernel.kptr_restrict",
            file("/proc/sys/kernel/kptr_restrict"),
        ),
        (
            "lockdown",
            lockdown(fs::read_to_string("/sys/kernel/security/lockdown")),
        ),
        ("BTF of the kernel", there(crate::btf::KERNEL_BTF)),
        ("tracefs", tracefs()),
        ("network namespace", link("/proc/self/ns/net")),
        ("network namespace of init", link("/proc/1/ns/net")),
    ]
}

/// The effective ones of those that matter, from `/proc/self/status`.
fn capabilities(status: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(set) = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return "cannot tell (no CapEff in /proc/self/status)".to_owned();
    };
    let held = CAPABILITIES.iter().filter(|(_, bit)| set >> bit & 1 == 1);
    let held: Vec<&str> = held.map(|(name, _)| *name).collect();
    if held.is_empty() {
        "none that matter here".to_owned()
    } else {
        held.join(" ")
    }
}

/// Where it is mounted, and whether what is needed of it can be read.
fn tracefs() -> String {
    let root = match tracefs::mounted_at() {
        Ok(root) => root.display().to_string(),
        Err(e) => return format!("{e:#}"),
    };
    match tracefs::kfree_skb_format() {
        Ok(_) => format!("{root}, its events can be read"),
        Err(e) => format!("{root}, but {e:#}"),
    }
}

/// The mode in brackets, as in `none [integrity] confidentiality`.
fn lockdown(text: std::io::Result<String>) -> String {
    match text {
        Ok(text) => {
            let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            mode.map_or_else(|| text.trim().to_owned(), |(mode, _)| mode.to_owned())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            "cannot tell (no /sys/kernel/security/lockdown: no lockdown in this kernel, or securityfs is not mounted)"
                .to_owned()
        }
        Err(e) => format!("cannot tell (/sys/kernel/security/lockdown: {e})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_kernels_texts() {
        assert_eq!(
            capabilities("Name:\tx\nCapEff:\t000000c000000000\n"),
            "CAP_PERFMON CAP_BPF"
        );
        assert_eq!(capabilities("CapEff:\t0\n"), "none that matter here");
        assert!(capabilities("").starts_with("cannot tell"));
        assert_eq!(
            lockdown(Ok("none [integrity] confidentiality\n".to_owned())),
            "integrity"
        );
    }

    #[test]
    fn an_attempt_that_failed_is_reported_as_support_is() {
        let error = Error::no_backend(Report::of_refusals(vec![
            (
                BackendKind::Ebpf,
                Error::new(ErrorKind::PermissionDenied, "no leave"),
            ),
            (BackendKind::Perf, Error::not_supported("no rings")),
            (BackendKind::Netlink, Error::new(ErrorKind::Other, "odd")),
        ]));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            error.to_string(),
            "no backend works here: ebpf: no leave; perf: no rings; netlink: odd"
        );
        let refused: Vec<String> = error
            .refusals()
            .map(|(kind, e)| format!("{} {e}", kind.name()))
            .collect();
        assert_eq!(refused, ["ebpf no leave", "perf no rings", "netlink odd"]);
        let report = error.report().expect("automatic choice failed");
        assert_eq!(report.best(), None);
        assert!(matches!(report.backends[1].1, Support::No(_)));
        assert!(matches!(report.backends[2].1, Support::Unknown(_)));
        let facts = |report: &Report| report.facts.iter().map(|fact| fact.0).collect::<Vec<_>>();
        assert_eq!(facts(report), facts(&support()));
        assert!(Error::not_supported("else").report().is_none());
    }
}
