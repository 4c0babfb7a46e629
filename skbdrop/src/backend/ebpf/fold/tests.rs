//! Folded programs do what they did.

use super::{super::object, code::FRAME, *};
use aya_obj::{
    Object,
    generated::{
        BPF_ADD, BPF_ALU, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_ATOMIC, BPF_B, BPF_CALL, BPF_CMPXCHG,
        BPF_DIV, BPF_DW, BPF_END, BPF_EXIT, BPF_FETCH, BPF_H, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE,
        BPF_JGT, BPF_JLE, BPF_JLT, BPF_JMP, BPF_JMP32, BPF_JNE, BPF_JSET, BPF_JSGE, BPF_JSGT,
        BPF_JSLE, BPF_JSLT, BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MOD, BPF_MOV, BPF_MUL,
        BPF_NEG, BPF_OR, BPF_PSEUDO_FUNC, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB, BPF_TO_BE, BPF_W,
        BPF_X, BPF_XCHG, BPF_XOR,
    },
};
use skbdrop_ebpf::Config;
use std::collections::BTreeMap;

const STACK: u64 = 0x5_0000;
/// More than any of these programs takes: their jumps go forward.
const PATIENCE: usize = 10_000;

fn insn(code: u32, dst: usize, src: usize, off: i16, imm: i32) -> bpf_insn {
    bpf_insn {
        code: code as u8,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(dst as u8, src as u8),
        off,
        imm,
    }
}

/// What a program does that can be seen from outside.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: u64,
    stored: BTreeMap<u64, u8>,
    calls: Vec<[u64; 5]>,
    /// How many instructions it took.
    steps: usize,
}

impl Outcome {
    fn load(&self, from: u64, width: u64) -> u64 {
        let byte = |n: u64| {
            let place = from.wrapping_add(n);
            let there = self.stored.get(&place);
            u64::from(there.copied().unwrap_or(mix(place) as u8))
        };
        (0..width).fold(0, |value, n| value | byte(n) << (8 * n))
    }

    fn store(&mut self, to: u64, width: u64, value: u64) {
        for n in 0..width {
            let place = to.wrapping_add(n);
            self.stored.insert(place, (value >> (8 * n)) as u8);
        }
    }
}

/// Numbers that look like any.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ mixed >> 32
}

