//! The eBPF program on `skb:kfree_skb`: one [`Record`] per dropped packet into a ring buffer.
//!
//! The same body is built twice. `skbdrop_tp_btf` reads kernel memory by direct loads, which
//! the verifier checks against the kernel's BTF; it is as cheap as can be, and with a snap length of 0 it
//! needs no helper that lockdown refuses. `skbdrop_raw_tp` reads by `bpf_probe_read_kernel` and serves
//! kernels that cannot do the former.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        EbpfContext as _,
        helpers::{
            bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
            bpf_ktime_get_ns, generated,
        },
        macros::{btf_tracepoint, map, raw_tracepoint},
        maps::{PerCpuArray, RingBuf},
        programs::{BtfTracePointContext, RawTracePointContext},
    };
    use core::{arch::asm, ptr};
    use skbdrop_ebpf::{ABSENT, Config, HEADER_NOT_SET, MAX_SNAP_LEN, NAME_LEN, Record, flags};

    /// Facts about the running kernel. User space overwrites them before the program is
    /// loaded and freezes them, which makes each a constant for the verifier.
    #[unsafe(no_mangle)]
    static CONFIG: Config = Config::EMPTY;

    /// Records for user space, which sets the size.
    #[map]
    static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);

    /// Records that found no room in [`RECORDS`], per CPU.
    #[map]
    static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    /// Reads one field of [`CONFIG`]. Volatile, so that the compiler does not take the value
    /// that the source gives for the one that user space will have set.
    macro_rules! config {
        ($field:ident) => {
            // SAFETY: a static is always readable.
            unsafe { ptr::read_volatile(&raw const CONFIG.$field) }
        };
    }

    /// How kernel memory is read.
    trait Memory {
        /// Reads a `T` at `offset` bytes from `base`; zero where there is nothing.
        fn load<T: Copy>(base: *const u8, offset: u32) -> T;
    }

    /// Direct loads: in a `tp_btf` program the verifier knows the type behind each pointer
    /// and the kernel turns a fault into a zero.
    struct Direct;

    impl Memory for Direct {
        #[inline(always)]
        fn load<T: Copy>(base: *const u8, offset: u32) -> T {
            // SAFETY: the verifier proves that the load is inside the structure, and a fault
            // gives zero. Volatile keeps the compiler from moving it before the check of
            // `offset` that makes it valid.
            unsafe { ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
        }
    }

    /// Loads by helper, for program types in which pointers are plain numbers.
    struct Probe;

    impl Memory for Probe {
        #[inline(always)]
        fn load<T: Copy>(base: *const u8, offset: u32) -> T {
            let mut value = core::mem::MaybeUninit::<T>::zeroed();
            // SAFETY: the destination is `size_of::<T>()` bytes of our stack; the helper checks
            // the source and leaves zeros on a fault. All `T` here are integers and arrays of
            // them, for which any bytes are valid.
            unsafe {
                generated::bpf_probe_read_kernel(
                    value.as_mut_ptr().cast(),
                    size_of::<T>() as u32,
                    base.wrapping_add(offset as usize).cast(),
                );
                value.assume_init()
            }
        }
    }

    /// Reads the tracepoint's argument `n`.
    ///
    /// Each arm is an instruction of its own: the verifier takes no computed offset into the
    /// context, and the compiler would merge plain loads into one.
    #[inline(always)]
    fn argument(ctx: *const u8, n: u32) -> u64 {
        let value: u64;
        macro_rules! load {
            ($instruction:literal) => {
                // SAFETY: reads one of the context's arguments; the verifier refuses an
                // argument that the tracepoint has not.
                unsafe { asm!($instruction, out(reg) value, in(reg) ctx, options(nostack, readonly)) }
            };
        }
        match n {
            0 => load!("{} = *(u64 *)({} + 0)"),
            1 => load!("{} = *(u64 *)({} + 8)"),
            2 => load!("{} = *(u64 *)({} + 16)"),
            3 => load!("{} = *(u64 *)({} + 24)"),
            4 => load!("{} = *(u64 *)({} + 32)"),
            _ => value = 0,
        }
        value
    }

    #[btf_tracepoint(function = "kfree_skb")]
    fn skbdrop_tp_btf(ctx: BtfTracePointContext) -> i32 {
        record::<Direct>(ctx.as_ptr().cast())
    }

    #[raw_tracepoint(tracepoint = "kfree_skb")]
    fn skbdrop_raw_tp(ctx: RawTracePointContext) -> i32 {
        record::<Probe>(ctx.as_ptr().cast())
    }

    #[inline(always)]
    fn record<M: Memory>(ctx: *const u8) -> i32 {
        let Some(lost) = LOST.get_ptr_mut(0) else {
            return 0;
        };
        let snap_len = config!(snap_len);
        let Some(mut entry) = RECORDS.reserve_bytes(Record::SIZE + snap_len as usize, 0) else {
            // SAFETY: the pointer is this CPU's element. The addition is atomic, since a drop in
            // an interrupt may come between on the same CPU.
            unsafe {
                asm!("lock *(u64 *)({} + 0) += {}", in(reg) lost, in(reg) 1u64, options(nostack));
            }
            return 0;
        };
        let start = entry.as_mut_ptr();
        // SAFETY: the entry is at least `Record::SIZE` bytes, aligned to eight.
        unsafe {
            fill::<M>(
                ctx,
                start.cast::<Record>(),
                ptr::read_volatile(lost),
                snap_len,
            )
        };
        entry.submit(0);
        0
    }

    /// Writes the record and the packet's bytes after it.
    ///
    /// # Safety
    ///
    /// `out` points to `Record::SIZE + snap_len` writable bytes.
    #[inline(always)]
    unsafe fn fill<M: Memory>(ctx: *const u8, out: *mut Record, lost: u64, snap_len: u32) {
        macro_rules! set {
            ($field:ident, $value:expr) => {{
                let value = $value;
                // SAFETY: `out` is valid for a whole record, as the caller promises.
                unsafe { (&raw mut (*out).$field).write(value) }
            }};
        }
        /// `$struct.$field` where the kernel has it, else `$otherwise`.
        macro_rules! load {
            ($base:expr, $offset:ident, $otherwise:expr) => {
                match config!($offset) {
                    ABSENT => $otherwise,
                    offset => M::load($base, offset),
                }
            };
        }

        let mut known = 0;
        let skb = argument(ctx, 0) as *const u8;
        let pid_tgid = bpf_get_current_pid_tgid();
        // SAFETY: both helpers only return a number.
        let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
        set!(timestamp_ns, now);
        set!(skb, skb as u64);
        set!(location, argument(ctx, config!(arg_location)));
        set!(lost, lost);
        set!(cpu, cpu);
        set!(pid, (pid_tgid >> 32) as u32);
        set!(tid, pid_tgid as u32);
        set!(comm, bpf_get_current_comm().unwrap_or([0; NAME_LEN]));
        set!(reserved, [0; 3]);

        set!(
            reason,
            match config!(arg_reason) {
                ABSENT => 0,
                n => {
                    known |= flags::REASON;
                    argument(ctx, n) as u32
                }
            }
        );

        set!(
            iif,
            match config!(skb_iif) {
                ABSENT => 0,
                offset => {
                    known |= flags::IIF;
                    M::load::<u32>(skb, offset)
                }
            }
        );

        // The socket knows its namespace even where the device pointer is gone or overlaid.
        let mut sk = core::ptr::null();
        if config!(arg_rx_sk) != ABSENT {
            sk = argument(ctx, config!(arg_rx_sk)) as *const u8;
        }
        set!(rx_sk, sk as u64);
        let mut sk_netns = 0;
        if config!(net_inum) != ABSENT && config!(sk_net) != ABSENT {
            if !sk.is_null() {
                sk_netns = netns::<M>(sk, config!(sk_net));
            } else if config!(skb_sk) != ABSENT {
                let sk = M::load::<*const u8>(skb, config!(skb_sk));
                if !sk.is_null() {
                    sk_netns = netns::<M>(sk, config!(sk_net));
                }
            }
        }
        if sk_netns != 0 {
            known |= flags::SK_NETNS;
        }
        set!(sk_netns, sk_netns);

        let mut dev_ifindex = 0;
        let mut dev_netns = 0;
        let mut dev_name = [0u64; 2];
        if config!(skb_dev) != ABSENT {
            let dev = M::load::<*const u8>(skb, config!(skb_dev));
            if !dev.is_null() {
                if config!(dev_ifindex) != ABSENT && config!(dev_name) != ABSENT {
                    known |= flags::DEV;
                    dev_ifindex = M::load::<u32>(dev, config!(dev_ifindex));
                    dev_name[0] = M::load::<u64>(dev, config!(dev_name));
                    dev_name[1] = M::load::<u64>(dev, config!(dev_name) + 8);
                }
                if config!(dev_net) != ABSENT && config!(net_inum) != ABSENT {
                    known |= flags::DEV_NETNS;
                    dev_netns = netns::<M>(dev, config!(dev_net));
                }
            }
        }
        set!(dev_ifindex, dev_ifindex);
        set!(dev_netns, dev_netns);
        // SAFETY: the field is as long as the array, and any alignment will do for this write.
        unsafe {
            (&raw mut (*out).dev_name)
                .cast::<[u64; 2]>()
                .write_unaligned(dev_name)
        };

        set!(len, load!(skb, skb_len, 0u32));
        set!(protocol, load!(skb, skb_protocol, 0u16));
        let mac: u16 = load!(skb, skb_mac_header, HEADER_NOT_SET);
        let network: u16 = load!(skb, skb_network_header, 0);
        set!(mac_header, mac);
        set!(network_header, network);

        let mut first = 0u32;
        let mut caplen = 0u32;
        let mut data_offset = 0u32;
        let complete = config!(skb_len) != ABSENT
            && config!(skb_protocol) != ABSENT
            && config!(skb_head) != ABSENT
            && config!(skb_data) != ABSENT
            && config!(skb_tail) != ABSENT
            && config!(skb_mac_header) != ABSENT
            && config!(skb_network_header) != ABSENT;
        if complete {
            known |= flags::SKB;
            let head = M::load::<u64>(skb, config!(skb_head));
            let data = M::load::<u64>(skb, config!(skb_data));
            let tail = M::load::<u32>(skb, config!(skb_tail));
            data_offset = data.wrapping_sub(head) as u32;
            // From the outermost header that is there to the end of the linear part.
            first = if mac != HEADER_NOT_SET && u32::from(mac) < tail {
                u32::from(mac)
            } else if network != 0 && u32::from(network) < tail {
                u32::from(network)
            } else {
                data_offset
            };
            if snap_len != 0 && snap_len <= MAX_SNAP_LEN && first < tail {
                let mut wanted = tail - first;
                if wanted > snap_len {
                    wanted = snap_len;
                }
                // SAFETY: `wanted` bytes fit behind the record, as the caller promises and as
                // the verifier checks; the helper checks the source.
                let error = unsafe {
                    generated::bpf_probe_read_kernel(
                        out.add(1).cast(),
                        wanted,
                        (head + u64::from(first)) as *const _,
                    )
                };
                if error == 0 {
                    caplen = wanted;
                }
            }
        }
        set!(data, data_offset);
        set!(start, first);
        set!(caplen, caplen);
        set!(flags, known);
    }

    /// Inode number of the namespace whose `struct net *` is at `offset` of `base`; 0 if none.
    #[inline(always)]
    fn netns<M: Memory>(base: *const u8, offset: u32) -> u32 {
        let net = M::load::<*const u8>(base, offset);
        if net.is_null() {
            return 0;
        }
        M::load::<u32>(net, config!(net_inum))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
