//! What is written of each drop.

use crate::program::{
    CPUS, config, filter,
    memory::{self, Memory, add, argument},
    metadata, qdisc,
    skb::{self, load},
    socket, stack, wake,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, generated},
    macros::map,
    maps::RingBuf,
};
use core::{arch::asm, ptr};
use skbdrop_ebpf::{ABSENT, HEADER_NOT_SET, MAX_SNAP_LEN, NAME_LEN, Record, flags};

/// Records for user space, which sets the size.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Up to here packets are copied word by word, as it is cheaper than to ask the helper.
const MAX_DIRECT: u32 = 128;

/// Hands one drop to the reader, or counts it as lost.
#[inline(always)]
pub(crate) fn record<M: Memory>(ctx: *const u8) -> i32 {
    if !filter::is_wanted::<M>(ctx) || filter::is_beyond_limits(ctx) {
        return 0;
    }
    // SAFETY: it only returns a number.
    let number = unsafe { bpf_get_smp_processor_id() };
    let Some(cpu) = CPUS.get_ptr_mut(number) else {
        return 0;
    };
    let snap_len = config!(snap_len);
    let Some(mut entry) = RECORDS.reserve_bytes(config!(size) as usize, 0) else {
        // SAFETY: the pointer is to this CPU's element.
        unsafe { add(&raw mut (*cpu).lost, 1) };
        wake::full();
        return 0;
    };
    let start = entry.as_mut_ptr();
    // SAFETY: the entry has room for the record, its groups and the packet's bytes, aligned to eight; the counter
    // is this CPU's.
    unsafe {
        let lost = ptr::read_volatile(&raw const (*cpu).lost);
        fill::<M>(ctx, start.cast::<Record>(), number, lost, snap_len);
    };
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    wake::submitted(&RECORDS, cpu);
    0
}