/// Runs a program by the manual of the instructions. There is memory everywhere, with something in it.
fn run(program: &[bpf_insn], argument: u64) -> Outcome {
    let mut registers = [0u64; 11];
    registers[1] = argument;
    registers[FRAME] = STACK;
    let mut outcome = Outcome {
        result: 0,
        stored: BTreeMap::new(),
        calls: Vec::new(),
        steps: 0,
    };
    let mut at = 0usize;
    loop {
        outcome.steps += 1;
        assert!(outcome.steps < PATIENCE, "it does not end");
        let op = program[at];
        let code = u32::from(op.code);
        let (dst, src) = (usize::from(op.dst_reg()), usize::from(op.src_reg()));
        let address = |base: usize| registers[base].wrapping_add(i64::from(op.off) as u64);
        let width = match code & 0x18 {
            BPF_B => 1,
            BPF_H => 2,
            BPF_W => 4,
            _ => 8,
        };
        let by_register = code & BPF_X != 0;
        let second = if by_register {
            registers[src]
        } else {
            i64::from(op.imm) as u64
        };
        let first = registers[dst];
        at += 1;
        match code & 0x07 {
            BPF_ALU | BPF_ALU64 => {
                let wide = code & 0x07 == BPF_ALU64;
                let shift = second as u32 % if wide { 64 } else { 32 };
                let narrow = first as u32;
                let result = match code & 0xf0 {
                    BPF_MOV => second,
                    BPF_ADD => first.wrapping_add(second),
                    BPF_SUB => first.wrapping_sub(second),
                    BPF_MUL => first.wrapping_mul(second),
                    BPF_DIV if wide => first.checked_div(second).unwrap_or(0),
                    BPF_DIV => u64::from(narrow.checked_div(second as u32).unwrap_or(0)),
                    BPF_MOD if wide => first.checked_rem(second).unwrap_or(first),
                    BPF_MOD => u64::from(narrow.checked_rem(second as u32).unwrap_or(narrow)),
                    BPF_OR => first | second,
                    BPF_AND => first & second,
                    BPF_XOR => first ^ second,
                    BPF_LSH if wide => first << shift,
                    BPF_RSH if wide => first >> shift,
                    BPF_ARSH if wide => (first as i64 >> shift) as u64,
                    BPF_LSH => u64::from(narrow << shift),
                    BPF_RSH => u64::from(narrow >> shift),
                    BPF_ARSH => (narrow as i32 >> shift) as u64,
                    BPF_NEG => first.wrapping_neg(),
                    BPF_END => u64::from((first as u16).swap_bytes()),
                    other => panic!("operation {other:#x}"),
                };
                registers[dst] = if wide { result } else { result & 0xffff_ffff };
            }
            BPF_LD => {
                registers[dst] = u64::from(program[at].imm as u32) << 32 | u64::from(op.imm as u32);
                at += 1;
            }
            BPF_LDX => registers[dst] = outcome.load(address(src), width),
            BPF_ST => outcome.store(address(dst), width, i64::from(op.imm) as u64),
            BPF_STX if code & 0xe0 == BPF_ATOMIC => {
                let to = address(dst);
                let old = outcome.load(to, width);
                let operation = op.imm as u32;
                // Each of the width's bits.
                let is_equal = (old ^ registers[0]) << (64 - 8 * width) == 0;
                let new = match operation & !BPF_FETCH {
                    BPF_ADD => old.wrapping_add(registers[src]),
                    BPF_OR => old | registers[src],
                    _ if operation == BPF_XCHG || is_equal => registers[src],
                    _ => old,
                };
                outcome.store(to, width, new);
                match operation {
                    BPF_CMPXCHG => registers[0] = old,
                    _ if operation & BPF_FETCH != 0 => registers[src] = old,
                    _ => {}
                }
            }
            BPF_STX => outcome.store(address(dst), width, registers[src]),
            class => match code & 0xf0 {
                BPF_EXIT => {
                    outcome.result = registers[0];
                    return outcome;
                }
                BPF_CALL => {
                    let arguments = [1, 2, 3, 4, 5].map(|n: usize| registers[n]);
                    let sum = arguments.iter().fold(0, |sum, n| mix(sum ^ n));
                    outcome.calls.push(arguments);
                    for (n, register) in registers.iter_mut().take(6).enumerate() {
                        *register = mix(sum ^ n as u64);
                    }
                }
                comparison => {
                    let bits = |value: u64| match class {
                        BPF_JMP32 => i64::from(value as u32 as i32),
                        _ => value as i64,
                    };
                    let (a, b) = (bits(first), bits(second));
                    let (c, d) = match class {
                        BPF_JMP32 => (u64::from(a as u32), u64::from(b as u32)),
                        _ => (a as u64, b as u64),
                    };
                    let taken = match comparison {
                        BPF_JA => true,
                        BPF_JEQ => c == d,
                        BPF_JNE => c != d,
                        BPF_JGT => c > d,
                        BPF_JGE => c >= d,
                        BPF_JLT => c < d,
                        BPF_JLE => c <= d,
                        BPF_JSET => c & d != 0,
                        BPF_JSGT => a > b,
                        BPF_JSLT => a < b,
                        BPF_JSGE => a >= b,
                        BPF_JSLE => a <= b,
                        other => panic!("comparison {other:#x}"),
                    };
                    if taken {
                        at = at.checked_add_signed(op.off.into()).expect("a place");
                    }
                }
            },
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) >> 8) as usize % most
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const OPERATIONS: [u32; 12] = [
    BPF_MOV, BPF_ADD, BPF_SUB, BPF_MUL, BPF_OR, BPF_AND, BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH,
    BPF_DIV, BPF_MOD,
];
const COMPARISONS: [u32; 11] = [
    BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE, BPF_JSET, BPF_JSGT, BPF_JSLT, BPF_JSGE,
    BPF_JSLE,
];
const ATOMIC: [u32; 6] = [
    BPF_ADD,
    BPF_ADD | BPF_FETCH,
    BPF_OR,
    BPF_OR | BPF_FETCH,
    BPF_XCHG,
    BPF_CMPXCHG,
];
const NUMBERS: [i32; 10] = [0, 1, 2, 8, 40, 65, 0x7fff, -1, i32::MIN, 0x1234_5678];

/// Instructions of all kinds at random, with many constants and additions to addresses, and jumps that go forward.
fn program(random: &mut Random, len: usize) -> Vec<bpf_insn> {
    let mut program: Vec<bpf_insn> = (0..10)
        .filter(|&register| register != 1)
        .map(|register| insn(BPF_ALU | BPF_MOV | BPF_K, register, 0, 0, register as i32))
        .collect();
    for _ in 0..len {
        let (dst, src) = (random.below(10), random.below(10));
        let number = random.of(&NUMBERS);
        let class = random.of(&[BPF_ALU, BPF_ALU64]);
        let width = random.of(&[BPF_B, BPF_H, BPF_W, BPF_DW]);
        let off = random.of(&[0, 8, 40, -16, i16::MAX]);
        let in_stack = -8 * (1 + random.below(4) as i16);
        match random.below(17) {
            0..=2 => program.push(insn(class | BPF_MOV | BPF_K, dst, 0, 0, number)),
            3 => program.push(insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)),
            4 => {
                let operation = random.of(&OPERATIONS);
                program.push(insn(class | operation | BPF_X, dst, src, 0, 0));
            }
            5 => {
                let operation = random.of(&OPERATIONS[..7]);
                program.push(insn(class | operation | BPF_K, dst, 0, 0, number));
            }
            6 => {
                let operation = random.of(&[BPF_ADD, BPF_SUB]);
                program.push(insn(BPF_ALU64 | operation | BPF_K, dst, 0, 0, number));
            }
            7 => program.extend([
                insn(BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, number),
                insn(0, 0, 0, 0, random.of(&NUMBERS)),
            ]),
            8 => program.push(insn(BPF_LDX | BPF_MEM | width, dst, src, off, 0)),
            9 => program.push(insn(BPF_STX | BPF_MEM | width, FRAME, src, in_stack, 0)),
            10 => program.push(insn(BPF_LDX | BPF_MEM | width, dst, FRAME, in_stack, 0)),
            11 => program.push(insn(BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, 16)),
            12 => program.push(insn(class | BPF_NEG, dst, 0, 0, 0)),
            // An address, behind another.
            13 => program.extend([
                insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0),
                insn(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, number),
                insn(BPF_LDX | BPF_MEM | width, random.below(10), dst, off, 0),
            ]),
            // What is compared is what is there.
            14 => program.extend([
                insn(BPF_LDX | BPF_MEM | BPF_DW, 0, FRAME, in_stack, 0),
                insn(
                    BPF_STX | BPF_ATOMIC | BPF_DW,
                    FRAME,
                    src,
                    in_stack,
                    BPF_CMPXCHG as i32,
                ),
            ]),
            15 => program.push(match random.below(5) {
                0 => insn(BPF_JMP | BPF_CALL, 0, 0, 0, 1),
                1 => {
                    let (code, act) = (BPF_STX | BPF_ATOMIC, random.of(&ATOMIC) as i32);
                    let width = random.of(&[BPF_W, BPF_DW]);
                    insn(code | width, random.of(&[FRAME, dst]), src, in_stack, act)
                }
                3 => insn(
                    BPF_ST | BPF_MEM | width,
                    random.of(&[FRAME, dst]),
                    0,
                    in_stack,
                    number,
                ),
                2 => insn(BPF_STX | BPF_MEM | BPF_DW, dst, src, off, 0),
                _ => insn(BPF_JMP | BPF_JA, 0, 0, 1, 0),
            }),
            _ => {
                let class = random.of(&[BPF_JMP, BPF_JMP32]);
                let source = random.of(&[BPF_K, BPF_X]);
                let code = class | random.of(&COMPARISONS) | source;
                let src = if source == BPF_X { src } else { 0 };
                program.push(insn(code, dst, src, random.below(6) as i16, number));
            }
        }
    }
    // For jumps beyond, which may skip the first of these.
    program.extend([insn(BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 0, 1); 6]);
    program.push(insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
    program
}

