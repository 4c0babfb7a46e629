//! From a filter to a [`Plan`]: names become what the running kernel has for them.

use super::{
    Expr, Filter, Term, interfaces, merge,
    noise::NOISE,
    pattern::Pattern,
    plan::{self, End, Field, Plan, Reasons, Sites, Test, joined},
};
use crate::{BackendKind, Error, ErrorKind, Resolver, Result, Symbols};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use std::{cell::OnceCell, os::unix::fs::MetadataExt as _, sync::Arc};

/// The namespace that the calling thread is in.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// What names are looked up in.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    resolver: &'a Resolver,
    backend: BackendKind,
    /// The events are of the running kernel.
    of_this_kernel: bool,
    symbols: OnceCell<Symbols>,
}

impl<'a> Names<'a> {
    /// For events of this backend, of the running kernel or of another.
    pub(crate) fn new(resolver: &'a Resolver, backend: BackendKind, of_this_kernel: bool) -> Self {
        Self {
            resolver,
            backend,
            of_this_kernel,
            symbols: OnceCell::new(),
        }
    }

    /// Whether the events' reasons are numbers that the resolver has names for.
    fn are_numbers(&self) -> bool {
        matches!(self.backend, BackendKind::Ebpf | BackendKind::Perf)
    }

    fn symbols(&self) -> Result<&Symbols> {
        if let Some(symbols) = self.symbols.get() {
            return Ok(symbols);
        }
        let symbols = Symbols::from_kernel()?;
        Ok(self.symbols.get_or_init(|| symbols))
    }
}

impl Filter {
    /// Has the resolver read what modules have, if the filter asks for reasons: it reads them when a number asks for it.
    pub(crate) fn prepare(&self, resolver: &mut Resolver) {
        let mut asks = false;
        self.0
            .for_each(&mut |term| asks |= matches!(term, Term::Reason(_) | Term::Noise));
        if asks {
            resolver.refresh();
        }
    }

    /// Looks up its names.
    ///
    /// # Errors
    ///
    /// The kernel does not have a name, or does not show what it has.
    pub(crate) fn plan(&self, names: &Names<'_>) -> Result<Plan> {
        let tests = self.0.try_map(&mut |term| term.resolve(names))?;
        Ok(Plan(merge::merged(tests)))
    }

    /// Its terms that can never hold with this backend, each with the reason, and the interfaces that are not there, if it is
    /// about this kernel's.
    pub(crate) fn limitations(&self, backend: BackendKind, of_this_kernel: bool) -> Vec<Error> {
        let mut limitations = Vec::new();
        self.0.for_each(&mut |term| {
            let lacking = match (backend, term) {
                (BackendKind::Perf, Term::Reason(_) | Term::Subsystem(_) | Term::Noise) => None,
                (BackendKind::Perf, Term::Symbol(_) | Term::Protocol(_)) => None,
                (BackendKind::Perf, _) => Some("never: the perf backend shows no packet, mark, interface or namespace"),
                (BackendKind::Netlink, Term::Netns(_)) => Some("never: the netlink backend tells no namespace"),
                (BackendKind::Netlink, Term::Mark { .. }) => Some("never: the netlink backend tells no mark"),
                (BackendKind::Netlink, Term::Interface(_)) => {
                    Some("for no drop in software: the netlink backend tells of those the index alone, and no namespace")
                }
                _ => None,
            };
            if let Some(lacking) = lacking {
                let term = Filter(Expr::Test(term.clone()));
                limitations.push(Error::not_supported(format!("`{term}` in the filter holds {lacking}")));
            }
            if let Term::Interface(name) = term
                && backend != BackendKind::Perf
                && of_this_kernel
            {
                limitations.extend(interfaces::absence(name));
            }
        });
        limitations
    }
}

