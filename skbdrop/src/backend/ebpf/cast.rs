//! The kernel's function by which a program may look at any address: where packets and what is behind them are, which no type
//! is known of.

use super::assembler::{Reg, call_kernel, set};
use aya_obj::generated::bpf_insn;

/// `bpf_rdonly_cast`, which takes an address and says that a structure is there (since Linux 6.2). The kernel
/// puts nothing in place of the call; loads from what it returns give zeros where there is no memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// Number of the function.
    pub(super) function: u32,
    /// Number of `struct sk_buff`, which has the longest array that loads of any size may read.
    pub(super) structure: u32,
}

impl Cast {
    /// The call, with the address in `r1` and the pointer in `r0` then: as many instructions as its placeholder.
    pub(super) fn call(self) -> [bpf_insn; 2] {
        [
            set(Reg(2), self.structure as i32),
            call_kernel(self.function),
        ]
    }
}
