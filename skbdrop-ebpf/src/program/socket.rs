//! The socket: the tracepoint's receiving one, else the packet's own.

use crate::program::{config, memory::Memory, skb::load};
use skbdrop_ebpf::{ABSENT, AF_INET, AF_INET6, Socket, TCP_NEW_SYN_RECV, TCP_TIME_WAIT, role};

/// Writes the group; `received` says that the socket is the receiving one. Without a socket only its address is written,
/// which is 0.
///
/// # Safety
///
/// `out` points to a writable group.
#[inline(always)]
pub(crate) unsafe fn fill<M: Memory>(sk: *const u8, received: bool, out: *mut Socket) {
    let role = if received { role::RECEIVING } else { 0 };
    // SAFETY: `out` is valid for a whole group, as the caller promises.
    unsafe { (&raw mut (*out).address).write(sk as u64) };
    if !sk.is_null() {
        // SAFETY: as above.
        unsafe { socket::<M>(sk, role, out) };
    }
}

/// Writes all but the address.
///
/// # Safety
///
/// `out` points to a writable group.
#[inline(always)]
unsafe fn socket<M: Memory>(sk: *const u8, mut role: u32, out: *mut Socket) {
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: `out` is valid for a whole group, as the caller promises.
            unsafe { (&raw mut (*out).$field).write(value) }
        }};
    }
    // What all have that stand for a socket.
    let family: u16 = load!(M::far, sk, sk_family, 0);
    let state: u8 = load!(M::far, sk, sk_state, 0);
    set!(family, family);
    set!(state, u16::from(state));
    set!(cookie, load!(M::far, sk, sk_cookie, 0u64));
    set!(num, load!(M::far, sk, sk_num, 0u16));
    set!(dport, load!(M::far, sk, sk_dport, 0u16));
    set!(reserved, 0);
    let mut saddr = [0u64; 2];
    let mut daddr = [0u64; 2];
    if family == AF_INET {
        saddr[0] = u64::from(load!(M::far, sk, sk_rcv_saddr, 0u32));
        daddr[0] = u64::from(load!(M::far, sk, sk_daddr, 0u32));
    } else if family == AF_INET6
        && config!(sk_v6_rcv_saddr) != ABSENT
        && config!(sk_v6_daddr) != ABSENT
    {
        saddr[0] = M::far(sk, config!(sk_v6_rcv_saddr));
        saddr[1] = M::far(sk, config!(sk_v6_rcv_saddr) + 8);
        daddr[0] = M::far(sk, config!(sk_v6_daddr));
        daddr[1] = M::far(sk, config!(sk_v6_daddr) + 8);
    }
    set!(saddr, saddr);
    set!(daddr, daddr);

    // What only a whole `struct sock` has.
    let mut protocol = 0u16;
    let mut kind = 0u16;
    let mut uid = 0u32;
    let mut cgroup = 0u64;
    if config!(sk_state) != ABSENT && state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV {
        role |= role::FULL;
        protocol = load!(M::far, sk, sk_protocol, 0);
        kind = load!(M::far, sk, sk_type, 0);
        if config!(sk_uid) != ABSENT {
            role |= role::UID;
            uid = M::far(sk, config!(sk_uid));
        }
        if config!(sk_cgroup) != ABSENT && config!(cgroup_kn) != ABSENT && config!(kn_id) != ABSENT
        {
            let group: *const u8 = M::far(sk, config!(sk_cgroup));
            if !group.is_null() {
                let node: *const u8 = M::far(group, config!(cgroup_kn));
                if !node.is_null() {
                    cgroup = M::far(node, config!(kn_id));
                }
            }
        }
    }
    set!(protocol, protocol);
    set!(kind, kind);
    set!(uid, uid);
    set!(cgroup, cgroup);
    set!(role, role);
}
