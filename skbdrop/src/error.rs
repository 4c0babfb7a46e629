//! [`Error`]: one type for all that can go wrong, with a kind that a caller can act on.

use crate::{BackendKind, Report};
use std::{fmt, io};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong: the act that failed, its object and, where there is one, the remedy.
///
/// The text is one sentence without the cause; the cause is in
/// [`source()`](std::error::Error::source). `{:#}` prints both in one line. `{:?}`, which is what a `main` that returns it
/// and `unwrap` print, has each cause, or each backend that refused, in a line of its own; `{:#?}` has the fields.
///
/// ```
/// let error = skbdrop::Resolver::from_btf_file("/nonexistent").unwrap_err();
/// assert_eq!(error.kind(), skbdrop::ErrorKind::NotFound);
/// assert!(format!("{error:#}").contains("/nonexistent"));
/// ```
#[derive(thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
    source: Option<Source>,
    /// When automatic choice found no backend.
    report: Option<Box<Report>>,
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A privilege is missing: a capability, a file's permission, a sysctl or lockdown.
    PermissionDenied,
    /// This kernel, or this build of the crate, cannot do it.
    NotSupported,
    /// A file or object is not there.
    NotFound,
    /// The data is not what it should be: a corrupt BTF, a truncated record.
    InvalidData,
    /// The caller's argument is out of range.
    InvalidInput,
    /// Anything else, mostly a failed system call.
    Other,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
            report: None,
        }
    }

    pub(crate) fn not_supported(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotSupported, context)
    }

    pub(crate) fn invalid_data(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, context)
    }

    /// An error of the operating system; its number gives the kind.
    pub(crate) fn io(context: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let kind = match source.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::Unsupported => ErrorKind::NotSupported,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::InvalidData,
            _ => ErrorKind::Other,
        };
        Self::new(kind, context).caused_by(source)
    }

    /// No backend works: each with its refusal.
    pub(crate) fn no_backend(report: Report) -> Self {
        // What a privilege would mend is worth more to know than what nothing would.
        let denied = report
            .refusals()
            .any(|(_, e)| e.kind() == ErrorKind::PermissionDenied);
        let kind = if denied {
            ErrorKind::PermissionDenied
        } else {
            ErrorKind::NotSupported
        };
        Self {
            report: Some(Box::new(report)),
            ..Self::new(kind, "no backend works here")
        }
    }

    /// When automatic choice found no backend: each backend that was tried, with its refusal.
    pub fn refusals(&self) -> impl Iterator<Item = (BackendKind, &Self)> {
        self.report().into_iter().flat_map(Report::refusals)
    }

    /// When automatic choice found no backend: what [`support()`](crate::support()) reports, of the very attempt that
    /// failed. The error's own text has the refusals, the report also the facts that they depend on.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What caused it, and what caused that.
    fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(std::error::Error::source(self), |cause| cause.source())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        for (n, (backend, error)) in self.refusals().enumerate() {
            let separator = if n == 0 { ": " } else { "; " };
            write!(f, "{separator}{}: {error:#}", backend.name())?;
        }
        if f.alternate() {
            for cause in self.causes() {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            context,
            source,
            report,
        } = self;
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("kind", kind)
                .field("context", context)
                .field("source", source)
                .field("report", report)
                .finish();
        }
        f.write_str(context)?;
        for (backend, error) in self.refusals() {
            write!(f, "\n    {}: {error:#}", backend.name())?;
        }
        for cause in self.causes() {
            write!(f, "\n    caused by: {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Support;

    fn refused() -> Error {
        let io = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
        let inner = Error::io("cannot load the program", io);
        Error::new(ErrorKind::PermissionDenied, "cannot open the eBPF backend").caused_by(inner)
    }

    #[test]
    fn main_prints_a_cause_a_line() {
        let error = refused();
        assert_eq!(error.to_string(), "cannot open the eBPF backend");
        let line = "cannot open the eBPF backend: cannot load the program: \
                    Operation not permitted (os error 1)";
        assert_eq!(format!("{error:#}"), line);
        let lines = "cannot open the eBPF backend\n    caused by: cannot load the program\n    \
                     caused by: Operation not permitted (os error 1)";
        assert_eq!(format!("{error:?}"), lines);
        let fields = format!("{error:#?}");
        assert!(fields.contains("kind: PermissionDenied"), "{fields}");
        assert!(fields.contains("code: 1"), "{fields}");
    }

    #[test]
    fn main_prints_a_backend_a_line() {
        let error = Error::no_backend(Report {
            backends: vec![
                (BackendKind::Ebpf, Support::No(refused())),
                (
                    BackendKind::Perf,
                    Support::No(Error::not_supported("no tracefs")),
                ),
            ],
            facts: Vec::new(),
        });
        let lines = "no backend works here\n    ebpf: cannot open the eBPF backend: cannot load the program: \
                     Operation not permitted (os error 1)\n    perf: no tracefs";
        assert_eq!(format!("{error:?}"), lines);
    }
}
