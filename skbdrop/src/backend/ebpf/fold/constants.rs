//! Which registers hold a constant where, and what follows from it.

use super::code::{Code, FRAME, Op, REGISTERS, each};
use aya_obj::generated::{
    BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLE, BPF_JLT,
    BPF_JMP, BPF_JMP32, BPF_JNE, BPF_JSET, BPF_JSGE, BPF_JSGT, BPF_JSLE, BPF_JSLT, BPF_K, BPF_LSH,
    BPF_MOV, BPF_MUL, BPF_OR, BPF_RSH, BPF_SUB, BPF_X, BPF_XOR,
};

/// What each register holds, where that is the same on all ways there.
type State = [Option<u64>; REGISTERS];

/// Puts constants into the instructions that use them, and jumps in place of branches that are always taken. Says whether it has
/// changed something.
pub(super) fn fold(code: &mut Code) -> bool {
    let states = states(code);
    let mut changed = false;
    let mut additions = Vec::new();
    for (at, (op, state)) in code.ops.iter_mut().zip(states).enumerate() {
        // What nobody reaches is removed later.
        let Some(state) = state else {
            continue;
        };
        if let Some(addition) = turn_addition(op, &state) {
            additions.push((at, addition));
            changed = true;
        } else if op.is_branch() {
            changed |= fold_branch(op, &state);
        } else if op.is_arithmetic() {
            changed |= fold_arithmetic(op, &state);
        }
    }
    code.insert(&additions);
    changed
}

/// Of an address that is added to a constant makes a copy of the address, and gives the addition of the constant that is to come
/// behind it.
fn turn_addition(op: &mut Op, state: &State) -> Option<Op> {
    let is_addition = op.class() == BPF_ALU64 && op.operation() == BPF_ADD && op.is_by_register();
    if !is_addition || op.src() == FRAME || state[op.src()].is_some() {
        return None;
    }
    let constant = immediate(state[op.dst()]?, true)?;
    let mut addition = *op;
    addition.insn.code = (BPF_ALU64 | BPF_ADD | BPF_K) as u8;
    addition.insn.set_src_reg(0);
    addition.insn.imm = constant;
    op.insn.code = (BPF_ALU64 | BPF_MOV | BPF_X) as u8;
    Some(addition)
}

/// What is known before each instruction; `None` for one that is never reached.
fn states(code: &Code) -> Vec<Option<State>> {
    let mut states: Vec<Option<State>> = vec![None; code.ops.len()];
    let Some(first) = states.first_mut() else {
        return states;
    };
    *first = Some([None; REGISTERS]);
    let mut changed = vec![0];
    while let Some(at) = changed.pop() {
        let Some(before) = states[at] else {
            continue;
        };
        let op = &code.ops[at];
        let after = after(op, before);
        let taken = if op.is_branch() {
            is_taken(op, &before)
        } else {
            None
        };
        for next in code.next(at) {
            let is_jump = op.to == Some(next);
            let is_through = next == at + 1;
            let never = match taken {
                Some(true) => !is_jump,
                Some(false) => !is_through,
                None => false,
            };
            if !never && join(&mut states[next], &after) {
                changed.push(next);
            }
        }
    }
    states
}

/// Keeps what both say. Says whether that is news.
fn join(known: &mut Option<State>, also: &State) -> bool {
    let Some(known) = known else {
        *known = Some(*also);
        return true;
    };
    let mut is_news = false;
    for (known, also) in known.iter_mut().zip(also) {
        if known.is_some() && known != also {
            *known = None;
            is_news = true;
        }
    }
    is_news
}

fn after(op: &Op, mut state: State) -> State {
    let result = if op.is_arithmetic() {
        result(op, &state)
    } else if op.is_load_64() && op.src() == 0 {
        let upper = op.upper.map_or(0, |upper| upper.imm as u32);
        Some(u64::from(upper) << 32 | u64::from(op.insn.imm as u32))
    } else {
        None
    };
    for register in each(op.effects().writes) {
        state[register] = None;
    }
    if result.is_some() {
        state[op.dst()] = result;
    }
    // The stack's is no number.
    state[FRAME] = None;
    state
}

/// The second operand.
fn second(op: &Op, state: &State) -> Option<u64> {
    match op.is_by_register() {
        true => state[op.src()],
        false => Some(i64::from(op.insn.imm) as u64),
    }
}

