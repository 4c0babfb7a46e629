//! A program whose jumps say where they go, and what each of its instructions does with registers.

use aya_obj::generated::{
    BPF_ALU, BPF_ALU64, BPF_ATOMIC, BPF_CALL, BPF_DW, BPF_END, BPF_EXIT, BPF_IMM, BPF_JA, BPF_JMP,
    BPF_JMP32, BPF_JSLE, BPF_LD, BPF_LDX, BPF_MEM, BPF_MOV, BPF_NEG, BPF_PSEUDO_CALL,
    BPF_PSEUDO_FUNC, BPF_ST, BPF_STX, BPF_X, BPF_XCHG, bpf_insn,
};

/// Registers, with the one for the stack.
pub(super) const REGISTERS: usize = 11;
/// The one for the stack.
pub(super) const FRAME: usize = 10;

/// The bits of a code that say which class it is of, which operation it is, and how memory is meant.
const CLASS: u32 = 0x07;
const OPERATION: u32 = 0xf0;
const MODE: u32 = 0xe0;
/// Loads 64 bits.
const LOAD_64: u32 = BPF_LD | BPF_IMM | BPF_DW;
/// The bit by which an atomic operation gives what was there before.
const FETCH: u32 = 0x01;
/// The others are loads and stores in disguise.
const MAX_ATOMIC: u32 = 0xff;
/// Those that a call overwrites, and those that it takes: how many there are is not looked up.
const OVERWRITTEN: Set = 0b11_1111;
const ARGUMENTS: Set = 0b11_1110;

/// Registers, a bit for each.
pub(super) type Set = u16;

/// An instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub(super) insn: bpf_insn,
    /// The second half of a load of 64 bits.
    pub(super) upper: Option<bpf_insn>,
    /// Where it jumps: a place in [`Code::ops`].
    pub(super) to: Option<usize>,
}

/// What an instruction does with registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effects {
    pub(super) reads: Set,
    pub(super) writes: Set,
    /// It does nothing but to write a register.
    pub(super) is_pure: bool,
}

/// A program.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) ops: Vec<Op>,
}

impl Code {
    /// `None` if there is an instruction that is not understood.
    pub(super) fn of(program: &[bpf_insn]) -> Option<Self> {
        // By the place in the program.
        let mut places = vec![None; program.len()];
        let mut ops = Vec::with_capacity(program.len());
        let mut starts = Vec::with_capacity(program.len());
        let mut at = 0;
        while let Some(&insn) = program.get(at) {
            places[at] = Some(ops.len());
            starts.push(at);
            let is_long = u32::from(insn.code) == LOAD_64;
            let upper = match is_long {
                true => Some(*program.get(at + 1)?),
                false => None,
            };
            let op = Op {
                insn,
                upper,
                to: None,
            };
            if !op.is_understood() {
                return None;
            }
            ops.push(op);
            at += 1 + usize::from(is_long);
        }
        for (op, start) in ops.iter_mut().zip(starts) {
            if op.is_jump() {
                let to = (start + 1).checked_add_signed(op.insn.off.into())?;
                op.to = Some((*places.get(to)?)?);
            }
        }
        // What comes behind the last one is not the program's.
        let last = ops.last()?;
        (last.is_exit() || last.is_goto()).then_some(Self { ops })
    }

    /// `None` if a jump is farther than an instruction can say.
    pub(super) fn instructions(&self) -> Option<Vec<bpf_insn>> {
        let mut len = 0;
        let mut places = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            places.push(len);
            len += 1 + usize::from(op.upper.is_some());
        }
        let mut program = Vec::with_capacity(len);
        for (op, &place) in self.ops.iter().zip(&places) {
            let mut insn = op.insn;
            if let Some(to) = op.to {
                let distance = *places.get(to)? as isize - place as isize - 1;
                insn.off = i16::try_from(distance).ok()?;
            }
            program.push(insn);
            program.extend(op.upper);
        }
        Some(program)
    }

    /// The places that control may go to from this one.
    pub(super) fn next(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let op = &self.ops[at];
        let through = !op.is_exit() && !op.is_goto();
        through.then_some(at + 1).into_iter().chain(op.to)
    }

    /// Puts an instruction behind each of these places, which are in order.
    pub(super) fn insert(&mut self, behind: &[(usize, Op)]) {
        if behind.is_empty() {
            return;
        }
        let mut inserted = behind.iter().peekable();
        let mut places = Vec::with_capacity(self.ops.len());
        let mut ops = Vec::with_capacity(self.ops.len() + behind.len());
        for (at, op) in self.ops.iter().enumerate() {
            places.push(ops.len());
            ops.push(*op);
            ops.extend(
                inserted
                    .next_if(|(place, _)| *place == at)
                    .map(|(_, op)| *op),
            );
        }
        for op in &mut ops {
            op.to = op.to.map(|to| places[to]);
        }
        self.ops = ops;
    }

    /// The places that something jumps to.
    pub(super) fn targets(&self) -> Vec<bool> {
        let mut targets = vec![false; self.ops.len()];
        for to in self.ops.iter().filter_map(|op| op.to) {
            targets[to] = true;
        }
        targets
    }
}

impl Op {
    /// Makes a jump of it that always goes there.
    pub(super) fn make_goto(&mut self, to: Option<usize>) {
        self.make(BPF_JMP | BPF_JA, to);
    }

    /// Makes an instruction of it that does nothing, to be removed: it puts a register into itself. Says that this is a change.
    pub(super) fn make_nothing(&mut self) -> bool {
        self.make(BPF_ALU64 | BPF_MOV | BPF_X, None);
        true
    }

