//! The queueing discipline that dropped a packet.

use super::display::Printable;
use crate::DropReason;
use std::{fmt, sync::Arc};

/// The queueing discipline that dropped a packet, as the kernel tells it since Linux 7.1.
///
/// It is the outermost one of the transmit queue, also where one inside of it had no room. A packet that an inner one drops
/// when it is taken out comes without: the kernel frees it with the reason of the inner one itself, and does not tell more.
///
/// `Display` is short: `qdisc fq_codel 8001: (QDISC_DROP_CONGESTED)`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QdiscDrop {
    /// Its kind: `fq_codel`, `pfifo_fast`.
    pub kind: Arc<str>,
    /// Its handle.
    pub handle: TcHandle,
    /// What it is attached to: the device, or the class of another.
    pub parent: TcHandle,
    /// Why it dropped the packet, by a name of `enum qdisc_drop_reason` such as `QDISC_DROP_OVERLIMIT`; `QDISC_DROP_GENERIC`
    /// is that of disciplines that give none of their own. The event's own [`reason`](super::DropEvent::reason) is `QDISC_DROP`
    /// for all of them.
    pub reason: DropReason,
}

/// The number of a queueing discipline or of a class, as `tc` has them: the upper half is the discipline's, the lower
/// one the class's. In JSON it is a number.
///
/// `Display` writes it as `tc` does: `8001:` or `1:10`, in hexadecimal digits, and `root` for [`ROOT`](Self::ROOT).
///
/// ```
/// use skbdrop::TcHandle;
///
/// assert_eq!(TcHandle(0x8001_0000).to_string(), "8001:");
/// assert_eq!(TcHandle(0x0001_0010).to_string(), "1:10");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct TcHandle(pub u32);

impl TcHandle {
    /// `TC_H_ROOT`: what is attached to it is the device's own, and no class's.
    #[doc(alias = "TC_H_ROOT")]
    pub const ROOT: Self = Self(u32::MAX);

    /// The discipline's number.
    #[must_use]
    #[doc(alias = "TC_H_MAJ")]
    pub fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The class's number; 0 for the discipline itself.
    #[must_use]
    #[doc(alias = "TC_H_MIN")]
    pub fn minor(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for TcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.major(), self.minor()) {
            _ if *self == Self::ROOT => f.write_str("root"),
            // What the kernel itself put up has no number.
            (major, 0) => write!(f, "{major:x}:"),
            (0, minor) => write!(f, ":{minor:x}"),
            (major, minor) => write!(f, "{major:x}:{minor:x}"),
        }
    }
}

impl fmt::Display for QdiscDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, reason) = (Printable(&self.kind), self.reason.to_string());
        write!(f, "qdisc {kind} {} ({})", self.handle, Printable(&reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_as_tc_writes_them() {
        for (handle, text) in [
            (0x8001_0000, "8001:"),
            (0x0001_0010, "1:10"),
            (0xffff_fff1, "ffff:fff1"),
            (0x0000_0001, ":1"),
            (0, "0:"),
            (u32::MAX, "root"),
        ] {
            assert_eq!(TcHandle(handle).to_string(), text);
        }
    }
}