impl Term {
    fn resolve(&self, names: &Names<'_>) -> Result<Expr<Test>> {
        let number = |field, first, last| Expr::Test(Test::Number(field, vec![(first, last)]));
        let ends = |end: &Option<End>, test: &dyn Fn(End) -> Expr<Test>| match end {
            Some(end) => test(*end),
            None => test(End::Src).or(test(End::Dst)),
        };
        Ok(match self {
            Self::Reason(pattern) => Expr::Test(Test::Reason(reasons(pattern, names)?)),
            Self::Noise => Expr::Test(Test::Reason(noise(names))),
            Self::Subsystem(pattern) => Expr::Test(Test::Reason(subsystems(pattern, names)?)),
            Self::Symbol(pattern) => Expr::Test(Test::Symbol(sites(pattern, names)?)),
            Self::Interface(name) => Expr::Test(Test::Interface {
                name: Arc::clone(name),
                here: names.of_this_kernel.then(|| here(name)).flatten(),
            }),
            Self::Ifindex(index) => number(Field::Ifindex, *index, *index),
            Self::Netns(inode) => number(Field::Netns, *inode, *inode),
            Self::Protocol(protocol) => {
                number(Field::Protocol, protocol.0.into(), protocol.0.into())
            }
            Self::Transport(protocol) => {
                number(Field::Transport, protocol.0.into(), protocol.0.into())
            }
            Self::Address(end, prefix) => ends(end, &|end| Expr::Test(Test::Address(end, *prefix))),
            Self::Port(end, ports) => ends(end, &|end| {
                number(Field::Port(end), ports.first.into(), ports.last.into())
            }),
            &Self::Mark { value, mask } => Expr::Test(Test::Mark { value, mask }),
            Self::MinLength(bytes) => number(Field::Length, *bytes, u32::MAX),
            Self::Pcap(pcap) => Expr::Test(Test::Pcap(Arc::clone(pcap.program()))),
        })
    }
}

fn reasons(pattern: &Pattern, names: &Names<'_>) -> Result<Reasons> {
    if !names.of_this_kernel || names.resolver.reasons().next().is_none() {
        if names.of_this_kernel && names.are_numbers() {
            return Err(Error::not_supported(format!(
                "cannot filter by the drop reason `{pattern}`: this kernel gives no reasons (since Linux 5.17)"
            )));
        }
        return Ok(like(pattern, false));
    }
    let found = these(names, |name| pattern.matches(name));
    if found.numbers.as_ref().is_some_and(Vec::is_empty) {
        let known: Vec<_> = names.resolver.reasons().collect();
        let near = pattern.near_misses(known.iter().filter_map(|reason| reason.name()));
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "neither this kernel nor a module that is loaded has a drop reason `{pattern}`{near}"
            ),
        ));
    }
    Ok(found)
}

/// Noise that this kernel does not have is none.
fn noise(names: &Names<'_>) -> Reasons {
    if !names.of_this_kernel || names.resolver.reasons().next().is_none() {
        return Reasons {
            numbers: None,
            names: plan::Names::Like(NOISE.iter().map(|name| Pattern::new(name)).collect()),
            of_subsystem: false,
        };
    }
    these(names, |name| NOISE.contains(&name))
}

/// The kernel's reasons that are wanted.
fn these(names: &Names<'_>, wanted: impl Fn(&str) -> bool) -> Reasons {
    let (mut numbers, mut found) = (Vec::new(), Vec::new());
    for reason in names.resolver.reasons() {
        if let (Some(raw), Some(name)) = (reason.raw(), reason.name())
            && wanted(name)
        {
            numbers.push((raw, raw));
            found.push(Arc::from(name));
        }
    }
    found.sort_unstable();
    Reasons {
        numbers: Some(joined(numbers, |end, first| {
            end.checked_add(1) == Some(first)
        })),
        names: plan::Names::These(found),
        of_subsystem: false,
    }
}

fn subsystems(pattern: &Pattern, names: &Names<'_>) -> Result<Reasons> {
    let Some(mask) = names
        .resolver
        .subsystem_mask()
        .filter(|_| names.of_this_kernel)
    else {
        if names.of_this_kernel && names.are_numbers() {
            return Err(Error::not_supported(format!(
                "cannot filter by the subsystem `{pattern}`: this kernel has none (since Linux 6.4), or shows no BTF"
            )));
        }
        return Ok(like(pattern, true));
    };
    let (mut numbers, mut found) = (Vec::new(), Vec::new());
    for subsystem in names.resolver.subsystems() {
        if let (Some(number), Some(name)) = (subsystem.number, &subsystem.name)
            && pattern.matches(name)
        {
            let first = number << mask.trailing_zeros() & mask;
            numbers.push((first, first | !mask));
            found.push(Arc::clone(name));
        }
    }
    if found.is_empty() {
        let known = names
            .resolver
            .subsystems()
            .filter_map(|known| known.name.as_deref());
        let near = pattern.near_misses(known);
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("this kernel has no subsystem of drop reasons `{pattern}`{near}"),
        ));
    }
    found.sort_unstable();
    Ok(Reasons {
        numbers: Some(joined(numbers, |end, first| {
            end.checked_add(1) == Some(first)
        })),
        names: plan::Names::These(found),
        of_subsystem: true,
    })
}

