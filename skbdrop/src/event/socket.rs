//! The socket that a packet was for, or from.

use super::{Endpoint, IpProtocol};
use std::fmt;

/// The socket that a dropped packet was for, or came from.
///
/// A connection that is not open yet, or not any more, is in the kernel a smaller structure, which has no owner
/// and no protocol: those fields are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Socket {
    /// What it has to do with the packet.
    pub role: SocketRole,
    /// Address of the `struct sock`.
    #[cfg_attr(feature = "serde", serde(with = "super::serialize::hex"))]
    pub address: u64,
    /// The socket's number, unique since boot (`SO_COOKIE`), as `ss -e` shows it. `None` while nobody asked the kernel
    /// for it.
    pub cookie: Option<u64>,
    /// Address family: 2 is IPv4, 10 is IPv6.
    pub family: Option<u16>,
    /// Kind: 1 is a stream, 2 datagrams, 3 raw.
    pub kind: Option<u16>,
    /// Transport protocol, of IPv4 and IPv6 sockets. `None` where the number is none of IP's, as MPTCP's.
    pub protocol: Option<IpProtocol>,
    /// State, by TCP's names also where it is no TCP socket: an unconnected UDP socket is [`SocketState::CLOSE`].
    pub state: Option<SocketState>,
    /// Own address and port, of IPv4 and IPv6 sockets. An address of zeros means any.
    pub local: Option<Endpoint>,
    /// The other end's address and port; `None` if it is not connected.
    pub remote: Option<Endpoint>,
    /// User that it belongs to: by number, in the initial user namespace. 0 for the kernel's own sockets too.
    pub uid: Option<u32>,
    /// Number of its cgroup, as `stat -c %i` shows it of the cgroup's folder, and `bpf_get_current_cgroup_id`; since Linux 5.15.
    pub cgroup: Option<u64>,
}

/// What a socket has to do with the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum SocketRole {
    /// It was to receive it. The kernel says so since Linux 6.11.
    Receiver,
    /// It sent it: the packet never came in.
    Sender,
    /// The packet came in and has a socket: the receiver's; or, shortly after the packet went from one network namespace of this
    /// machine to another, still the sender's.
    #[default]
    Attached,
}

/// `sk_state`. `Display` is the kernel's name without `TCP_`, or the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct SocketState(pub u8);

impl SocketState {
    /// A connection is open.
    pub const ESTABLISHED: Self = Self(1);
    /// Closed, not connected.
    pub const CLOSE: Self = Self(7);
    /// Waits for connections.
    pub const LISTEN: Self = Self(10);
    /// In the order of their numbers in `include/uapi/linux/bpf.h` (`BPF_TCP_ESTABLISHED` is 1).
    const NAMES: [&str; 12] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        "NEW_SYN_RECV",
    ];
}

impl Default for Socket {
    /// A socket of which nothing is known.
    fn default() -> Self {
        Self {
            role: SocketRole::Attached,
            address: 0,
            cookie: None,
            family: None,
            kind: None,
            protocol: None,
            state: None,
            local: None,
            remote: None,
            uid: None,
            cgroup: None,
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            SocketRole::Receiver => f.write_str("for socket")?,
            SocketRole::Sender => f.write_str("from socket")?,
            SocketRole::Attached => f.write_str("with socket")?,
        }
        match (self.local, self.remote) {
            (Some(local), Some(remote)) => write!(f, " {local} > {remote}")?,
            (Some(local), None) => write!(f, " {local}")?,
            (None, _) => {}
        }
        if let Some(uid) = self.uid {
            write!(f, " uid {uid}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::from(self.0)
            .checked_sub(1)
            .and_then(|at| Self::NAMES.get(at));
        match name {
            Some(name) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl fmt::Debug for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketState({self})")
    }
}