/// Jumps into the middle of a load of 64 bits are no program.
fn is_whole(program: &[bpf_insn]) -> bool {
    Code::of(program).is_some()
}

#[test]
fn folded_programs_do_the_same() {
    let mut random = Random(7);
    let (mut programs, mut before, mut after) = (0, 0, 0);
    while programs < 3000 {
        let len = random.below(60);
        let plain = program(&mut random, len);
        if !is_whole(&plain) {
            continue;
        }
        programs += 1;
        let folded = fold(&plain);
        assert!(is_whole(&folded), "{plain:?}");
        for argument in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let (one, other) = (run(&plain, argument), run(&folded, argument));
            before += one.steps;
            after += other.steps;
            let other = Outcome {
                steps: one.steps,
                ..other
            };
            assert_eq!(one, other, "{plain:?}\n{folded:?}");
        }
    }
    // Or it would be no wonder.
    assert!(after < before, "{after} of {before}");
}

#[test]
fn constants_go_into_what_uses_them() {
    let set = |register, number| insn(BPF_ALU | BPF_MOV | BPF_K, register, 0, 0, number);
    let exit = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    let plain = vec![
        // A question whose answer is known,
        set(2, 65),
        insn(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 64),
        insn(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 2, 0),
        set(0, 0),
        exit,
        // and a field at an offset that is.
        insn(BPF_LDX | BPF_MEM | BPF_DW, 3, 1, 0, 0),
        set(4, 180),
        insn(BPF_ALU64 | BPF_ADD | BPF_X, 3, 4, 0, 0),
        insn(BPF_LDX | BPF_MEM | BPF_H, 0, 3, 0, 0),
        exit,
    ];
    let folded = [
        insn(BPF_LDX | BPF_MEM | BPF_DW, 3, 1, 0, 0),
        insn(BPF_LDX | BPF_MEM | BPF_H, 0, 3, 180, 0),
        exit,
    ];
    assert_eq!(format!("{:?}", fold(&plain)), format!("{folded:?}"));
}

