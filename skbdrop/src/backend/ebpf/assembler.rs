//! eBPF instructions with labels for their jumps.

use crate::{Error, ErrorKind, Result};
use aya_obj::generated::{
    BPF_ALU, BPF_ALU64, BPF_CALL, BPF_DW, BPF_END, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT,
    BPF_JLE, BPF_JLT, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MOV,
    BPF_PSEUDO_KFUNC_CALL, BPF_STX, BPF_TO_BE, BPF_X, bpf_insn,
};

/// The bits of a jump's code that say what is compared how.
const COMPARISON: u32 = 0xf0;
/// How far a jump can go.
const MAX_JUMP: usize = i16::MAX as usize;
/// No more is written than this: it is too large even though [`Assembler::finish`] leaves some out, which is less than half.
const MAX_WRITTEN: usize = 2 * (MAX_JUMP + 1);

/// A place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A register by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

/// What an operation is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Reg(Reg),
    Imm(i32),
}

/// Code that is being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    items: Vec<Item>,
    labels: usize,
    /// Instructions among the items, and those that were not written any more.
    instructions: usize,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Instruction(bpf_insn),
    Jump(bpf_insn, Label),
    Label(Label),
}

impl Assembler {
    /// A label that is placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        self.items.push(Item::Label(label));
    }

    /// `to = *(size *)(base + offset)`; `size` is one of `BPF_B`, `BPF_H`, `BPF_W`, `BPF_DW`.
    pub(super) fn load(&mut self, size: u32, to: Reg, base: Reg, offset: i16) {
        self.push(BPF_LDX | BPF_MEM | size, to, base, offset, 0);
    }

    /// `*(u64 *)(base + offset) = from`
    pub(super) fn store(&mut self, base: Reg, offset: i16, from: Reg) {
        self.push(BPF_STX | BPF_MEM | BPF_DW, base, from, offset, 0);
    }

    /// A constant of 64 bits.
    pub(super) fn load_u64(&mut self, to: Reg, value: u64) {
        self.push(BPF_LD | BPF_IMM | BPF_DW, to, Reg(0), 0, value as i32);
        self.push(0, Reg(0), Reg(0), 0, (value >> 32) as i32);
    }

    /// `to = value`
    pub(super) fn set(&mut self, to: Reg, value: Operand) {
        self.op64(BPF_MOV, to, value);
    }

    /// An operation of 64 bits.
    pub(super) fn op64(&mut self, op: u32, to: Reg, with: Operand) {
        self.op(BPF_ALU64 | op, to, with);
    }

    /// An operation of 32 bits, which leaves zeros in the upper half.
    pub(super) fn op32(&mut self, op: u32, to: Reg, with: Operand) {
        self.op(BPF_ALU | op, to, with);
    }

    /// Turns the lower `bits` from network byte order into the machine's, with zeros above.
    pub(super) fn turn_from_network(&mut self, to: Reg, bits: i32) {
        self.push(BPF_ALU | BPF_END | BPF_TO_BE, to, Reg(0), 0, bits);
    }

    /// Calls a helper of the kernel.
    pub(super) fn call(&mut self, helper: u32) {
        self.push(BPF_JMP | BPF_CALL, Reg(0), Reg(0), 0, helper as i32);
    }

    pub(super) fn jump(&mut self, to: Label) {
        let code = BPF_JMP | BPF_JA;
        self.write(Item::Jump(instruction(code, Reg(0), Reg(0), 0, 0), to));
    }

    /// Jumps if the comparison of 64 bits holds.
    pub(super) fn jump64(&mut self, comparison: u32, left: Reg, right: Reg, to: Label) {
        let code = BPF_JMP | comparison | BPF_X;
        self.write(Item::Jump(instruction(code, left, right, 0, 0), to));
    }

    /// Jumps if the comparison of the lower 32 bits holds.
    pub(super) fn jump32(&mut self, comparison: u32, left: Reg, right: Operand, to: Label) {
        let code = BPF_JMP32 | comparison;
        let jump = match right {
            Operand::Reg(right) => instruction(code | BPF_X, left, right, 0, 0),
            Operand::Imm(right) => instruction(code | BPF_K, left, Reg(0), 0, right),
        };
        self.write(Item::Jump(jump, to));
    }

    /// The instructions. What is never reached is left out, as the kernel refuses it.
    ///
    /// # Errors
    ///
    /// A jump is farther than an instruction can say.
    pub(super) fn finish(self) -> Result<Vec<bpf_insn>> {
        if self.instructions > MAX_WRITTEN {
            return Err(too_large(MAX_WRITTEN));
        }
        let reached = self.reached();
        let kept: Vec<Item> = self
            .items
            .into_iter()
            .zip(reached)
            .filter_map(|(item, reached)| {
                (reached || matches!(item, Item::Label(_))).then_some(item)
            })
            .collect();
        // A jump to what comes next anyway is none.
        let mut items: Vec<Item> = Vec::with_capacity(kept.len());
        for (at, item) in kept.iter().enumerate() {
            if let Item::Jump(jump, to) = item
                && u32::from(jump.code) == BPF_JMP | BPF_JA
            {
                let labels = kept[at + 1..]
                    .iter()
                    .take_while(|next| matches!(next, Item::Label(_)));
                if labels
                    .into_iter()
                    .any(|next| matches!(next, Item::Label(label) if label == to))
                {
                    continue;
                }
            }
            items.push(*item);
        }
        let items = without_detours(items);
        let mut places = vec![0; self.labels];
        let mut at = 0;
        for item in &items {
            match item {
                Item::Label(label) => places[label.0] = at,
                Item::Instruction(_) | Item::Jump(..) => at += 1,
            }
        }
        let mut code = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Label(_) => {}
                Item::Instruction(instruction) => code.push(instruction),
                Item::Jump(mut jump, to) => {
                    jump.off = offset(code.len(), places[to.0])?;
                    code.push(jump);
                }
            }
        }
        Ok(code)
    }

    /// Which items can be reached from the first.
    fn reached(&self) -> Vec<bool> {
        let mut places = vec![0; self.labels];
        for (at, item) in self.items.iter().enumerate() {
            if let Item::Label(label) = item {
                places[label.0] = at;
            }
        }
        let mut reached = vec![false; self.items.len()];
        let mut starts = vec![0];
        while let Some(start) = starts.pop() {
            // Slices, as to skip what is before one by one would take the square of the time.
            for (item, reached) in self.items[start..].iter().zip(&mut reached[start..]) {
                if std::mem::replace(reached, true) {
                    break;
                }
                let ends = match item {
                    Item::Jump(jump, to) => {
                        starts.push(places[to.0]);
                        u32::from(jump.code) == BPF_JMP | BPF_JA
                    }
                    Item::Instruction(_) | Item::Label(_) => false,
                };
                if ends {
                    break;
                }
            }
        }
        reached
    }

    fn op(&mut self, code: u32, to: Reg, with: Operand) {
        match with {
            Operand::Reg(with) => self.push(code | BPF_X, to, with, 0, 0),
            Operand::Imm(with) => self.push(code | BPF_K, to, Reg(0), 0, with),
        }
    }

    fn push(&mut self, code: u32, dst: Reg, src: Reg, offset: i16, imm: i32) {
        self.write(Item::Instruction(instruction(code, dst, src, offset, imm)));
    }

    fn write(&mut self, item: Item) {
        self.instructions += 1;
        if self.instructions <= MAX_WRITTEN {
            self.items.push(item);
        }
    }
}

