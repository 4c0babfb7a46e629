//! Additions to an address, into the offsets of the loads and stores by it.

use super::{
    code::{Code, FRAME, Op, REGISTERS, Set, each},
    unused::used_after,
};
use aya_obj::generated::{BPF_ADD, BPF_ALU64, BPF_K, BPF_SUB};

/// Where a register points: so far behind what another place in the program put there, by a number of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Value {
    origin: usize,
    behind: i64,
}

/// Lets loads and stores go by the first of the registers from which their address was made, and joins additions. Says whether it has
/// changed something.
///
/// Loads and stores by the stack's own register stay so, and no others are made: that makes a difference to the verifier. Copies of it are
/// known as such up to the next place that something jumps to, and are like any address behind it.
pub(super) fn fold(code: &mut Code) -> bool {
    let targets = code.targets();
    let used = used_after(code);
    let mut changed = false;
    let mut origins = 0;
    let mut fresh = || {
        origins += 1;
        Value {
            origin: origins,
            behind: 0,
        }
    };
    let mut values: [Value; REGISTERS] = std::array::from_fn(|_| fresh());
    for at in 0..code.ops.len() {
        if targets[at] {
            values = std::array::from_fn(|_| fresh());
        }
        if let Some(base) = base(&code.ops[at])
            && values[base].origin != values[FRAME].origin
            && let Some((other, offset)) = nearer(&values, base, code.ops[at].insn.off)
        {
            set_base(&mut code.ops[at], other, offset);
            changed = true;
        }
        if let Some(amount) = added(&code.ops[at])
            && values[code.ops[at].dst()].origin != values[FRAME].origin
        {
            changed |= join(code, at, amount, &targets, &used);
        }
        let op = &code.ops[at];
        let value = match added(op) {
            Some(amount) => Some(Value {
                behind: values[op.dst()].behind + i64::from(amount),
                ..values[op.dst()]
            }),
            None if is_copy(op) => Some(values[op.src()]),
            None => None,
        };
        for register in each(op.effects().writes) {
            values[register] = fresh();
        }
        if let Some(value) = value {
            values[op.dst()] = value;
        }
    }
    changed
}

/// The register that a load or a store goes by.
fn base(op: &Op) -> Option<usize> {
    match op {
        _ if op.is_load() => Some(op.src()),
        _ if op.is_store() => Some(op.dst()),
        _ => None,
    }
}

fn set_base(op: &mut Op, base: usize, offset: i16) {
    match op.is_load() {
        true => op.insn.set_src_reg(base as u8),
        false => op.insn.set_dst_reg(base as u8),
    }
    op.insn.off = offset;
}

/// A register less was added to, and how far behind it the same place is.
fn nearer(values: &[Value; REGISTERS], base: usize, offset: i16) -> Option<(usize, i16)> {
    let value = values[base];
    let others = values.iter().enumerate().take(FRAME);
    let mut others = others.filter(|(_, other)| {
        other.origin == value.origin && other.behind.abs() < value.behind.abs()
    });
    others.find_map(|(other, known)| {
        let offset = i64::from(offset) + value.behind - known.behind;
        Some((other, i16::try_from(offset).ok()?))
    })
}

/// What the instruction adds to a register of 64 bits.
fn added(op: &Op) -> Option<i32> {
    if op.class() != BPF_ALU64 || op.is_by_register() {
        return None;
    }
    match op.operation() {
        BPF_ADD => Some(op.insn.imm),
        BPF_SUB => op.insn.imm.checked_neg(),
        _ => None,
    }
}

fn is_copy(op: &Op) -> bool {
    op.class() == BPF_ALU64 && op.is_move() && op.is_by_register()
}

/// Leaves an addition to the next instruction that uses the register: another addition, or a load that nobody needs the
/// address after.
fn join(code: &mut Code, at: usize, amount: i32, targets: &[bool], used: &[Set]) -> bool {
    let register = code.ops[at].dst();
    let bit: Set = 1 << register;
    for next in at + 1..code.ops.len() {
        let op = &mut code.ops[next];
        if targets[next] {
            return false;
        }
        let effects = op.effects();
        if let Some(more) = added(op)
            && op.dst() == register
        {
            let Some(sum) = more.checked_add(amount) else {
                return false;
            };
            op.insn.code = (BPF_ALU64 | BPF_ADD | BPF_K) as u8;
            op.insn.imm = sum;
            return code.ops[at].make_nothing();
        }
        if op.is_load() && op.src() == register {
            let is_last = effects.writes & bit != 0 || used[next] & bit == 0;
            let offset = i32::from(op.insn.off).checked_add(amount);
            let offset = offset.and_then(|offset| i16::try_from(offset).ok());
            return match offset {
                Some(offset) if is_last => {
                    op.insn.off = offset;
                    code.ops[at].make_nothing()
                }
                _ => false,
            };
        }
        let leaves = op.to.is_some() || op.is_exit();
        if leaves || (effects.reads | effects.writes) & bit != 0 {
            return false;
        }
    }
    false
}