    /// Another instruction, with no more than this.
    fn make(&mut self, code: u32, to: Option<usize>) {
        self.insn.code = code as u8;
        self.insn.set_dst_reg(0);
        self.insn.set_src_reg(0);
        self.insn.off = 0;
        self.insn.imm = 0;
        self.upper = None;
        self.to = to;
    }

    pub(super) fn class(&self) -> u32 {
        u32::from(self.insn.code) & CLASS
    }

    /// Of arithmetic or of a jump.
    pub(super) fn operation(&self) -> u32 {
        u32::from(self.insn.code) & OPERATION
    }

    pub(super) fn dst(&self) -> usize {
        self.insn.dst_reg().into()
    }

    pub(super) fn src(&self) -> usize {
        self.insn.src_reg().into()
    }

    pub(super) fn is_arithmetic(&self) -> bool {
        matches!(self.class(), BPF_ALU | BPF_ALU64)
    }

    /// It loads from memory.
    pub(super) fn is_load(&self) -> bool {
        self.class() == BPF_LDX
    }

    pub(super) fn is_store(&self) -> bool {
        matches!(self.class(), BPF_ST | BPF_STX)
    }

    /// Loads 64 bits that are in the instruction.
    pub(super) fn is_load_64(&self) -> bool {
        self.upper.is_some()
    }

    pub(super) fn is_exit(&self) -> bool {
        u32::from(self.insn.code) == BPF_JMP | BPF_EXIT
    }

    pub(super) fn is_goto(&self) -> bool {
        u32::from(self.insn.code) == BPF_JMP | BPF_JA
    }

    fn is_call(&self) -> bool {
        u32::from(self.insn.code) == BPF_JMP | BPF_CALL
    }

    /// It jumps, always or if something holds.
    fn is_jump(&self) -> bool {
        matches!(self.class(), BPF_JMP | BPF_JMP32) && !self.is_call() && !self.is_exit()
    }

    /// It jumps if something holds.
    pub(super) fn is_branch(&self) -> bool {
        self.is_jump() && !self.is_goto()
    }

    /// Whether the second operand is a register, of an operation that has two.
    pub(super) fn is_by_register(&self) -> bool {
        u32::from(self.insn.code) & BPF_X != 0
    }

    /// An operation with one operand, whose code has another meaning for that bit.
    pub(super) fn is_unary(&self) -> bool {
        matches!(self.operation(), BPF_NEG | BPF_END)
    }

    pub(super) fn is_move(&self) -> bool {
        self.is_arithmetic() && self.operation() == BPF_MOV
    }

    /// The instructions that compilers and the assembler write.
    fn is_understood(&self) -> bool {
        let code = u32::from(self.insn.code);
        let registers = self.dst() < REGISTERS && self.src() < REGISTERS;
        let plain = match self.class() {
            // With something in `off` it has a sign, or is of another kind.
            BPF_ALU | BPF_ALU64 => self.insn.off == 0 && self.operation() <= BPF_END,
            // One of a function is a distance to it.
            BPF_LD => code == LOAD_64 && u32::from(self.insn.src_reg()) != BPF_PSEUDO_FUNC,
            BPF_LDX | BPF_ST => code & MODE == BPF_MEM,
            BPF_STX if code & MODE == BPF_ATOMIC => self.insn.imm as u32 <= MAX_ATOMIC,
            BPF_STX => code & MODE == BPF_MEM,
            BPF_JMP if self.is_call() => self.insn.src_reg() != BPF_PSEUDO_CALL as u8,
            BPF_JMP if self.is_exit() || self.is_goto() => true,
            // Those, and a jump of 32 bits that always goes, are no branches.
            _ => {
                !matches!(self.operation(), BPF_JA | BPF_CALL | BPF_EXIT)
                    && self.operation() <= BPF_JSLE
            }
        };
        registers && plain
    }

    pub(super) fn effects(&self) -> Effects {
        let (dst, src): (Set, Set) = (1 << self.dst(), 1 << self.src());
        let second = if self.is_by_register() { src } else { 0 };
        let effects = |reads, writes, is_pure| Effects {
            reads,
            writes,
            is_pure,
        };
        match self.class() {
            _ if self.is_arithmetic() && self.is_unary() => effects(dst, dst, true),
            _ if self.is_move() => effects(second, dst, true),
            _ if self.is_arithmetic() => effects(dst | second, dst, true),
            BPF_LD => effects(0, dst, true),
            BPF_LDX => effects(src, dst, true),
            BPF_ST => effects(dst, 0, false),
            BPF_STX => self.effects_of_store(dst, src),
            _ if self.is_call() => effects(ARGUMENTS, OVERWRITTEN, false),
            _ if self.is_exit() => effects(1, 0, false),
            _ if self.is_goto() => effects(0, 0, false),
            _ => effects(dst | second, 0, false),
        }
    }

    fn effects_of_store(&self, dst: Set, src: Set) -> Effects {
        let is_atomic = u32::from(self.insn.code) & MODE == BPF_ATOMIC;
        let operation = self.insn.imm as u32;
        let mut effects = Effects {
            reads: dst | src,
            writes: 0,
            is_pure: false,
        };
        if is_atomic && operation & FETCH != 0 {
            effects.writes = src;
            // To compare and exchange takes the register 0, and writes that alone.
            if operation & OPERATION > BPF_XCHG & OPERATION {
                effects.reads |= 1;
                effects.writes = 1;
            }
        }
        effects
    }
}

/// The registers of a set.
pub(super) fn each(set: Set) -> impl Iterator<Item = usize> {
    (0..REGISTERS).filter(move |register| set & 1 << register != 0)
}
