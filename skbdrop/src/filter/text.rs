//! A filter as text, in the grammar that [`Filter`] documents.

use super::{End, Expr, Filter, Term};
use crate::{EtherType, IpProtocol};
use std::fmt;

/// Names of network protocols in the text.
pub(super) const PROTOCOLS: [(&str, EtherType); 5] = [
    ("ipv4", EtherType::IPV4),
    ("ipv6", EtherType::IPV6),
    ("arp", EtherType::ARP),
    ("vlan", EtherType::VLAN),
    ("qinq", EtherType::QINQ),
];

/// Names of transport protocols in the text.
pub(super) const TRANSPORTS: [(&str, IpProtocol); 7] = [
    ("tcp", IpProtocol::TCP),
    ("udp", IpProtocol::UDP),
    ("icmp", IpProtocol::ICMP),
    ("icmpv6", IpProtocol::ICMPV6),
    ("sctp", IpProtocol::SCTP),
    ("dccp", IpProtocol::DCCP),
    ("udp-lite", IpProtocol::UDP_LITE),
];

/// Whether a name may stand without quotes.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@*?-/".contains(&byte)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_expr(f, &self.0, Binding::Or)
    }
}

/// How close the surrounding binds: what binds less must stand in parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
}

fn write_expr(f: &mut fmt::Formatter<'_>, expr: &Expr<Term>, around: Binding) -> fmt::Result {
    let (inner, word, own) = match expr {
        Expr::Always(true) => return f.write_str("all"),
        Expr::Always(false) => return f.write_str("none"),
        Expr::Test(term) => return write_term(f, term),
        Expr::Not(inner) => {
            f.write_str("not ")?;
            return write_expr(f, inner, Binding::Not);
        }
        Expr::All(inner) => (inner, " and ", Binding::And),
        Expr::Any(inner) => (inner, " or ", Binding::Or),
    };
    let enclosed = own < around;
    if enclosed {
        f.write_str("(")?;
    }
    for (n, inner) in inner.iter().enumerate() {
        if n > 0 {
            f.write_str(word)?;
        }
        write_expr(f, inner, own)?;
    }
    if enclosed {
        f.write_str(")")?;
    }
    Ok(())
}

fn write_term(f: &mut fmt::Formatter<'_>, term: &Term) -> fmt::Result {
    let end = |end: &Option<End>| match end {
        None => "",
        Some(End::Src) => "src ",
        Some(End::Dst) => "dst ",
    };
    match term {
        Term::Reason(pattern) => write!(f, "reason {}", Quoted(pattern.as_str())),
        Term::Subsystem(pattern) => write!(f, "subsystem {}", Quoted(pattern.as_str())),
        Term::Noise => f.write_str("noise"),
        Term::Symbol(pattern) => write!(f, "symbol {}", Quoted(pattern.as_str())),
        Term::Interface(name) => write!(f, "interface {}", Quoted(name)),
        Term::Ifindex(index) => write!(f, "ifindex {index}"),
        Term::Netns(inode) => write!(f, "netns {inode}"),
        Term::Protocol(protocol) => {
            let known = PROTOCOLS.iter().find(|(_, known)| known == protocol);
            match known {
                Some((name, _)) => write!(f, "protocol {name}"),
                None => write!(f, "protocol {:#06x}", protocol.0),
            }
        }
        Term::Transport(protocol) => {
            let known = TRANSPORTS.iter().find(|(_, known)| known == protocol);
            match known {
                Some((name, _)) => write!(f, "transport {name}"),
                None => write!(f, "transport {}", protocol.0),
            }
        }
        Term::Address(which, prefix) => write!(f, "{}address {prefix}", end(which)),
        Term::Port(which, ports) => write!(f, "{}port {ports}", end(which)),
        Term::Mark {
            value,
            mask: u32::MAX,
        } => write!(f, "mark {value:#x}"),
        Term::Mark { value, mask } => write!(f, "mark {value:#x}/{mask:#x}"),
        Term::MinLength(bytes) => write!(f, "min-length {bytes}"),
        Term::Pcap(pcap) => {
            f.write_str("pcap ")?;
            write_quoted(f, pcap.text())
        }
    }
}

/// A name, in quotes where it needs them.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.bytes().all(is_plain) {
            return f.write_str(self.0);
        }
        write_quoted(f, self.0)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}