#[test]
fn what_is_not_understood_stays() {
    let exit = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    let set = insn(BPF_ALU | BPF_MOV | BPF_K, 0, 0, 0, 1);
    // A call of the program's own, a move with a sign, a jump of 32 bits, one out of the program, and no end.
    for strange in [
        insn(BPF_JMP | BPF_CALL, 0, 1, 0, 0),
        insn(BPF_ALU64 | BPF_MOV | BPF_X, 0, 0, 8, 0),
        insn(BPF_JMP32 | BPF_JA, 0, 0, 0, 0),
        insn(BPF_JMP | BPF_JA, 0, 0, 7, 0),
        insn(BPF_JMP | BPF_JA, 0, 0, -7, 0),
        insn(BPF_LDX | BPF_ATOMIC | BPF_W, 0, 1, 0, 0),
        // It takes what follows for its second half.
        insn(BPF_LD | BPF_IMM | BPF_DW, 0, BPF_PSEUDO_FUNC as usize, 0, 1),
    ] {
        let program = vec![set, strange, set, exit];
        assert_eq!(format!("{:?}", fold(&program)), format!("{program:?}"));
    }
    for program in [
        vec![],
        vec![set],
        vec![insn(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0)],
    ] {
        assert_eq!(format!("{:?}", fold(&program)), format!("{program:?}"));
    }
}

/// Each of the object's programs is understood.
#[test]
fn our_programs_are_understood() {
    let object = Object::parse(object::OBJECT).expect("an object");
    let words = Config::EMPTY.words();
    for (name, program) in &object.programs {
        let mut code = object.functions[&program.function_key()]
            .instructions
            .clone();
        for insn in &mut code {
            if let Some(word) = super::super::splice::set_number(insn).and_then(Config::placeheld) {
                insn.imm = words[word] as i32;
            }
        }
        let before = code.len();
        let folded = fold(&code);
        assert!(
            folded.len() * 2 < before,
            "{name}: {} of {before}",
            folded.len()
        );
        assert!(is_whole(&folded), "{name}");
    }
}
