//! From what follows a record to typed values: the skb's metadata, the socket, the call stack, the queueing
//! discipline. Pure.

use crate::{
    Checksum, Endpoint, EtherType, Gso, IpProtocol, Metadata, PacketType, Socket, SocketRole,
    SocketState,
    backend::record::{QdiscTold, Reason, until_nul},
    headers::VlanTag,
};
use skbdrop_ebpf::{AF_INET, AF_INET6, NAME_LEN, flags, known, role};
use std::{
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Reads a number at the offset that a field has in its structure, from the bytes that the program wrote of it.
macro_rules! number {
    ($bytes:expr, $structure:ty, $field:ident: $type:ty) => {{
        const AT: usize = std::mem::offset_of!($structure, $field);
        let mut bytes = [0; size_of::<$type>()];
        bytes.copy_from_slice(&$bytes[AT..AT + size_of::<$type>()]);
        <$type>::from_ne_bytes(bytes)
    }};
}
pub(super) use number;

/// What follows a record, before the packet's bytes.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) metadata: Option<Metadata>,
    pub(super) dev_net_cookie: Option<u64>,
    pub(super) sk_net_cookie: Option<u64>,
    pub(super) socket: Option<Socket>,
    pub(super) stack: Vec<u64>,
    pub(super) qdisc: Option<QdiscTold<'a>>,
}

impl<'a> Groups<'a> {
    /// Takes those off `bytes` that the record's flags tell of; `came_in` is whether the packet came in by an
    /// interface. `None` if they are truncated.
    pub(super) fn take(
        bytes: &'a [u8],
        record_flags: u16,
        came_in: bool,
    ) -> Option<(Self, &'a [u8])> {
        let mut groups = Self::default();
        let mut rest = bytes;
        if record_flags & flags::METADATA != 0 {
            let (group, following) = rest.split_first_chunk()?;
            groups.metadata(group);
            rest = following;
        }
        if record_flags & flags::SOCKET != 0 {
            let (group, following) = rest.split_first_chunk()?;
            groups.socket = socket(group, came_in);
            rest = following;
        }
        if record_flags & flags::STACK != 0 {
            let (head, following) = rest.split_first_chunk::<STACK>()?;
            let room = number!(head, skbdrop_ebpf::Stack, room: u32);
            let len = number!(head, skbdrop_ebpf::Stack, len: u32);
            let (addresses, following) = following.split_at_checked(room as usize)?;
            let (addresses, _) = addresses.get(..len as usize)?.as_chunks::<8>();
            groups.stack = addresses
                .iter()
                .map(|&address| u64::from_ne_bytes(address))
                .collect();
            rest = following;
        }
        if record_flags & flags::QDISC != 0 {
            let (group, following) = rest.split_first_chunk()?;
            groups.qdisc = qdisc(group);
            rest = following;
        }
        Some((groups, rest))
    }

    fn metadata(&mut self, bytes: &[u8; METADATA]) {
        type Group = skbdrop_ebpf::Metadata;
        let have = number!(bytes, Group, known: u32);
        let has = |what: u32| have & what != 0;
        let cookie = |cookie: u64| Some(cookie).filter(|&cookie| cookie != 0);
        self.dev_net_cookie = cookie(number!(bytes, Group, dev_net_cookie: u64));
        self.sk_net_cookie = cookie(number!(bytes, Group, sk_net_cookie: u64));
        let vlan_protocol = u16::from_be(number!(bytes, Group, vlan_proto: u16));
        self.metadata = Some(Metadata {
            mark: has(known::MARK).then_some(number!(bytes, Group, mark: u32)),
            hash: has(known::HASH).then_some(number!(bytes, Group, hash: u32)),
            priority: has(known::PRIORITY).then_some(number!(bytes, Group, priority: u32)),
            queue_mapping: has(known::QUEUE_MAPPING)
                .then_some(number!(bytes, Group, queue_mapping: u16)),
            vlan: has(known::VLAN).then(|| {
                let tci = number!(bytes, Group, vlan_tci: u16);
                VlanTag::of_tci(Some(EtherType(vlan_protocol)), tci)
            }),
            gso: has(known::GSO).then_some(Gso {
                size: number!(bytes, Group, gso_size: u16),
                segments: number!(bytes, Group, gso_segs: u16),
                kind: number!(bytes, Group, gso_type: u32),
            }),
            checksum: Checksum::of(number!(bytes, Group, ip_summed: u8))
                .filter(|_| has(known::IP_SUMMED)),
            packet_type: PacketType::of(number!(bytes, Group, pkt_type: u8))
                .filter(|_| has(known::PKT_TYPE)),
        });
    }
}

