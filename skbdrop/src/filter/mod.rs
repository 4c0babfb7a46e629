//! [`Filter`]: which drops a monitor is to tell of.

mod excerpt;
mod expr;
mod interfaces;
mod merge;
mod noise;
mod parse;
mod pattern;
pub(crate) mod pcap;
mod plan;
mod prefix;
mod resolve;
mod text;

pub(crate) use expr::Expr;
pub(crate) use plan::{End, Plan};
#[cfg(feature = "ebpf")]
pub(crate) use plan::{Field, Test};
pub use prefix::{Ports, Prefix};
pub(crate) use resolve::Names;

use crate::{Error, EtherType, IpProtocol, Result};
use pattern::Pattern;
use pcap::Pcap;
use std::{ops, sync::Arc};

/// Which drops a [`Monitor`](crate::Monitor) is to tell of, the same for all backends.
///
/// The eBPF backend decides in the kernel, before anything of a packet is copied; with the others the
/// monitor does. What was left out is counted in [`Stats::filtered`](crate::Stats::filtered).
///
/// ```
/// use skbdrop::{Filter, IpProtocol};
///
/// let dns = Filter::transport(IpProtocol::UDP) & Filter::port(53);
/// let filter = Filter::reason("NO_SOCKET") & !dns;
/// assert_eq!(filter.to_string(), "reason NO_SOCKET and not (transport udp and port 53)");
/// assert_eq!(filter.to_string().parse::<Filter>()?, filter);
/// # Ok::<(), skbdrop::Error>(())
/// ```
///
/// # What is not known
///
/// A term holds for an event that is *known* to be so, and for no other: `port 53` does not hold for
/// a packet without ports, nor where the backend shows no packet. So `not port 53` holds for these. A filter that keeps
/// some drops never gives one of which it is not sure, and one that leaves some out never hides
/// one of which it is not sure. Terms that the backend in use can never know are in
/// [`Monitor::limitations`](crate::Monitor::limitations), as are names that no [interface](Self::interface) of this network
/// namespace has.
///
/// # Names
///
/// A reason, a subsystem or a function that the running kernel does not have is an error of
/// [`Builder::build`](crate::Builder::build), which offers names that are nearly the same. `*` and `?` in a
/// name stand for any characters and for one. What a pattern covers is settled when the monitor is built:
/// reasons and functions of a module that is loaded later are not in it. The exception is a subsystem: the
/// kernel itself numbers them, so [`subsystem`](Self::subsystem) holds for modules yet to be loaded. With a recording,
/// whose names are those of another kernel, nothing is looked up and any name will do.
///
/// # Packets
///
/// Addresses, ports and the transport protocol are the event's own: [`src`](crate::DropEvent::src),
/// [`dst`](crate::DropEvent::dst), [`transport`](crate::DropEvent::transport). In the kernel the whole linear part of the
/// packet is looked at, whatever the [snap length](crate::Builder::snap_len), which other backends' packets are
/// cut to. There up to three VLAN tags and, behind IPv6's hop-by-hop options, eight extension headers are followed, and no MACsec.
///
/// # Text
///
/// A filter can be written, and [`Display`](std::fmt::Display) writes it so:
///
/// ```text
/// filter  = term, "not" filter, filter "and" filter, filter "or" filter, "(" filter ")"
/// term    = "reason" NAME              NO_SOCKET, TCP_*
///         | "subsystem" NAME           CORE, OPENVSWITCH
///         | "symbol" NAME              tcp_v4_rcv, nf_*
///         | "interface" NAME           eth0
///         | "ifindex" NUMBER
///         | "netns" NUMBER             an inode number, 4026531840
///         | "protocol" PROTOCOL        ipv4, ipv6, arp, vlan, qinq, or an EtherType like 0x88cc
///         | "transport" TRANSPORT      tcp, udp, icmp, icmpv6, sctp, dccp, udp-lite, or a number
///         | ["src" | "dst"] "address" PREFIX     192.0.2.1, 2001:db8::/32
///         | ["src" | "dst"] "port" PORTS         53, 1024-2047
///         | "mark" NUMBER ["/" MASK]   0x10, 0x10/0xff
///         | "min-length" BYTES
///         | "pcap" STRING              "udp port 53", a tcpdump expression in quotes
///         | "noise" | "all" | "none"
/// ```
///
/// A `NUMBER`, `BYTES`, marks and EtherTypes are decimal, or hexadecimal after `0x`. `not` binds closest, `and` closer
/// than `or`. A name with other characters than letters, digits and `._:@*?-` stands in double quotes, in which a backslash
/// takes the next character as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Filter(pub(crate) Expr<Term>);

