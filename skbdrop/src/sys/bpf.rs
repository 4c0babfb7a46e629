//! bpf(2): the few commands that loading one program takes.

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_map_info, bpf_prog_info, bpf_prog_type,
};
use std::{
    ffi::CStr,
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// How a program meets the tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramType {
    /// `BPF_PROG_TYPE_TRACING` with `BPF_TRACE_RAW_TP`: the number of the tracepoint's
    /// prototype in the kernel's BTF.
    TpBtf(u32),
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
    RawTracepoint,
}

/// Loads a program. The verifier writes its reasons into `log` if that is not empty.
pub(crate) fn program_load(
    ty: ProgramType,
    name: &CStr,
    instructions: &[bpf_insn],
    license: &CStr,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: this arm of the union is the one that BPF_PROG_LOAD reads. All pointers are to
    // slices that outlive the call, with their lengths.
    unsafe {
        let load = &mut attr.__bindgen_anon_3;
        load.insns = instructions.as_ptr() as u64;
        load.insn_cnt = instructions.len() as u32;
        load.license = license.as_ptr() as u64;
        for (to, from) in load.prog_name.iter_mut().zip(name.to_bytes()).take(15) {
            *to = *from as _;
        }
        match ty {
            ProgramType::TpBtf(id) => {
                load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
                load.expected_attach_type = bpf_attach_type::BPF_TRACE_RAW_TP as u32;
                load.attach_btf_id = id;
            }
            ProgramType::RawTracepoint => {
                load.prog_type = bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT as u32;
            }
        }
        if !log.is_empty() {
            load.log_level = 1;
            load.log_buf = log.as_mut_ptr() as u64;
            load.log_size = log.len() as u32;
        }
    }
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Attaches a program to the tracepoint `name`, or to the one that it was loaded for. The
/// descriptor holds the attachment: closing it detaches.
pub(crate) fn raw_tracepoint_open(
    program: BorrowedFd<'_>,
    name: Option<&CStr>,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: this arm of the union is the one that BPF_RAW_TRACEPOINT_OPEN reads; the name
    // outlives the call.
    unsafe {
        let open = &mut attr.raw_tracepoint;
        open.name = name.map_or(0, |name| name.as_ptr() as u64);
        open.prog_fd = program.as_raw_fd() as u32;
    }
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(owned)
}

/// How often the kernel did not run the program since it was running on that CPU already:
/// a drop in an interrupt that came while another drop was being recorded. Kernels before
/// 5.12 do not count it, and say 0.
pub(crate) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all fields are integers or arrays of them.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    // SAFETY: `info` is what the kernel has for programs.
    unsafe { info_by_fd(program, &mut info) }?;
    Ok(info.recursion_misses)
}

/// What the kernel knows of a map.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    // SAFETY: all fields are integers or arrays of them.
    let mut info: bpf_map_info = unsafe { mem::zeroed() };
    // SAFETY: `info` is what the kernel has for maps.
    unsafe { info_by_fd(map, &mut info) }?;
    Ok(info)
}

/// Asks for what the kernel knows of an object.
///
/// # Safety
///
/// `T` is the kernel's structure for what `fd` is, all zero: with its pointers and lengths zero it asks for no arrays.
unsafe fn info_by_fd<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    // The kernel writes no more than `info_len` bytes into `info`, which outlives the call.
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = info as *mut T as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain integers, and the kernel wants unused parts to be zero.
    unsafe { mem::zeroed() }
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the callers set the arm of the union that goes with the command, with pointers
    // that are good for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given this descriptor to us and to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