/// Writes the record and the packet's bytes after it.
///
/// # Safety
///
/// `out` points to as many writable bytes as the configuration says.
#[inline(always)]
unsafe fn fill<M: Memory>(ctx: *const u8, out: *mut Record, cpu: u32, lost: u64, snap_len: u32) {
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: `out` is valid for a whole record, as the caller promises.
            unsafe { (&raw mut (*out).$field).write(value) }
        }};
    }

    let mut known = 0;
    let skb = skb::skb(ctx);
    // SAFETY: it only returns a number.
    set!(timestamp_ns, unsafe { bpf_ktime_get_ns() });
    set!(skb, skb as u64);
    set!(location, argument(ctx, config!(arg_location)));
    set!(lost, lost as u32);
    set!(cpu, cpu as u16);
    let pid_tgid = bpf_get_current_pid_tgid();
    set!(pid, (pid_tgid >> 32) as u32);
    set!(tid, pid_tgid as u32);
    // SAFETY: the helper writes as many bytes as the field has, zeros where it fails.
    unsafe {
        let comm = &raw mut (*out).comm;
        generated::bpf_get_current_comm(comm.cast(), NAME_LEN as u32);
    }

    let reason = skb::reason(ctx);
    if reason.is_some() {
        known |= flags::REASON;
    }
    set!(reason, reason.unwrap_or(0));
    if config!(skb_iif) != ABSENT {
        known |= flags::IIF;
    }
    set!(iif, load!(M, skb, skb_iif, 0u32));

    let rx_sk = skb::rx_sk(ctx);
    set!(rx_sk, rx_sk as u64);
    let sk = skb::sk::<M>(skb, rx_sk);
    let sk_net = skb::net::<M>(sk, config!(sk_net));
    let sk_netns = skb::inum::<M>(sk_net);
    if sk_netns != 0 {
        known |= flags::SK_NETNS;
    }
    set!(sk_netns, sk_netns);

    // Without a device nobody reads what is there of one: the flags say so.
    let dev: *const u8 = load!(M::far, skb, skb_dev, ptr::null());
    let dev_net = skb::net::<M>(dev, config!(dev_net));
    if !dev.is_null() {
        if config!(dev_ifindex) != ABSENT && config!(dev_name) != ABSENT {
            known |= flags::DEV;
            set!(dev_ifindex, M::far::<u32>(dev, config!(dev_ifindex)));
            let name = [
                M::far::<u64>(dev, config!(dev_name)),
                M::far::<u64>(dev, config!(dev_name) + 8),
            ];
            // SAFETY: the field is as long as the array and aligned as it is.
            unsafe { (&raw mut (*out).dev_name).cast::<[u64; 2]>().write(name) };
        }
        if config!(dev_net) != ABSENT && config!(net_inum) != ABSENT {
            known |= flags::DEV_NETNS;
            set!(dev_netns, skb::inum::<M>(dev_net));
        }
    }

    // SAFETY: whatever is wanted has its room behind the record, where the configuration says.
    let at = move |offset: u32| unsafe { out.cast::<u8>().add(offset as usize) };
    let metadata_at = config!(metadata_at);
    if metadata_at != ABSENT {
        known |= flags::METADATA;
        // SAFETY: as above.
        unsafe { metadata::fill::<M>(skb, dev_net, sk_net, at(metadata_at).cast(), snap_len != 0) };
    }
    let socket_at = config!(socket_at);
    if socket_at != ABSENT {
        known |= flags::SOCKET;
        // SAFETY: as above.
        unsafe { socket::fill::<M>(sk, !rx_sk.is_null(), at(socket_at).cast()) };
    }
    let stack_at = config!(stack_at);
    if stack_at != ABSENT {
        known |= flags::STACK;
        // SAFETY: as above.
        unsafe { stack::fill(ctx, at(stack_at).cast(), config!(stack_frames)) };
    }
    let qdisc_at = config!(qdisc_at);
    if qdisc_at != ABSENT {
        known |= flags::QDISC;
        // SAFETY: as above.
        unsafe { qdisc::fill(skb, reason, at(qdisc_at).cast()) };
    }

    set!(len, load!(M, skb, skb_len, 0u32));
    set!(protocol, load!(M, skb, skb_protocol, 0u16));
    let mac: u16 = load!(M, skb, skb_mac_header, HEADER_NOT_SET);
    let network: u16 = load!(M, skb, skb_network_header, 0);
    set!(mac_header, mac);
    set!(network_header, network);

    let mut first = 0u32;
    let mut caplen = 0u32;
    let mut data_offset = 0u32;
    if skb::has_packet() {
        known |= flags::SKB;
        let head = M::load::<u64>(skb, config!(skb_head));
        let data = M::load::<u64>(skb, config!(skb_data));
        let tail = M::load::<u32>(skb, config!(skb_tail));
        data_offset = data.wrapping_sub(head) as u32;
        // From there to the end of the linear part.
        first = skb::outermost(mac, network, tail, || data_offset);
        if snap_len != 0 {
            memory::obey_lockdown(ctx);
        }
        if snap_len != 0 && snap_len <= MAX_SNAP_LEN && first < tail {
            let wanted = at_most(tail - first, snap_len);
            // SAFETY: `wanted` bytes fit behind the record, as the caller promises.
            caplen = unsafe { copy(head + u64::from(first), at(config!(packet_at)), wanted) };
        }
    }
    set!(data, data_offset);
    set!(start, first);
    set!(caplen, caplen as u16);
    set!(flags, known);
}

/// The number, or `most` if it is greater. The comparison is of the very register that the verifier is to know this of: before
/// Linux 6.2 it does not see it by another that was copied from.
#[inline(always)]
fn at_most(number: u32, most: u32) -> u32 {
    let mut bounded = number;
    // SAFETY: it only sets the register.
    unsafe {
        asm!(
            "if {0} <= {1} goto +1",
            "{0} = {1}",
            inout(wreg) bounded,
            in(wreg) most,
            options(pure, nomem, nostack),
        );
    }
    bounded
}

/// Copies `wanted` bytes, at most the snap length, and says how many it has copied.
///
/// # Safety
///
/// `to` is aligned to eight and points to as many writable bytes as the snap length has, or to the next multiple of eight.
#[inline(always)]
unsafe fn copy(from: u64, to: *mut u8, wanted: u32) -> u32 {
    if config!(window) == ABSENT || config!(snap_len) > MAX_DIRECT {
        // SAFETY: the verifier checks the destination, the helper the source.
        let error =
            unsafe { generated::bpf_probe_read_kernel(to.cast(), wanted, from as *const _) };
        return if error == 0 { wanted } else { 0 };
    }
    let mut at = 0;
    while at < wanted && at < MAX_DIRECT {
        let Some(word) = memory::read::<u64>(from.wrapping_add(u64::from(at))) else {
            return 0;
        };
        // SAFETY: as the caller promises. The last word's end may be what is behind the packet; nobody reads it.
        unsafe { ptr::write_volatile(to.add(at as usize).cast::<u64>(), word) };
        at += 8;
    }
    wanted
}
