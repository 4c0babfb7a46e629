//! The built eBPF object. `BUILD.txt` beside it says from which sources and with which tools;
//! `cargo xtask ebpf` writes both.

/// An ELF file with the programs [`TP_BTF`] and [`RAW_TP`] and their maps, for little-endian
/// machines.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("skbdrop.bpfel.o");

/// The program that reads kernel memory by direct loads.
pub(super) const TP_BTF: &str = "skbdrop_tp_btf";
/// The program that reads kernel memory by a helper.
pub(super) const RAW_TP: &str = "skbdrop_raw_tp";
/// The global that holds the configuration.
pub(super) const CONFIG: &str = "CONFIG";
/// The ring buffer.
pub(super) const RECORDS: &str = "RECORDS";
/// The per-CPU counter of records that found no room.
pub(super) const LOST: &str = "LOST";

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "the eBPF backend reads the pointers of 64-bit kernels only: disable the feature `ebpf`"
);

#[cfg(target_endian = "big")]
compile_error!(
    "the eBPF backend ships an object for little-endian machines only: disable the feature `ebpf`"
);