/// By name alone.
fn like(pattern: &Pattern, of_subsystem: bool) -> Reasons {
    Reasons {
        numbers: None,
        names: plan::Names::Like(vec![pattern.clone()]),
        of_subsystem,
    }
}

fn sites(pattern: &Pattern, names: &Names<'_>) -> Result<Sites> {
    let by_name = Sites {
        ranges: None,
        pattern: pattern.clone(),
    };
    if !names.of_this_kernel {
        return Ok(by_name);
    }
    let symbols = match names.symbols() {
        Ok(symbols) => symbols,
        // drop_monitor tells the symbol itself.
        Err(_) if names.backend == BackendKind::Netlink => return Ok(by_name),
        Err(e) => {
            let text = format!("cannot filter by the function `{pattern}`: {e}");
            return Err(Error::new(e.kind(), text));
        }
    };
    let ranges = symbols.ranges(|name| pattern.matches(name));
    if ranges.is_empty() {
        let near = pattern.near_misses(symbols.names());
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "neither this kernel nor a module that is loaded has a function `{pattern}`{near}"
            ),
        ));
    }
    Ok(Sites {
        ranges: Some(joined(ranges, |end, first| {
            end.checked_add(1) == Some(first)
        })),
        ..by_name
    })
}

/// Our own namespace, and the index that the interface has there.
fn here(name: &str) -> Option<(u32, u32)> {
    let inode = u32::try_from(std::fs::metadata(OWN_NETNS).ok()?.ino()).ok()?;
    // Any socket will do to ask.
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    Some((inode, name_to_index(any, name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver() -> Resolver {
        let text = "name: kfree_skb\nID: 1\nformat:\n\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
                    \tfield:void * location;\toffset:16;\tsize:8;\tsigned:0;\n\
                    \tfield:enum skb_drop_reason reason;\toffset:28;\tsize:4;\tsigned:0;\n\n\
                    print fmt: \"skbaddr=%p reason: %s\", REC->skbaddr, __print_symbolic(REC->reason, \
                    { 2, \"NO_SOCKET\" }, { 3, \"TCP_CSUM\" }, { 4, \"UDP_CSUM\" }, { 9, \"OTHERHOST\" })\n";
        Resolver::from_format(text).expect("a format")
    }

    fn numbers(text: &str, backend: BackendKind) -> Result<Option<Vec<(u32, u32)>>> {
        let resolver = resolver();
        let names = Names::new(&resolver, backend, true);
        let filter: Filter = text.parse()?;
        let plan = filter.plan(&names)?;
        match plan.0 {
            Expr::Test(Test::Reason(reasons)) => Ok(reasons.numbers),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_become_the_kernels_numbers() {
        let of = |text| numbers(text, BackendKind::Perf).expect(text);
        assert_eq!(of("reason NO_SOCKET"), Some(vec![(2, 2)]));
        assert_eq!(of("reason *_CSUM"), Some(vec![(3, 4)]));
        assert_eq!(of("noise"), Some(vec![(9, 9)]));
    }

    #[test]
    fn names_that_are_not_there_are_errors() {
        let error = numbers("reason NO_SOKET", BackendKind::Ebpf).expect_err("no such reason");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().ends_with("did you mean `NO_SOCKET`?"),
            "{error}"
        );
        let error = numbers("subsystem CORE", BackendKind::Ebpf).expect_err("no subsystems");
        assert_eq!(error.kind(), ErrorKind::NotSupported);
        let empty = Resolver::empty();
        let filter = Filter::reason("NO_SOCKET");
        let error = filter.plan(&Names::new(&empty, BackendKind::Perf, true));
        assert_eq!(
            error.expect_err("no reasons").kind(),
            ErrorKind::NotSupported
        );
        // Names of another kernel are not looked up.
        assert!(
            filter
                .plan(&Names::new(&empty, BackendKind::Replay, false))
                .is_ok()
        );
    }
}