/// What an arithmetic operation comes to.
fn result(op: &Op, state: &State) -> Option<u64> {
    if op.is_unary() {
        return None;
    }
    let b = second(op, state)?;
    let a = match op.is_move() {
        true => 0,
        false => state[op.dst()]?,
    };
    let is_wide = op.class() == BPF_ALU64;
    let wide = match op.operation() {
        BPF_MOV => b,
        BPF_ADD => a.wrapping_add(b),
        BPF_SUB => a.wrapping_sub(b),
        BPF_MUL => a.wrapping_mul(b),
        BPF_OR => a | b,
        BPF_AND => a & b,
        BPF_XOR => a ^ b,
        BPF_LSH if is_wide => a.wrapping_shl(b as u32),
        BPF_RSH if is_wide => a.wrapping_shr(b as u32),
        BPF_ARSH if is_wide => (a as i64).wrapping_shr(b as u32) as u64,
        BPF_LSH => (a as u32).wrapping_shl(b as u32).into(),
        BPF_RSH => (a as u32).wrapping_shr(b as u32).into(),
        BPF_ARSH => (a as i32).wrapping_shr(b as u32) as u64,
        _ => return None,
    };
    Some(if is_wide {
        wide
    } else {
        wide & u64::from(u32::MAX)
    })
}

/// Whether a branch is always taken, or never.
fn is_taken(op: &Op, state: &State) -> Option<bool> {
    let (a, b) = (state[op.dst()]?, second(op, state)?);
    let (a, b, signed_a, signed_b) = match op.class() {
        BPF_JMP => (a, b, a as i64, b as i64),
        _ => {
            let (a, b) = (a as u32, b as u32);
            (a.into(), b.into(), (a as i32).into(), (b as i32).into())
        }
    };
    Some(match op.operation() {
        BPF_JEQ => a == b,
        BPF_JNE => a != b,
        BPF_JGT => a > b,
        BPF_JGE => a >= b,
        BPF_JLT => a < b,
        BPF_JLE => a <= b,
        BPF_JSET => a & b != 0,
        BPF_JSGT => signed_a > signed_b,
        BPF_JSGE => signed_a >= signed_b,
        BPF_JSLT => signed_a < signed_b,
        BPF_JSLE => signed_a <= signed_b,
        _ => return None,
    })
}

/// An instruction's own number for a register's, if it can say that one.
fn immediate(value: u64, is_wide: bool) -> Option<i32> {
    let narrow = value as i32;
    (!is_wide || i64::from(narrow) as u64 == value).then_some(narrow)
}

fn fold_branch(op: &mut Op, state: &State) -> bool {
    match is_taken(op, state) {
        Some(true) => {
            op.make_goto(op.to);
            true
        }
        // To where it goes anyway.
        Some(false) => op.make_nothing(),
        None => {
            let is_wide = op.class() != BPF_JMP32;
            take_immediate(op, state, is_wide)
        }
    }
}

fn fold_arithmetic(op: &mut Op, state: &State) -> bool {
    if op.is_unary() || op.is_move() && !op.is_by_register() {
        return false;
    }
    let set = result(op, state).and_then(|value| {
        if let Ok(value) = u32::try_from(value) {
            return Some((BPF_ALU, value as i32));
        }
        immediate(value, true).map(|value| (BPF_ALU64, value))
    });
    if let Some((class, value)) = set {
        op.insn.code = (class | BPF_MOV | BPF_K) as u8;
        op.insn.set_src_reg(0);
        op.insn.imm = value;
        return true;
    }
    let is_wide = op.class() == BPF_ALU64;
    match op.operation() {
        // By zero, or by more bits than there are, is refused.
        BPF_ADD | BPF_SUB | BPF_MUL | BPF_OR | BPF_AND | BPF_XOR | BPF_MOV => {
            take_immediate(op, state, is_wide)
        }
        _ => false,
    }
}

/// Puts a constant in place of the second register.
fn take_immediate(op: &mut Op, state: &State, is_wide: bool) -> bool {
    if !op.is_by_register() {
        return false;
    }
    let Some(value) = state[op.src()].and_then(|value| immediate(value, is_wide)) else {
        return false;
    };
    op.insn.code &= !(BPF_X as u8);
    op.insn.set_src_reg(0);
    op.insn.imm = value;
    true
}
