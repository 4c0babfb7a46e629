//! A tcpdump expression as instructions.

use super::{
    assembler::{Assembler, Label, Operand, Reg},
    filter::{VALUE, VIEW, at, emit, look},
};
use crate::{
    Error, Result,
    filter::{
        Expr,
        pcap::{Compare, Op, Program, Relation, Value},
    },
};
use aya_obj::generated::{
    BPF_ADD, BPF_AND, BPF_B, BPF_DIV, BPF_DW, BPF_H, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JLT, BPF_JNE,
    BPF_JSET, BPF_LSH, BPF_MOD, BPF_MOV, BPF_MUL, BPF_OR, BPF_RSH, BPF_SUB, BPF_W, BPF_XOR,
    bpf_func_id,
};
use skbdrop_ebpf::{
    ABSENT, Config,
    view::{SCRATCH, layer},
};
use std::mem::offset_of;

/// What a value comes to. It outlives calls of helpers.
const RESULT: Reg = Reg(7);
const RETURNED: Reg = VALUE;
/// Where the helper puts what it reads.
const READ_AT: i16 = at!(scratch);
/// Where the first left-hand value waits for its right-hand one; the next are behind.
const WAIT_AT: i16 = READ_AT + 8;
/// Left-hand values that wait at a time: the stack is small.
const MAX_WAITING: i16 = SCRATCH as i16 - 1;

/// Bytes that the view's window shows, or the view has.
const FIRST: u32 = skbdrop_ebpf::WINDOW;

/// The placeholder for where the window is.
const WINDOW: u32 = Config::placeholder(offset_of!(Config, window) / size_of::<u32>());

/// What the code of an expression is written with.
#[derive(Clone, Copy)]
struct Given {
    /// Where a packet goes that ends too early: it is not accepted, whatever the expression makes of the rest.
    rejected: Label,
    /// Words of the packet's first bytes that the view has, a bit for each.
    copied: u32,
    /// As many bytes the packet has, as was found out on all ways here.
    there: u32,
}

/// Code that goes to `yes` if the expression accepts the packet, else to `no`.
pub(super) fn emit_program(
    code: &mut Assembler,
    program: &Program,
    yes: Label,
    no: Label,
) -> Result<()> {
    for (kind, expr) in [
        (layer::ETHERNET, &program.ethernet),
        (layer::NETWORK, &program.network),
    ] {
        let other = code.label();
        look(code, BPF_W, at!(layer));
        code.jump32(BPF_JNE, RETURNED, Operand::Imm(kind as i32), other);
        let copied = looked_at_again(expr);
        copy(code, copied);
        emit(
            code,
            expr,
            yes,
            no,
            0,
            &mut |code, compare: &Compare, yes, other, there| {
                let mut given = Given {
                    rejected: no,
                    copied,
                    there,
                };
                emit_compare(code, compare, yes, other, &mut given)?;
                Ok(given.there)
            },
        )?;
        code.place(other);
    }
    code.jump(no);
    Ok(())
}

/// Words of the packet's first bytes that are looked at more than once.
fn looked_at_again(expr: &Expr<Compare>) -> u32 {
    let (mut once, mut again) = (0, 0);
    expr.for_each(&mut |compare| {
        compare.for_each(&mut |value| {
            if let Value::Load {
                base: None,
                at,
                size,
            } = value
            {
                let words = words(*at, *size);
                again |= once & words;
                once |= words;
            }
        });
    });
    again
}

/// The words that these bytes are in, a bit for each; none if they are not among the first.
fn words(at: u32, size: u8) -> u32 {
    let end = at.saturating_add(size.into());
    if end > FIRST {
        return 0;
    }
    (at / 8..end.div_ceil(8)).fold(0, |words, word| words | 1 << word)
}

/// Copies words to the view, once for all loads. Without a window they are there.
fn copy(code: &mut Assembler, words: u32) {
    if words == 0 {
        return;
    }
    let window = Reg(1);
    let done = code.label();
    unless_window(code, window, done);
    code.load(BPF_DW, window, VIEW, at!(window));
    for word in (0..FIRST as i16 / 8).filter(|word| words & 1 << word != 0) {
        code.load(BPF_DW, RETURNED, window, 8 * word);
        code.store(VIEW, at!(head) + 8 * word, RETURNED);
    }
    code.place(done);
}

