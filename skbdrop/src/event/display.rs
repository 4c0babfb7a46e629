//! An event as one line that a person reads.

use super::{DropEvent, Location, NetNs, Origin};
use crate::{
    clock::sayable,
    headers::{Message, Network, Transport},
};
use std::fmt;

impl fmt::Display for DropEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The time of day of an RFC 3339 time, to the microsecond.
        let time = humantime::format_rfc3339_micros(sayable(self.wall_time)).to_string();
        f.write_str(time.get(11..26).unwrap_or(&time))?;
        match &self.reason {
            Some(reason) => write!(f, " {}", Printable(&reason.to_string()))?,
            None => f.write_str(" dropped")?,
        }

        write!(f, " at {}", self.location)?;
        if let Some(protocol) = self.protocol {
            write!(f, ", {protocol}")?;
        }
        if let Some(transport) = self.transport {
            write!(f, " {transport}")?;
        }
        if let (Some(src), Some(dst)) = (self.src, self.dst) {
            write!(f, " {src} > {dst}")?;
        }
        let headers = self.headers();
        match (&headers.transport, &headers.network) {
            (Some(Transport::Tcp(tcp)), _) => write!(f, " [{}]", tcp.flags)?,
            (Some(Transport::Icmp(icmp)), _) => write!(f, " {}", Message(icmp))?,
            (_, Some(Network::Arp(arp))) => write!(f, " {}", Message(arp))?,
            _ => {}
        }
        if let Some(length) = self.length {
            write!(f, ", {length} bytes")?;
        }
        match (&self.ifname, self.ifindex) {
            (Some(name), _) => write!(f, ", {}", Printable(name))?,
            (None, Some(index)) => write!(f, ", interface {index}")?,
            (None, None) => {}
        }
        if let Some(qdisc) = &self.qdisc {
            write!(f, ", {qdisc}")?;
        }
        if let Some(netns) = &self.netns {
            write!(f, ", netns {netns}")?;
        }
        if let Some(socket) = &self.socket {
            write!(f, ", {socket}")?;
        }
        if let Some(cpu) = self.cpu {
            write!(f, ", cpu {cpu}")?;
        }
        if let (Some(comm), Some(pid)) = (&self.comm, self.pid) {
            write!(f, ", in {}:{pid}", Printable(comm))?;
        }
        if let Origin::Hardware { trap, group } = &self.origin {
            write!(f, ", by hardware: {}", Printable(trap))?;
            if let Some(group) = group {
                write!(f, " ({})", Printable(group))?;
            }
        }
        if self.count > 1 {
            write!(f, ", {} times", self.count)?;
        }
        if self.lost_before > 0 {
            write!(f, " ({} lost before)", self.lost_before)?;
        }
        Ok(())
    }
}

impl fmt::Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}", Printable(name)),
            None => write!(f, "{}", self.inode),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.symbol, self.address) {
            (Some(symbol), _) => {
                write!(f, "{}+{:#x}", Printable(&symbol.name), symbol.offset)?;
                match &symbol.module {
                    Some(module) => write!(f, " [{}]", Printable(module)),
                    None => Ok(()),
                }
            }
            (None, Some(address)) => write!(f, "{address:#x}"),
            (None, None) => f.write_str("an unknown place"),
        }
    }
}

/// Tasks and interfaces may be called anything: control characters must not reach a terminal.
pub(super) struct Printable<'a>(pub(super) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(Printable("eth0").to_string(), "eth0");
        assert_eq!(Printable("e\u{1b}[31mX\n").to_string(), "e\\u{1b}[31mX\\n");
        let symbol = crate::Symbol {
            name: Arc::from("a\u{7}"),
            module: Some(Arc::from("m\u{8}")),
            offset: 1,
        };
        let location = Location {
            address: None,
            symbol: Some(Arc::new(symbol)),
        };
        assert_eq!(location.to_string(), "a\\u{7}+0x1 [m\\u{8}]");
    }
}
