//! What nobody reaches and what nobody uses.

use super::code::{Code, Op, Set};
use aya_obj::generated::BPF_ALU64;

/// Jumps that are followed, each to the next: there may be some that go round.
const MAX_DETOURS: usize = 16;

/// Removes instructions that are never reached, whose result is not used, or that only jump to what comes next.
pub(super) fn remove(code: &mut Code) {
    loop {
        let before = code.ops.len();
        keep(code, &reached(code));
        let used = used_after(code);
        let needed: Vec<bool> = code
            .ops
            .iter()
            .zip(&used)
            .map(|(op, used)| {
                let effects = op.effects();
                !op.is_nothing() && (!effects.is_pure || effects.writes & used != 0)
            })
            .collect();
        keep(code, &needed);
        without_detours(code);
        let jumps_on: Vec<bool> = code
            .ops
            .iter()
            .enumerate()
            .map(|(at, op)| op.to != Some(at + 1))
            .collect();
        keep(code, &jumps_on);
        if code.ops.len() == before {
            return;
        }
    }
}

/// The registers that somebody reads after each instruction before they are written again.
pub(super) fn used_after(code: &Code) -> Vec<Set> {
    let mut before: Vec<Set> = vec![0; code.ops.len()];
    let mut after = before.clone();
    loop {
        let mut changed = false;
        for (at, op) in code.ops.iter().enumerate().rev() {
            let effects = op.effects();
            let used = code.next(at).fold(0, |used, next| {
                used | before.get(next).copied().unwrap_or_default()
            });
            after[at] = used;
            let reads = match effects.is_pure && effects.writes & used == 0 {
                true => used,
                false => used & !effects.writes | effects.reads,
            };
            changed |= before[at] != reads;
            before[at] = reads;
        }
        if !changed {
            return after;
        }
    }
}

fn reached(code: &Code) -> Vec<bool> {
    let mut reached = vec![false; code.ops.len()];
    let mut starts = vec![0];
    while let Some(at) = starts.pop() {
        if let Some(reached) = reached.get_mut(at)
            && !std::mem::replace(reached, true)
        {
            starts.extend(code.next(at));
        }
    }
    reached
}

/// Lets jumps to a jump go where that one goes.
fn without_detours(code: &mut Code) {
    for at in 0..code.ops.len() {
        let Some(mut to) = code.ops[at].to else {
            continue;
        };
        for _ in 0..MAX_DETOURS {
            match code.ops[to] {
                op if op.is_goto() => to = op.to.unwrap_or(to),
                _ => break,
            }
        }
        code.ops[at].to = Some(to);
    }
}

/// Removes the other instructions; jumps to one go to the next that is left.
fn keep(code: &mut Code, kept: &[bool]) {
    let mut places = Vec::with_capacity(kept.len());
    let mut len = 0;
    for &kept in kept {
        places.push(len);
        len += usize::from(kept);
    }
    let mut at = 0;
    code.ops.retain(|_| {
        at += 1;
        kept[at - 1]
    });
    for op in &mut code.ops {
        op.to = op.to.map(|to| places[to]);
    }
}

impl Op {
    /// Puts a register into itself.
    fn is_nothing(&self) -> bool {
        self.class() == BPF_ALU64
            && self.is_move()
            && self.is_by_register()
            && self.dst() == self.src()
    }
}