fn emit_compare(
    code: &mut Assembler,
    compare: &Compare,
    yes: Label,
    no: Label,
    given: &mut Given,
) -> Result<()> {
    let comparison = match compare.relation {
        Relation::Equal => BPF_JEQ,
        Relation::Greater => BPF_JGT,
        Relation::AtLeast => BPF_JGE,
        Relation::AnyBit => BPF_JSET,
    };
    let right = pair(code, &compare.left, &compare.right, 0, given)?;
    code.jump32(comparison, RESULT, right, yes);
    code.jump(no);
    Ok(())
}

/// Computes both; the left is in [`RESULT`] then, and the right where this says.
fn pair(
    code: &mut Assembler,
    left: &Value,
    right: &Value,
    waiting: i16,
    given: &mut Given,
) -> Result<Operand> {
    value(code, left, waiting, given)?;
    if let Value::Const(right) = right {
        return Ok(Operand::Imm(*right as i32));
    }
    if waiting >= MAX_WAITING {
        return Err(Error::not_supported(
            "the arithmetic of the tcpdump expression is nested too deep for the kernel",
        ));
    }
    let place = WAIT_AT + 8 * waiting;
    code.store(VIEW, place, RESULT);
    value(code, right, waiting + 1, given)?;
    let other = Reg(2);
    code.set(other, Operand::Reg(RESULT));
    code.load(BPF_DW, RESULT, VIEW, place);
    Ok(Operand::Reg(other))
}

/// Computes a value into [`RESULT`], with zeros in its upper half.
fn value(code: &mut Assembler, wanted: &Value, waiting: i16, given: &mut Given) -> Result<()> {
    match wanted {
        Value::Const(number) => code.op32(BPF_MOV, RESULT, Operand::Imm(*number as i32)),
        Value::Length => code.load(BPF_W, RESULT, VIEW, at!(length)),
        Value::Protocol => code.load(BPF_W, RESULT, VIEW, at!(protocol)),
        Value::Load {
            base: None,
            at,
            size,
        } => load_at(code, *at, *size, given),
        Value::Load {
            base: Some(base),
            at,
            size,
        } => {
            value(code, base, waiting, given)?;
            load_behind(code, *at, *size, given.rejected);
        }
        Value::Op(op, left, right) => {
            let right = pair(code, left, right, waiting, given)?;
            operate(code, *op, right, given.rejected);
        }
    }
    Ok(())
}

fn operate(code: &mut Assembler, op: Op, right: Operand, rejected: Label) {
    let plain = match op {
        Op::Add => BPF_ADD,
        Op::Sub => BPF_SUB,
        Op::Mul => BPF_MUL,
        Op::And => BPF_AND,
        Op::Or => BPF_OR,
        Op::Xor => BPF_XOR,
        Op::Div | Op::Mod => {
            match right {
                // The parser refuses it; the kernel would as well.
                Operand::Imm(0) => return code.jump(rejected),
                Operand::Imm(_) => {}
                Operand::Reg(right) => code.jump32(BPF_JEQ, right, Operand::Imm(0), rejected),
            }
            if op == Op::Div { BPF_DIV } else { BPF_MOD }
        }
        Op::Left | Op::Right => {
            return shift(code, if op == Op::Left { BPF_LSH } else { BPF_RSH }, right);
        }
    };
    code.op32(plain, RESULT, right);
}

/// eBPF takes the distance of a shift modulo 32.
fn shift(code: &mut Assembler, op: u32, by: Operand) {
    match by {
        Operand::Imm(by @ 0..=31) => code.op32(op, RESULT, Operand::Imm(by)),
        Operand::Imm(_) => code.set(RESULT, Operand::Imm(0)),
        Operand::Reg(by) => {
            let (near, done) = (code.label(), code.label());
            code.jump32(BPF_JLT, by, Operand::Imm(32), near);
            code.set(RESULT, Operand::Imm(0));
            code.jump(done);
            code.place(near);
            code.op32(op, RESULT, Operand::Reg(by));
            code.place(done);
        }
    }
}

/// Loads from a place that is known now.
fn load_at(code: &mut Assembler, at: u32, size: u8, given: &mut Given) {
    let rejected = given.rejected;
    let Some(end) = at
        .checked_add(size.into())
        .filter(|&end| i32::try_from(end).is_ok())
    else {
        return code.jump(rejected);
    };
    if given.there < end {
        look(code, BPF_W, at!(caplen));
        code.jump32(BPF_JLT, RETURNED, Operand::Imm(end as i32), rejected);
        given.there = end;
    }
    if end <= FIRST {
        return match words(at, size) & !given.copied {
            0 => load_copied(code, at as i16, size),
            _ => load_first(code, at as i16, size),
        };
    }
    code.load(BPF_DW, Reg(3), VIEW, at!(packet));
    code.op64(BPF_ADD, Reg(3), Operand::Imm(at as i32));
    read(code, size, rejected);
}

