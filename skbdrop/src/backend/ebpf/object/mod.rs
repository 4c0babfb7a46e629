//! The built eBPF objects. `BUILD.txt` beside them says from which sources and with which tools;
//! `cargo xtask ebpf` writes all three.

/// An ELF file with the programs and their maps, in this machine's byte order.
#[cfg(target_endian = "little")]
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("skbdrop.bpfel.o");
#[cfg(target_endian = "big")]
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("skbdrop.bpfeb.o");

/// The program that reads kernel memory by direct loads.
pub(super) const TP_BTF: &str = "skbdrop_tp_btf";
/// The program that reads kernel memory by a helper.
pub(super) const RAW_TP: &str = "skbdrop_raw_tp";
/// The program that counts, by direct loads.
pub(super) const COUNT_TP_BTF: &str = "skbdrop_count_tp_btf";
/// The program that counts, by a helper.
pub(super) const COUNT_RAW_TP: &str = "skbdrop_count_raw_tp";
/// The program on `qdisc:qdisc_drop`, by direct loads.
pub(super) const QDISC_TP_BTF: &str = "skbdrop_qdisc_tp_btf";
/// The program on `qdisc:qdisc_drop`, by a helper.
pub(super) const QDISC_RAW_TP: &str = "skbdrop_qdisc_raw_tp";
/// What it told last on each CPU.
pub(super) const QDISC_NOTE: &str = "QDISC_NOTE";
/// The counts of those that count.
pub(super) const COUNTS: &str = "COUNTS";
/// The ring buffer.
pub(super) const RECORDS: &str = "RECORDS";
/// The ring buffer that the program rings to wake the reader.
pub(super) const BELL: &str = "BELL";
/// The word in which the reader says whether it sleeps.
pub(super) const READER: &str = "READER";
/// The drops of each reason and place in each second.
pub(super) const RATES: &str = "RATES";
/// What the programs count, by CPU.
pub(super) const CPUS: &str = "CPUS";

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "the eBPF backend reads the pointers of 64-bit kernels only: disable the feature `ebpf`"
);
