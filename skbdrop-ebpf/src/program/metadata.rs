//! What the skb says of itself besides its packet.

use crate::program::{
    config,
    memory::{Memory, read},
    skb::{cookie, load},
};
use skbdrop_ebpf::{ABSENT, MAX_BITS, Metadata, known};

/// Writes the group. Where helpers may not read memory, GSO is left out, which is not in the
/// skb itself.
///
/// # Safety
///
/// `out` points to a writable group.
#[inline(always)]
pub(crate) unsafe fn fill<M: Memory>(
    skb: *const u8,
    dev_net: *const u8,
    sk_net: *const u8,
    out: *mut Metadata,
    may_read: bool,
) {
    let mut have = 0;
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            let value = $value;
            // SAFETY: `out` is valid for a whole group, as the caller promises.
            unsafe { (&raw mut (*out).$field).write(value) }
        }};
    }
    macro_rules! copy {
        ($field:ident: $ty:ty, $offset:ident, $known:ident) => {{
            if config!($offset) != ABSENT {
                have |= known::$known;
            }
            set!($field, load!(M, skb, $offset, 0 as $ty));
        }};
    }
    copy!(mark: u32, skb_mark, MARK);
    copy!(hash: u32, skb_hash, HASH);
    copy!(priority: u32, skb_priority, PRIORITY);
    copy!(queue_mapping: u16, skb_queue_mapping, QUEUE_MAPPING);
    if config!(skb_ip_summed) != ABSENT {
        have |= known::IP_SUMMED;
    }
    set!(
        ip_summed,
        bits::<M>(skb, config!(skb_ip_summed), config!(skb_ip_summed_width))
    );
    if config!(skb_pkt_type) != ABSENT {
        have |= known::PKT_TYPE;
    }
    set!(
        pkt_type,
        bits::<M>(skb, config!(skb_pkt_type), config!(skb_pkt_type_width))
    );

    let vlan_proto: u16 = load!(M, skb, skb_vlan_proto, 0);
    set!(vlan_proto, vlan_proto);
    set!(vlan_tci, load!(M, skb, skb_vlan_tci, 0u16));
    // Without a bit of its own the tag is there if its protocol is.
    let tagged = match config!(skb_vlan_present) {
        ABSENT => vlan_proto != 0,
        at => bits::<M>(skb, at, 1) != 0,
    };
    if tagged && config!(skb_vlan_tci) != ABSENT && config!(skb_vlan_proto) != ABSENT {
        have |= known::VLAN;
    }

    set!(dev_net_cookie, cookie::<M>(dev_net));
    set!(sk_net_cookie, cookie::<M>(sk_net));

    let mut gso_size = 0u16;
    let mut gso_segs = 0u16;
    let mut gso_type = 0u32;
    if may_read
        && config!(skb_end) != ABSENT
        && config!(skb_head) != ABSENT
        && config!(shinfo_gso_size) != ABSENT
        && config!(shinfo_gso_segs) != ABSENT
        && config!(shinfo_gso_type) != ABSENT
    {
        let head = M::load::<u64>(skb, config!(skb_head));
        let end = M::load::<u32>(skb, config!(skb_end));
        let shinfo = head.wrapping_add(u64::from(end));
        let at = |offset: u32| shinfo.wrapping_add(u64::from(offset));
        gso_size = read(at(config!(shinfo_gso_size))).unwrap_or(0);
        if gso_size != 0 {
            have |= known::GSO;
            gso_segs = read(at(config!(shinfo_gso_segs))).unwrap_or(0);
            gso_type = read(at(config!(shinfo_gso_type))).unwrap_or(0);
        }
    }
    set!(gso_size, gso_size);
    set!(gso_segs, gso_segs);
    set!(gso_type, gso_type);
    set!(known, have);
}

/// A bit field of at most [`MAX_BITS`] bits inside one byte, at `at` bits from `base`; 0 if it is absent.
#[inline(always)]
fn bits<M: Memory>(base: *const u8, at: u32, width: u32) -> u8 {
    if at == ABSENT || width > MAX_BITS {
        return 0;
    }
    let byte: u8 = M::load(base, at >> 3);
    ((u32::from(byte) >> (at & 7)) & ((1 << width) - 1)) as u8
}