/// One test, as the user means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    Reason(Pattern),
    Subsystem(Pattern),
    Noise,
    Symbol(Pattern),
    Interface(Arc<str>),
    Ifindex(u32),
    Netns(u32),
    Protocol(EtherType),
    Transport(IpProtocol),
    /// An address of this end, or of either.
    Address(Option<End>, Prefix),
    /// A port of this end, or of either.
    Port(Option<End>, Ports),
    /// The mark's bits in the mask are these.
    Mark {
        value: u32,
        mask: u32,
    },
    MinLength(u32),
    Pcap(Pcap),
}

impl Filter {
    /// Every drop.
    pub fn all() -> Self {
        Self(Expr::Always(true))
    }

    /// No drop at all: for a monitor that only counts.
    pub fn none() -> Self {
        Self(Expr::Always(false))
    }

    /// Drops for this reason, by the kernel's name without its prefix, as
    /// [`DropReason::name`](crate::DropReason::name) gives it. `*` and `?` make it a pattern.
    pub fn reason(name: impl AsRef<str>) -> Self {
        Self::of(Term::Reason(Pattern::new(name.as_ref())))
    }

    /// Drops for any reason of this [`Subsystem`](crate::Subsystem): `CORE`, `OPENVSWITCH`. `*` and `?` make it
    /// a pattern. Since Linux 6.4.
    pub fn subsystem(name: impl AsRef<str>) -> Self {
        Self::of(Term::Subsystem(Pattern::new(name.as_ref())))
    }

    /// Drops in this function of the kernel, by the name that the [symbol](crate::Location::symbol) of the event
    /// has. `*` and `?` make it a pattern.
    pub fn symbol(name: impl AsRef<str>) -> Self {
        Self::of(Term::Symbol(Pattern::new(name.as_ref())))
    }

    /// Drops of packets that came in by an interface of this name, in any network namespace, or never came in and were to
    /// leave by it. The name is that of the event. Where the event has an interface's index and no name, it is compared with the index that
    /// the name had in the monitor's own namespace when the monitor was built, if the drop was in that namespace.
    ///
    /// A name that no interface of that namespace has then is no error, for another namespace may have it, or this one later.
    /// It is one of the monitor's [limitations](crate::Monitor::limitations), with names that are nearly the same.
    pub fn interface(name: impl AsRef<str>) -> Self {
        Self::of(Term::Interface(name.as_ref().into()))
    }

    /// As [`interface`](Self::interface), by [index](crate::DropEvent::ifindex), which counts within each namespace.
    pub fn ifindex(index: u32) -> Self {
        Self::of(Term::Ifindex(index))
    }

    /// Drops in the network namespace with this [inode number](crate::NetNs::inode).
    pub fn netns(inode: u32) -> Self {
        Self::of(Term::Netns(inode))
    }

    /// Drops of packets of this network protocol.
    pub fn protocol(protocol: EtherType) -> Self {
        Self::of(Term::Protocol(protocol))
    }

    /// Drops of IP packets of this transport protocol.
    pub fn transport(protocol: IpProtocol) -> Self {
        Self::of(Term::Transport(protocol))
    }

    /// Drops of IP packets from or to this address, or one that begins with this prefix.
    pub fn address(prefix: impl Into<Prefix>) -> Self {
        Self::of(Term::Address(None, prefix.into()))
    }

    /// Drops of IP packets from this address or prefix.
    pub fn src_address(prefix: impl Into<Prefix>) -> Self {
        Self::of(Term::Address(Some(End::Src), prefix.into()))
    }

    /// Drops of IP packets to this address or prefix.
    pub fn dst_address(prefix: impl Into<Prefix>) -> Self {
        Self::of(Term::Address(Some(End::Dst), prefix.into()))
    }

    /// Drops of packets from or to this port, or one of `first..=last`, of whichever transport protocol.
    pub fn port(ports: impl Into<Ports>) -> Self {
        Self::of(Term::Port(None, ports.into()))
    }

    /// Drops of packets from this port, or one of these.
    pub fn src_port(ports: impl Into<Ports>) -> Self {
        Self::of(Term::Port(Some(End::Src), ports.into()))
    }

    /// Drops of packets to this port, or one of these.
    pub fn dst_port(ports: impl Into<Ports>) -> Self {
        Self::of(Term::Port(Some(End::Dst), ports.into()))
    }

    /// Drops of packets with this [mark](crate::Metadata::mark). The eBPF backend alone knows it, whether or not
    /// [metadata](crate::Builder::metadata) is told.
    pub fn mark(value: u32) -> Self {
        Self::mark_masked(value, u32::MAX)
    }

    /// Drops of packets whose [mark](crate::Metadata::mark) has, of the bits in `mask`, those that `value` has and no
    /// other: as `meta mark and MASK == VALUE` of nftables.
    pub fn mark_masked(value: u32, mask: u32) -> Self {
        Self::of(Term::Mark { value, mask })
    }