/// Loads from the first bytes: by the view's window where there is one, else from the view.
fn load_first(code: &mut Assembler, at: i16, size: u8) {
    let window = Reg(1);
    let (copied, done) = (code.label(), code.label());
    unless_window(code, window, copied);
    code.load(BPF_DW, window, VIEW, at!(window));
    code.load(width(size), RESULT, window, at);
    to_host(code, size, RESULT);
    code.jump(done);
    code.place(copied);
    load_copied(code, at, size);
    code.place(done);
}

/// Goes to `otherwise` where there is no window, else puts into the register where it is.
fn unless_window(code: &mut Assembler, at: Reg, otherwise: Label) {
    code.op32(BPF_MOV, at, Operand::Imm(WINDOW as i32));
    code.jump32(BPF_JEQ, at, Operand::Imm(ABSENT as i32), otherwise);
}

/// Loads from the view. The verifier takes loads from the stack at multiples of their size alone, and an IP header behind an Ethernet
/// header is at none.
fn load_copied(code: &mut Assembler, at: i16, size: u8) {
    let place = at!(head) + at;
    let part = match place % 4 {
        0 => size,
        2 => size.min(2),
        _ => 1,
    };
    code.load(width(part), RESULT, VIEW, place);
    code.op64(BPF_OR, RESULT, Operand::Imm(0));
    to_host(code, part, RESULT);
    for done in (part..size).step_by(part.into()) {
        code.load(width(part), RETURNED, VIEW, place + i16::from(done));
        to_host(code, part, RETURNED);
        code.op32(BPF_LSH, RESULT, Operand::Imm(i32::from(part) * 8));
        code.op32(BPF_OR, RESULT, Operand::Reg(RETURNED));
    }
}

/// Loads from `at` behind [`RESULT`]. The sum has 64 bits, so that it does not begin anew.
fn load_behind(code: &mut Assembler, at: u32, size: u8, rejected: Label) {
    let (from, end) = (Reg(3), Reg(4));
    code.load_u64(from, at.into());
    code.op64(BPF_ADD, from, Operand::Reg(RESULT));
    code.set(end, Operand::Reg(from));
    code.op64(BPF_ADD, end, Operand::Imm(size.into()));
    look(code, BPF_W, at!(caplen));
    code.jump64(BPF_JGT, end, RETURNED, rejected);
    code.load(BPF_DW, RETURNED, VIEW, at!(packet));
    code.op64(BPF_ADD, from, Operand::Reg(RETURNED));
    read(code, size, rejected);
}

/// Reads from the kernel address in the third register, which is the helper's third argument: by a direct load where the
/// kernel lets programs say what is at an address, else by the helper.
fn read(code: &mut Assembler, size: u8, rejected: Label) {
    let (address, window) = (Reg(1), Reg(2));
    let (helper, done) = (code.label(), code.label());
    unless_window(code, window, helper);
    code.set(address, Operand::Reg(Reg(3)));
    code.op64(BPF_SUB, address, Operand::Reg(window));
    code.load_u64(RETURNED, Config::CAST);
    code.op32(BPF_MOV, window, Operand::Imm(WINDOW as i32));
    code.op64(BPF_ADD, RETURNED, Operand::Reg(window));
    code.load(width(size), RESULT, RETURNED, 0);
    code.jump(done);
    code.place(helper);
    code.set(Reg(1), Operand::Reg(VIEW));
    code.op64(BPF_ADD, Reg(1), Operand::Imm(READ_AT.into()));
    code.set(Reg(2), Operand::Imm(size.into()));
    code.call(bpf_func_id::BPF_FUNC_probe_read_kernel as u32);
    code.jump32(BPF_JNE, RETURNED, Operand::Imm(0), rejected);
    code.load(width(size), RESULT, VIEW, READ_AT);
    code.place(done);
    to_host(code, size, RESULT);
}

fn width(size: u8) -> u32 {
    match size {
        1 => BPF_B,
        2 => BPF_H,
        _ => BPF_W,
    }
}

fn to_host(code: &mut Assembler, size: u8, value: Reg) {
    if size > 1 {
        code.turn_from_network(value, i32::from(size) * 8);
    }
}
