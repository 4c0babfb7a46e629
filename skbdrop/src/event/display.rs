//! An event as one line that a person reads.

use super::{DropEvent, Location, Origin};
use std::fmt;

impl fmt::Display for DropEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The time of day of an RFC 3339 time, to the microsecond.
        let time = humantime::format_rfc3339_micros(self.wall_time).to_string();
        f.write_str(time.get(11..26).unwrap_or(&time))?;
        match &self.reason {
            Some(reason) => write!(f, " {reason}")?,
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
        if let Some(length) = self.length {
            write!(f, ", {length} bytes")?;
        }
        match (&self.ifname, self.ifindex) {
            (Some(name), _) => write!(f, ", {name}")?,
            (None, Some(index)) => write!(f, ", interface {index}")?,
            (None, None) => {}
        }
        if let Some(netns) = self.netns {
            write!(f, ", netns {}", netns.inode)?;
        }
        if let Some(cpu) = self.cpu {
            write!(f, ", cpu {cpu}")?;
        }
        if let (Some(comm), Some(pid)) = (&self.comm, self.pid) {
            write!(f, ", in {}:{pid}", Printable(comm))?;
        }
        if let Origin::Hardware { trap, group } = &self.origin {
            write!(f, ", by hardware: {trap}")?;
            if let Some(group) = group {
                write!(f, " ({group})")?;
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

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.symbol, self.address) {
            (Some(symbol), _) => {
                write!(f, "{}+{:#x}", symbol.name, symbol.offset)?;
                match &symbol.module {
                    Some(module) => write!(f, " [{module}]"),
                    None => Ok(()),
                }
            }
            (None, Some(address)) => write!(f, "{address:#x}"),
            (None, None) => f.write_str("an unknown place"),
        }
    }
}

/// A task may call itself anything: control characters must not reach a terminal.
struct Printable<'a>(&'a str);

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