    /// Drops of packets of at least so many bytes, by [`DropEvent::length`](crate::DropEvent::length).
    pub fn min_length(bytes: u32) -> Self {
        Self::of(Term::MinLength(bytes))
    }

    /// Drops of packets that a tcpdump expression accepts: `udp port 53 and host 192.0.2.1`.
    ///
    /// The verdict is the one that libpcap would give on the packet's bytes in a file, of link type `EN10MB`
    /// where they begin with an [Ethernet header](crate::Layer::Ethernet), and `RAW` where with the
    /// [network header](crate::Layer::Network); but there the protocol is the event's own and not guessed from
    /// the first byte, and what asks for a link-layer header does not hold. It holds for no packet whose bytes begin
    /// with anything else. As in libpcap, the whole of it does not hold for a packet whose bytes end before what it looks at, in the order in which it is
    /// written: libpcap's optimiser looks in another order, and so may decide otherwise where a packet ends within a header. A VLAN tag
    /// that the kernel has taken out of the packet is not seen.
    ///
    /// Understood is what the manual page pcap-filter(7) has of: `host`, `net`, `port`, `portrange`, `proto`, with `src`,
    /// `dst` and their combinations; `ether`, `ip`, `ip6`, `arp`, `rarp`, `tcp`, `udp`, `sctp`, `icmp`, `icmp6`, `igmp`, `igrp`,
    /// `pim`, `ah`, `esp`, `vrrp`, `carp`; `vlan`, `broadcast`, `multicast`, `less`, `greater`; comparisons of `len` and of `proto[at:size]` with
    /// the arithmetic of that page and its names for TCP flags and types of ICMP and ICMPv6. Hosts, networks and ports are numbers, not
    /// names: nothing is looked up. MAC addresses are `02:00:00:00:00:01`, the same with `-` or `.`, `0200.0000.0001` or
    /// `020000000001`. As there, and unlike in a filter's own text, `and` and `or` bind equally and from left to right. As in libpcap,
    /// and unlike in C, `%` and `^` have all that follows on their right: `ip[8] % 4 + 1` is `ip[8] % (4 + 1)`.
    ///
    /// An expression has at most 4096 words and symbols, 32 parentheses or brackets inside each other, and 256 changes
    /// between `and` and `or`, or operators, that nest what is before them.
    ///
    /// # Errors
    ///
    /// It is no expression, or one that is not understood; the error says where.
    pub fn pcap(expression: &str) -> Result<Self> {
        Ok(Self::of(Term::Pcap(Pcap::parse(expression)?)))
    }

    /// What most people who look for lost packets call noise: packets that were not for this host, that nobody here
    /// speaks the protocol of, or that TCP has got already. To leave them out: `!Filter::noise()`.
    ///
    /// These reasons, as far as the running kernel has them:
    ///
    /// | reason | why it is noise |
    /// | --- | --- |
    #[doc = noise::table!()]
    ///
    /// Nothing that an administrator decides (netfilter, tc, XDP, XFRM, a full queue) is among them, nor `NO_SOCKET`,
    /// which is a port scan on one host and a crashed server on the next. `NOT_SPECIFIED` is not either: it is what the kernel says where
    /// nobody has given the reason a name yet.
    ///
    /// It knows reasons and nothing else, no place and no protocol. So on kernels without reasons (before Linux 5.17) it holds
    /// for no drop, and `!Filter::noise()` keeps them all.
    pub fn noise() -> Self {
        Self::of(Term::Noise)
    }

    /// What all of these hold for; every drop if there are none.
    pub fn all_of(filters: impl IntoIterator<Item = Self>) -> Self {
        let all = filters.into_iter().reduce(|all, filter| all & filter);
        all.unwrap_or_else(Self::all)
    }

    /// What any of these holds for; no drop if there are none.
    pub fn any_of(filters: impl IntoIterator<Item = Self>) -> Self {
        let any = filters.into_iter().reduce(|any, filter| any | filter);
        any.unwrap_or_else(Self::none)
    }

    fn of(term: Term) -> Self {
        Self(Expr::Test(term))
    }
}

impl ops::BitAnd for Filter {
    type Output = Self;

    /// What both hold for.
    fn bitand(self, other: Self) -> Self {
        Self(self.0.and(other.0))
    }
}

impl ops::BitOr for Filter {
    type Output = Self;

    /// What either holds for.
    fn bitor(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }
}

impl ops::Not for Filter {
    type Output = Self;

    /// What it does not hold for.
    fn not(self) -> Self {
        Self(self.0.negated())
    }
}

impl std::str::FromStr for Filter {
    type Err = Error;

    /// From its [text](Self#text).
    fn from_str(text: &str) -> Result<Self> {
        parse::filter(text)
    }
}
