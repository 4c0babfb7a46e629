//! Puts a filter's instructions into a program.

use super::assembler::jump;
use crate::{Error, Result};
use aya_obj::generated::{BPF_ALU, BPF_DW, BPF_IMM, BPF_K, BPF_LD, BPF_MOV, bpf_insn};

/// Loads 64 bits, a number or an address. It is two instructions with half of them each.
const LOAD_64: u8 = (BPF_LD | BPF_IMM | BPF_DW) as u8;

/// Sets a register to a number of 32 bits.
const SET_32: u8 = (BPF_ALU | BPF_MOV | BPF_K) as u8;

/// The number that the instruction sets a register to, if it does.
pub(super) fn set_number(instruction: &bpf_insn) -> Option<u32> {
    (instruction.code == SET_32).then_some(instruction.imm as u32)
}

/// The number that the first of these instructions loads, if it is such a load.
pub(super) fn loaded_number(instructions: &[bpf_insn]) -> Option<u64> {
    match instructions {
        [load, upper, ..] if load.code == LOAD_64 && load.src_reg() == 0 => {
            Some(u64::from(upper.imm as u32) << 32 | u64::from(load.imm as u32))
        }
        _ => None,
    }
}

/// Where the program needs a verdict of the filter's, which is by its `placeholder`, it jumps to the filter's instructions, behind
/// its own, and these jump back. Without instructions the verdict is yes.
///
/// # Errors
///
/// The program asks for no such verdict, or it is farther from the filter's instructions than a jump can say.
pub(super) fn splice(
    program: &mut Vec<bpf_insn>,
    placeholder: u64,
    filter: Option<&[bpf_insn]>,
) -> Result<()> {
    let is_asked = |at: &usize| loaded_number(&program[*at..]) == Some(placeholder);
    // The compiler may have made several of one.
    let asked: Vec<usize> = (0..program.len()).filter(is_asked).collect();
    if asked.is_empty() {
        return Err(Error::invalid_data(
            "an eBPF program in the crate asks no filter",
        ));
    }
    for at in asked {
        let Some(filter) = filter else {
            (program[at].imm, program[at + 1].imm) = (1, 0);
            continue;
        };
        let back = at + 1;
        program[at] = jump(at, program.len())?;
        program[back] = jump(back, back + 1)?;
        program.extend_from_slice(filter);
        program.push(jump(program.len(), back)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            assembler::{Assembler, Operand, Reg},
            object,
        },
        *,
    };
    use aya_obj::Object;
    use aya_obj::generated::{BPF_CALL, BPF_JMP, BPF_PSEUDO_CALL};
    use skbdrop_ebpf::view::{AT_HAND, FILTER};

    fn code(write: impl FnOnce(&mut Assembler)) -> Vec<bpf_insn> {
        let mut code = Assembler::default();
        write(&mut code);
        code.finish().expect("short")
    }

    fn program() -> Vec<bpf_insn> {
        code(|code| {
            code.load_u64(Reg(3), 7);
            code.load_u64(Reg(0), FILTER);
            code.set(Reg(4), Operand::Reg(Reg(0)));
        })
    }

    fn filter(len: usize) -> Vec<bpf_insn> {
        code(|code| (0..len).for_each(|_| code.set(Reg(0), Operand::Imm(0))))
    }

    #[test]
    fn there_and_back() {
        let mut spliced = program();
        splice(&mut spliced, FILTER, Some(&filter(3))).expect("short");
        let jumps = spliced.iter().enumerate().filter(|(_, it)| it.code == 0x05);
        let jumps: Vec<(usize, i64)> = jumps
            .map(|(at, it)| (at, at as i64 + 1 + i64::from(it.off)))
            .collect();
        // Two, two, one; then the filter's three.
        assert_eq!(jumps, [(2, 5), (3, 4), (8, 3)]);
        assert_eq!(spliced.len(), 9);
    }

    #[test]
    fn without_a_filter_it_is_yes() {
        let mut spliced = program();
        splice(&mut spliced, FILTER, None).expect("nothing to go far for");
        assert_eq!(spliced.len(), program().len());
        assert_eq!(loaded_number(&spliced[2..]), Some(1));
        assert_eq!(loaded_number(&spliced), Some(7));
    }

    #[test]
    fn what_is_too_far_or_asks_nothing_is_refused() {
        let error = splice(&mut program(), FILTER, Some(&filter(32_768))).expect_err("too far");
        assert!(error.to_string().contains("take fewer terms"), "{error}");
        splice(&mut program(), FILTER, Some(&filter(32_760))).expect("as far as can be");
        splice(&mut filter(3), FILTER, None).expect_err("asks nothing");
    }

    /// Of several functions in a program kernels before 6.5 may lose one's table of loads that may fault.
    #[test]
    fn programs_ask_a_filter_and_are_one_function() {
        let object = Object::parse(object::OBJECT).expect("an object");
        assert_eq!(object.programs.len(), 6);
        for (name, program) in &object.programs {
            let mut code = object.functions[&program.function_key()]
                .instructions
                .clone();
            let calls = code.iter().filter(|it| {
                u32::from(it.code) == BPF_JMP | BPF_CALL
                    && u32::from(it.src_reg()) == BPF_PSEUDO_CALL
            });
            assert_eq!(calls.count(), 0, "{name}");
            // Those on the tracepoint of queueing disciplines only take notes.
            let asks = ![object::QDISC_TP_BTF, object::QDISC_RAW_TP].contains(&name.as_str());
            for verdict in [AT_HAND, FILTER] {
                let spliced = splice(&mut code, verdict, Some(&filter(1)));
                assert_eq!(spliced.is_ok(), asks, "{name}");
            }
        }
    }
}