const METADATA: usize = size_of::<skbdrop_ebpf::Metadata>();
const SOCKET: usize = size_of::<skbdrop_ebpf::Socket>();
const STACK: usize = size_of::<skbdrop_ebpf::Stack>();
const QDISC: usize = size_of::<skbdrop_ebpf::Qdisc>();

fn qdisc(bytes: &[u8; QDISC]) -> Option<QdiscTold<'_>> {
    type Group = skbdrop_ebpf::Qdisc;
    const KIND: usize = offset_of!(Group, kind);
    (number!(bytes, Group, is_told: u32) != 0).then(|| QdiscTold {
        kind: until_nul(&bytes[KIND..KIND + NAME_LEN]),
        handle: number!(bytes, Group, handle: u32),
        parent: number!(bytes, Group, parent: u32),
        reason: Reason::Number(number!(bytes, Group, reason: u32)),
    })
}

fn socket(bytes: &[u8; SOCKET], came_in: bool) -> Option<Socket> {
    type Group = skbdrop_ebpf::Socket;
    let address = number!(bytes, Group, address: u64);
    if address == 0 {
        return None;
    }
    let roles = number!(bytes, Group, role: u32);
    let has = |what: u32| roles & what != 0;
    let family = number!(bytes, Group, family: u16);
    let is_ip = matches!(family, AF_INET | AF_INET6);
    let end = |at: usize, port: u16| {
        let bytes: [u8; 16] = bytes[at..at + 16].try_into().ok()?;
        let address: IpAddr = match family {
            // The program has widened it to a word.
            AF_INET => {
                Ipv4Addr::from((u64::from_ne_bytes(*bytes.first_chunk()?) as u32).to_ne_bytes())
                    .into()
            }
            AF_INET6 => Ipv6Addr::from(bytes).into(),
            _ => return None,
        };
        let port = Some(port);
        Some(Endpoint { address, port })
    };
    let local = end(offset_of!(Group, saddr), number!(bytes, Group, num: u16));
    let remote_port = u16::from_be(number!(bytes, Group, dport: u16));
    let remote = end(offset_of!(Group, daddr), remote_port);
    let protocol = number!(bytes, Group, protocol: u16);
    let is_full = has(role::FULL);
    let number_or_none = |number: u64| Some(number).filter(|&number| number != 0);
    Some(Socket {
        role: match (has(role::RECEIVING), came_in) {
            (true, _) => SocketRole::Receiver,
            (false, false) => SocketRole::Sender,
            (false, true) => SocketRole::Attached,
        },
        address,
        cookie: number_or_none(number!(bytes, Group, cookie: u64)),
        family: Some(family).filter(|&family| family != 0),
        kind: is_full.then_some(number!(bytes, Group, kind: u16)),
        protocol: u8::try_from(protocol)
            .ok()
            .filter(|_| is_full && is_ip)
            .map(IpProtocol),
        state: u8::try_from(number!(bytes, Group, state: u16))
            .ok()
            .filter(|&state| state != 0)
            .map(SocketState),
        local,
        remote: remote.filter(|remote| remote.port != Some(0) || !remote.address.is_unspecified()),
        uid: has(role::UID).then_some(number!(bytes, Group, uid: u32)),
        cgroup: number_or_none(number!(bytes, Group, cgroup: u64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skbdrop_ebpf::{Socket as Group, TCP_NEW_SYN_RECV};

    /// The bytes of a socket as the program writes them.
    fn bytes(group: &Group) -> [u8; SOCKET] {
        let mut bytes = Vec::new();
        for word in [group.address, group.cookie, group.cgroup] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for half in [group.uid, group.role] {
            bytes.extend_from_slice(&half.to_ne_bytes());
        }
        for short in [
            group.family,
            group.protocol,
            group.kind,
            group.num,
            group.dport,
            group.state,
        ] {
            bytes.extend_from_slice(&short.to_ne_bytes());
        }
        bytes.extend_from_slice(&group.reserved.to_ne_bytes());
        for word in group.saddr.iter().chain(&group.daddr) {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.try_into().expect("as long as a socket is")
    }

    fn listener() -> Group {
        Group {
            address: 0xffff_8881_0000_0000,
            cookie: 7,
            cgroup: 1,
            uid: 1000,
            role: role::RECEIVING | role::FULL | role::UID,
            family: AF_INET,
            protocol: 6,
            kind: 1,
            num: 443,
            dport: 0,
            state: 10,
            saddr: [u32::from_ne_bytes([192, 0, 2, 1]).into(), 0],
            ..Group::default()
        }
    }

    #[test]
    fn a_socket_says_what_the_program_wrote() {
        let found = socket(&bytes(&listener()), true).expect("a socket");
        assert_eq!(found.role, SocketRole::Receiver);
        assert_eq!((found.cookie, found.uid), (Some(7), Some(1000)));
        assert_eq!(found.protocol, Some(IpProtocol::TCP));
        assert_eq!(found.state, Some(SocketState::LISTEN));
        assert_eq!(
            found.local.map(|end| end.to_string()),
            Some("192.0.2.1:443".into())
        );
        assert_eq!(found.remote, None);
        assert_eq!(found.to_string(), "for socket 192.0.2.1:443 uid 1000");
        assert_eq!(socket(&bytes(&Group::default()), true), None);

        let sender = Group {
            role: role::FULL,
            family: AF_INET6,
            dport: 53u16.to_be(),
            daddr: [0, u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1])],
            ..listener()
        };
        let found = socket(&bytes(&sender), false).expect("a socket");
        assert_eq!(found.role, SocketRole::Sender);
        assert_eq!(found.uid, None);
        assert_eq!(
            found.remote.map(|end| end.to_string()),
            Some("[::1]:53".into())
        );
        let request = Group {
            role: 0,
            state: TCP_NEW_SYN_RECV.into(),
            ..listener()
        };
        let found = socket(&bytes(&request), true).expect("a socket");
        assert_eq!(found.role, SocketRole::Attached);
        assert_eq!((found.uid, found.protocol, found.kind), (None, None, None));
        assert_eq!(
            found.state.map(|state| state.to_string()),
            Some("NEW_SYN_RECV".into())
        );
    }

    /// The bytes of a queueing discipline as the program writes them.
    fn tbf() -> [u8; QDISC] {
        let mut bytes = b"tbf".to_vec();
        bytes.resize(NAME_LEN, 0);
        for word in [0x1_0000u32, u32::MAX, 0x3_0005, 1] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.try_into().expect("the size of the group")
    }

    #[test]
    fn where_no_queue_drops_none_is_told() {
        let mut bytes = tbf();
        bytes[offset_of!(skbdrop_ebpf::Qdisc, is_told)..][..4].fill(0);
        assert_eq!(qdisc(&bytes), None);
        // A name that fills its array has no NUL.
        bytes = [b'x'; QDISC];
        assert_eq!(qdisc(&bytes).map(|told| told.kind.len()), Some(NAME_LEN));
    }

    #[test]
    fn groups_come_in_order() {
        let mut all = vec![0; METADATA];
        all.extend_from_slice(&bytes(&listener()));
        all.extend_from_slice(&16u32.to_ne_bytes());
        all.extend_from_slice(&24u32.to_ne_bytes());
        for address in [1u64, 2, 3] {
            all.extend_from_slice(&address.to_ne_bytes());
        }
        all.extend_from_slice(&tbf());
        all.extend_from_slice(b"packet");
        let every = flags::METADATA | flags::SOCKET | flags::STACK | flags::QDISC;
        let (groups, rest) = Groups::take(&all, every, true).expect("whole groups");
        assert_eq!(rest, b"packet");
        assert_eq!(groups.metadata, Some(Metadata::default()));
        assert_eq!(groups.socket.and_then(|socket| socket.cookie), Some(7));
        assert_eq!(groups.stack, [1, 2]);
        let expected = QdiscTold::new(b"tbf", 0x1_0000, u32::MAX, Reason::Number(0x3_0005));
        assert_eq!(groups.qdisc, Some(expected));
        let (groups, rest) = Groups::take(&all, 0, true).expect("no groups");
        assert_eq!((groups.socket, rest.len()), (None, all.len()));
        let whole = all.len() - b"packet".len();
        for end in 0..whole {
            assert!(Groups::take(&all[..end], every, true).is_none(), "{end}");
        }
    }

    #[test]
    fn corrupt_groups_do_no_harm() {
        let mut all = vec![0; METADATA];
        all.extend_from_slice(&bytes(&listener()));
        all.extend_from_slice(&[8, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        all.extend_from_slice(&tbf());
        for at in 0..all.len() {
            for bit in 0..8 {
                let mut bad = all.clone();
                bad[at] ^= 1 << bit;
                let _ = Groups::take(&bad, u16::MAX, at % 2 == 0);
            }
        }
    }
}