/// The same with a jump on the opposite in place of one over another jump: what is not jumped costs less.
fn without_detours(items: Vec<Item>) -> Vec<Item> {
    let mut straight: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        if let Item::Label(here) = item
            && let [.., Item::Jump(over, to), Item::Jump(other, far)] = straight[..]
            && to == here
            && u32::from(other.code) == BPF_JMP | BPF_JA
            && let Some(code) = opposite(over.code)
        {
            straight.truncate(straight.len() - 2);
            straight.push(Item::Jump(bpf_insn { code, ..over }, far));
        }
        straight.push(item);
    }
    straight
}

/// The comparison that holds where this one does not, if there is such.
fn opposite(code: u8) -> Option<u8> {
    const PAIRS: [(u32, u32); 3] = [(BPF_JEQ, BPF_JNE), (BPF_JGE, BPF_JLT), (BPF_JGT, BPF_JLE)];
    let comparison = u32::from(code) & COMPARISON;
    let (one, other) = PAIRS
        .into_iter()
        .find(|(one, other)| [*one, *other].contains(&comparison))?;
    let opposite = if comparison == one { other } else { one };
    Some((u32::from(code) - comparison + opposite) as u8)
}

/// A jump from one place to another.
///
/// # Errors
///
/// It is farther than an instruction can say.
pub(super) fn jump(from: usize, to: usize) -> Result<bpf_insn> {
    let code = BPF_JMP | BPF_JA;
    Ok(instruction(code, Reg(0), Reg(0), offset(from, to)?, 0))
}

