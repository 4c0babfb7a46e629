//! How often the kernel did not run a program since it was running on that CPU already.

use crate::sys::bpf::recursion_misses;
use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// A drop in an interrupt that came while another drop was being recorded. Kernels before 5.12 do not count it, and say 0.
///
/// Kernels before 5.19 with `kernel.unprivileged_bpf_disabled` refuse bpf(2) to who gave up CAP_BPF, and show the count in
/// the descriptor's file all the same.
pub(super) fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    match recursion_misses(program) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
            Ok(shown(&fs::read_to_string(path)?))
        }
        asked => asked,
    }
}

/// The count in what `bpf_prog_show_fdinfo` of the kernel writes; 0 where it does not write it.
fn shown(fdinfo: &str) -> u64 {
    let count = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_where_the_kernel_shows_it() {
        let fdinfo = "pos:\t0\nflags:\t02000000\nmnt_id:\t16\nino:\t1057\nprog_type:\t26\nprog_jited:\t1\n\
            prog_tag:\tcafe\nmemlock:\t8192\nprog_id:\t71\nrun_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t37\n";
        assert_eq!(shown(fdinfo), 37);
        let older = fdinfo.replace("recursion_misses:\t37\n", "");
        assert_eq!(shown(&older), 0);
    }
}
