//! Folds what is constant into the instructions that use it, leaves out what nobody needs then, and puts the rest in order.
//!
//! The compiler of a program did not know what [`Config`](skbdrop_ebpf::Config) would say: it has an instruction for each number, and
//! more to add it to an address or to compare it. Here all of that is known. The verifier removes ways that are never
//! taken by itself, but neither those instructions nor what decides.

mod addresses;
mod code;
mod constants;
mod layout;
mod unused;

use aya_obj::generated::bpf_insn;
use code::Code;

/// Each round may make something constant or unused for the next; few do after the third.
const MAX_ROUNDS: usize = 8;

/// The same program with fewer instructions, in the order in which they run. One that has an instruction which is not understood stays as it is.
pub(super) fn fold(program: &[bpf_insn]) -> Vec<bpf_insn> {
    let folded = Code::of(program).and_then(|mut code| {
        for _ in 0..MAX_ROUNDS {
            let before = code.ops.len();
            let changed = constants::fold(&mut code);
            unused::remove(&mut code);
            if !addresses::fold(&mut code) && !changed && code.ops.len() == before {
                break;
            }
        }
        let mut straight = code.clone();
        layout::straighten(&mut straight);
        unused::remove(&mut straight);
        // In another order a jump may be too far.
        straight.instructions().or_else(|| code.instructions())
    });
    folded.unwrap_or_else(|| program.to_vec())
}

#[cfg(test)]
mod tests;