/// `to = value`
pub(super) fn set(to: Reg, value: i32) -> bpf_insn {
    instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, Reg(0), 0, value)
}

/// Calls a function of the kernel by its number in the kernel's BTF.
pub(super) fn call_kernel(function: u32) -> bpf_insn {
    let kind = Reg(BPF_PSEUDO_KFUNC_CALL as u8);
    instruction(BPF_JMP | BPF_CALL, Reg(0), kind, 0, function as i32)
}

/// What a jump says of how far it goes: it counts from the next instruction.
fn offset(from: usize, to: usize) -> Result<i16> {
    i16::try_from(to as i64 - from as i64 - 1).map_err(|_| too_large(to.abs_diff(from)))
}

/// Wrong input, so that no other backend is taken in place of this one, on which the filter may hold for nothing.
fn too_large(instructions: usize) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "the filter is too large for the kernel: {instructions} instructions or more, where the kernel's jumps reach \
             {MAX_JUMP} (take fewer terms)"
        ),
    )
}

fn instruction(code: u32, dst: Reg, src: Reg, off: i16, imm: i32) -> bpf_insn {
    bpf_insn {
        code: code as u8,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(dst.0, src.0),
        off,
        imm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_find_their_labels_and_dead_code_goes() {
        let mut code = Assembler::default();
        let (end, next) = (code.label(), code.label());
        code.jump32(0x10, Reg(1), Operand::Imm(7), end);
        code.jump(next);
        code.set(Reg(0), Operand::Imm(1)); // nothing leads here
        code.place(next);
        code.load_u64(Reg(2), 1 << 40);
        code.place(end);
        let code = code.finish().expect("short jumps");
        let codes: Vec<(u8, i16)> = code.iter().map(|it| (it.code, it.off)).collect();
        // The conditional jump passes over the constant, which takes two.
        assert_eq!(codes, [(0x16, 2), (0x18, 0), (0, 0)]);
    }

    #[test]
    fn a_jump_over_a_jump_is_one_on_the_opposite() {
        for (code, opposite) in [(0x10, 0x56), (0x50, 0x16), (0x20, 0xb6), (0xa0, 0x36)] {
            let mut it = Assembler::default();
            let (yes, no) = (it.label(), it.label());
            it.jump32(code, Reg(1), Operand::Imm(7), yes);
            it.jump(no);
            it.place(yes);
            it.set(Reg(0), Operand::Imm(1));
            it.place(no);
            let it = it.finish().expect("short jumps");
            let codes: Vec<(u8, i16)> = it.iter().map(|it| (it.code, it.off)).collect();
            assert_eq!(codes, [(opposite, 1), (0xb7, 0)]);
        }
        // Of a question for any of some bits there is no opposite.
        assert_eq!(opposite(0x46), None);
    }

    #[test]
    fn jumps_too_far_are_refused() {
        let mut code = Assembler::default();
        let end = code.label();
        code.jump32(0x10, Reg(1), Operand::Imm(7), end);
        for _ in 0..40_000 {
            code.set(Reg(0), Operand::Imm(1));
        }
        code.place(end);
        let error = code.finish().expect_err("too far").to_string();
        assert!(error.contains("40001 instructions or more"), "{error}");
        assert!(error.contains("32767"), "{error}");
    }

    /// Many jumps to places far in the code, and more than is ever written: neither takes long or grows.
    #[test]
    fn what_is_far_too_large_is_refused_soon() {
        let mut code = Assembler::default();
        let end = code.label();
        for _ in 0..1_000_000 {
            code.jump32(0x10, Reg(1), Operand::Imm(7), end);
        }
        assert_eq!(code.items.len(), MAX_WRITTEN);
        code.place(end);
        let error = code.finish().expect_err("too large").to_string();
        assert!(error.contains("65536 instructions or more"), "{error}");
    }

    /// Every jump goes to a place of its own, which another path has reached already.
    #[test]
    fn many_jumps_do_not_take_the_square_of_the_time() {
        let mut code = Assembler::default();
        for _ in 0..MAX_WRITTEN {
            let next = code.label();
            code.jump32(0x10, Reg(1), Operand::Imm(7), next);
            code.place(next);
        }
        let began = std::time::Instant::now();
        assert_eq!(code.finish().expect("short jumps").len(), MAX_WRITTEN);
        let took = began.elapsed();
        assert!(took.as_secs() < 5, "{took:?}");
    }
}
