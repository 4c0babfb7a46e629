//! A filter's plan as the instructions that decide in the kernel.

use super::{
    assembler::{Assembler, Label, Operand, Reg},
    packet,
};
use crate::{
    Prefix, Result,
    filter::{End, Expr, Field, Plan, Test},
};
use aya_obj::generated::{
    BPF_AND, BPF_DW, BPF_JEQ, BPF_JGE, BPF_JLE, BPF_JLT, BPF_JNE, BPF_OR, BPF_W, bpf_insn,
};
use skbdrop_ebpf::{
    NAME_LEN,
    view::{View, known, needs},
};
use std::{mem::offset_of, net::IpAddr};

/// The view, for the whole of the code.
pub(super) const VIEW: Reg = Reg(6);
/// What is looked at. Helpers overwrite it.
pub(super) const VALUE: Reg = Reg(0);
/// A constant to compare with. Helpers overwrite it.
pub(super) const CONSTANT: Reg = Reg(2);
/// The first argument, which is the view.
const ARGUMENT: Reg = Reg(1);
/// Ranges that are looked through one by one; more are halved first.
const FEW: usize = 3;

/// Where a field of the view is.
macro_rules! at {
    ($field:ident) => {
        std::mem::offset_of!(skbdrop_ebpf::view::View, $field) as i16
    };
}
pub(super) use at;

/// More instructions than these before the rest of the view is filled may cost more than that.
const AT_HAND_LEN: usize = 128;

/// The code that decides, and what it asks for.
#[derive(Debug)]
pub(super) struct Compiled {
    /// With the verdict in `r0` they go on to what comes behind the last one.
    pub(super) instructions: Vec<bpf_insn>,
    /// The same by what is [at hand](needs::AT_HAND): no where the rest cannot make it a yes. `None` if that says nothing.
    pub(super) at_hand: Option<Vec<bpf_insn>>,
    /// Bits of [`needs`].
    pub(super) needs: u32,
}

/// Compiles a plan.
///
/// # Errors
///
/// It is too large for the kernel.
pub(super) fn compile(plan: &Plan) -> Result<Compiled> {
    let mut asked = needs::FILTER;
    plan.0.for_each(&mut |test| asked |= needs_of(test));
    let mut at_hand = None;
    if asked & !needs::AT_HAND != 0 {
        let first = by_what_is_at_hand(&plan.0, true);
        if !first.is(true) {
            at_hand = Some(instructions(&first)?).filter(|code| code.len() <= AT_HAND_LEN);
        }
    }
    Ok(Compiled {
        instructions: instructions(&plan.0)?,
        at_hand,
        needs: asked,
    })
}

fn instructions(expr: &Expr<Test>) -> Result<Vec<bpf_insn>> {
    let mut code = Assembler::default();
    let (yes, no, end) = (code.label(), code.label(), code.label());
    code.set(VIEW, Operand::Reg(ARGUMENT));
    emit(
        &mut code,
        expr,
        yes,
        no,
        (),
        &mut |code, test, yes, no, ()| emit_test(code, test, yes, no),
    )?;
    code.place(yes);
    code.set(Reg(0), Operand::Imm(1));
    code.jump(end);
    code.place(no);
    code.set(Reg(0), Operand::Imm(0));
    code.place(end);
    code.finish()
}

/// The expression with `otherwise` for what a test says that looks at more. It is [`Expr::Always`] if nothing else is left.
fn by_what_is_at_hand(expr: &Expr<Test>, otherwise: bool) -> Expr<Test> {
    let each = |parts: &[Expr<Test>]| -> Vec<_> {
        let parts = parts.iter();
        parts.map(|it| by_what_is_at_hand(it, otherwise)).collect()
    };
    match expr {
        Expr::Always(yes) => Expr::Always(*yes),
        Expr::Test(test) if needs_of(test) & !needs::AT_HAND == 0 => Expr::Test(test.clone()),
        Expr::Test(_) => Expr::Always(otherwise),
        Expr::Not(inner) => by_what_is_at_hand(inner, !otherwise).negated(),
        Expr::All(all) => what_is_left(each(all), false, Expr::All),
        Expr::Any(any) => what_is_left(each(any), true, Expr::Any),
    }
}

/// Parts joined by and or by or, of which one that is always `decides` decides.
fn what_is_left(
    mut parts: Vec<Expr<Test>>,
    decides: bool,
    join: impl FnOnce(Vec<Expr<Test>>) -> Expr<Test>,
) -> Expr<Test> {
    if parts.iter().any(|part| part.is(decides)) {
        return Expr::Always(decides);
    }
    parts.retain(|part| !part.is(!decides));
    match parts.is_empty() {
        true => Expr::Always(!decides),
        false => join(parts),
    }
}

fn needs_of(test: &Test) -> u32 {
    match test {
        Test::Reason(_) | Test::Symbol(_) => 0,
        Test::Mark { .. } => needs::MARK,
        Test::Interface { .. } => needs::INTERFACE,
        Test::Number(field, _) => match field {
            Field::Protocol => needs::PROTOCOL,
            Field::Ifindex | Field::Netns => needs::INTERFACE,
            Field::Length => needs::LENGTH,
            Field::Transport => needs::TRANSPORT,
            Field::Port(_) => needs::PORTS,
        },
        Test::Address(..) => needs::ADDRESSES,
        Test::Pcap(program) if program.asks_length() => needs::PACKET | needs::LENGTH,
        Test::Pcap(_) => needs::PACKET,
    }
}

/// What is known of a drop at `yes` and at `no`, where it comes to that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcomes<S> {
    yes: Option<S>,
    no: Option<S>,
}

/// Code that goes to `yes` or to `no`, and never on. With what is `known` before a test, the code of the test says what is known after;
/// the least of what it may be.
pub(super) fn emit<T, S: Copy + Ord>(
    code: &mut Assembler,
    expr: &Expr<T>,
    yes: Label,
    no: Label,
    known: S,
    test: &mut impl FnMut(&mut Assembler, &T, Label, Label, S) -> Result<S>,
) -> Result<Outcomes<S>> {
    let least = |one: Option<S>, other| one.into_iter().chain(other).min();
    let mut known = known;
    let mut outcomes = Outcomes {
        yes: None,
        no: None,
    };
    match expr {
        Expr::Always(true) => {
            code.jump(yes);
            outcomes.yes = Some(known);
        }
        Expr::Always(false) => {
            code.jump(no);
            outcomes.no = Some(known);
        }
        Expr::Test(it) => {
            let after = Some(test(code, it, yes, no, known)?);
            outcomes = Outcomes {
                yes: after,
                no: after,
            };
        }
        Expr::Not(inner) => {
            let inner = emit(code, inner, no, yes, known, test)?;
            outcomes = Outcomes {
                yes: inner.no,
                no: inner.yes,
            };
        }
        Expr::All(all) => {
            for inner in all {
                let next = code.label();
                let inner = emit(code, inner, next, no, known, test)?;
                code.place(next);
                outcomes.no = least(outcomes.no, inner.no);
                known = inner.yes.unwrap_or(known);
            }
            code.jump(yes);
            outcomes.yes = Some(known);
        }
        Expr::Any(any) => {
            for inner in any {
                let next = code.label();
                let inner = emit(code, inner, yes, next, known, test)?;
                code.place(next);
                outcomes.yes = least(outcomes.yes, inner.yes);
                known = inner.no.unwrap_or(known);
            }
            code.jump(no);
            outcomes.no = Some(known);
        }
    }
    Ok(outcomes)
}

fn emit_test(code: &mut Assembler, test: &Test, yes: Label, no: Label) -> Result<()> {
    match test {
        Test::Reason(reasons) => {
            known_or(code, known::REASON, no);
            look(code, BPF_W, at!(reason));
            ranges(
                code,
                reasons.numbers.as_deref().unwrap_or_default(),
                yes,
                no,
                &mut compare32,
            );
        }
        Test::Symbol(sites) => {
            look(code, BPF_DW, at!(location));
            ranges(
                code,
                sites.ranges.as_deref().unwrap_or_default(),
                yes,
                no,
                &mut compare64,
            );
        }
        Test::Interface { name, here } => interface(code, name.as_bytes(), *here, yes, no),
        Test::Number(field, wanted) => {
            let (bit, offset) = place(*field);
            known_or(code, bit, no);
            look(code, BPF_W, offset);
            ranges(code, wanted, yes, no, &mut compare32);
        }
        Test::Address(end, prefix) => address(code, *end, *prefix, yes, no),
        Test::Mark { value, mask } => {
            known_or(code, known::MARK, no);
            look(code, BPF_W, at!(mark));
            code.op32(BPF_AND, VALUE, Operand::Imm(*mask as i32));
            compare32(code, BPF_JEQ, *value, yes);
            code.jump(no);
        }
        Test::Pcap(program) => packet::emit_program(code, program, yes, no)?,
    }
    Ok(())
}

/// The bit that says that the field is known, and where it is.
fn place(field: Field) -> (u32, i16) {
    match field {
        Field::Ifindex => (known::IFINDEX, at!(ifindex)),
        Field::Netns => (known::NETNS, at!(netns)),
        Field::Length => (known::LENGTH, at!(length)),
        Field::Protocol => (known::PROTOCOL, at!(protocol)),
        Field::Transport => (known::TRANSPORT, at!(transport)),
        Field::Port(End::Src) => (known::PORTS, at!(src_port)),
        Field::Port(End::Dst) => (known::PORTS, at!(dst_port)),
    }
}

/// Loads a field into [`VALUE`].
///
/// The verifier takes what a comparison tells of a value for told of the place as well that it was loaded from. Another look at
/// the same field would then be one of many known outcomes, each of which it follows on its own. An operation that changes nothing makes it
/// forget where the value is from.
pub(super) fn look(code: &mut Assembler, size: u32, offset: i16) {
    code.load(size, VALUE, VIEW, offset);
    code.op64(BPF_OR, VALUE, Operand::Imm(0));
}

/// Goes to `otherwise` unless all of this is known.
fn known_or(code: &mut Assembler, bit: u32, otherwise: Label) {
    code.load(BPF_W, VALUE, VIEW, at!(known));
    // Which makes the verifier forget as well.
    code.op32(BPF_AND, VALUE, Operand::Imm(bit as i32));
    code.jump32(BPF_JEQ, VALUE, Operand::Imm(0), otherwise);
}

/// Goes to `yes` if the value is in one of the ranges, which are sorted.
fn ranges<T: Copy + PartialEq + Bounded>(
    code: &mut Assembler,
    ranges_: &[(T, T)],
    yes: Label,
    no: Label,
    compare: &mut impl FnMut(&mut Assembler, u32, T, Label),
) {
    if ranges_.len() > FEW {
        let (below, above) = ranges_.split_at(ranges_.len() / 2);
        let upper = code.label();
        compare(code, BPF_JGE, above[0].0, upper);
        ranges(code, below, yes, no, compare);
        code.place(upper);
        ranges(code, above, yes, no, compare);
        return;
    }
    for &(first, last) in ranges_ {
        if first == last {
            compare(code, BPF_JEQ, first, yes);
            continue;
        }
        if first != T::LEAST {
            compare(code, BPF_JLT, first, no);
        }
        if last == T::MOST {
            code.jump(yes);
            return;
        }
        compare(code, BPF_JLE, last, yes);
    }
    code.jump(no);
}

trait Bounded {
    const LEAST: Self;
    const MOST: Self;
}

impl Bounded for u32 {
    const LEAST: Self = Self::MIN;
    const MOST: Self = Self::MAX;
}

impl Bounded for u64 {
    const LEAST: Self = Self::MIN;
    const MOST: Self = Self::MAX;
}

fn compare32(code: &mut Assembler, comparison: u32, with: u32, to: Label) {
    code.jump32(comparison, VALUE, Operand::Imm(with as i32), to);
}

fn compare64(code: &mut Assembler, comparison: u32, with: u64, to: Label) {
    code.load_u64(CONSTANT, with);
    code.jump64(comparison, VALUE, CONSTANT, to);
}

fn interface(code: &mut Assembler, name: &[u8], here: Option<(u32, u32)>, yes: Label, no: Label) {
    let unnamed = code.label();
    known_or(code, known::IFNAME, unnamed);
    let mut padded = [0; NAME_LEN];
    match padded.get_mut(..name.len()) {
        // The kernel's names are shorter than their array and hold no NUL.
        Some(front) if name.len() < NAME_LEN && !name.contains(&0) => front.copy_from_slice(name),
        _ => {
            code.jump(no);
            code.place(unnamed);
            code.jump(no);
            return;
        }
    }
    bits(
        code,
        at!(ifname),
        u128::MAX,
        u128::from_be_bytes(padded),
        no,
    );
    code.jump(yes);
    code.place(unnamed);
    if let Some((netns, index)) = here {
        for (field, wanted) in [(Field::Netns, netns), (Field::Ifindex, index)] {
            let (bit, offset) = place(field);
            known_or(code, bit, no);
            look(code, BPF_W, offset);
            compare32(code, BPF_JNE, wanted, no);
        }
        code.jump(yes);
    } else {
        code.jump(no);
    }
}

fn address(code: &mut Assembler, end: End, prefix: Prefix, yes: Label, no: Label) {
    let offset = match end {
        End::Src => at!(src),
        End::Dst => at!(dst),
    };
    match prefix.address() {
        IpAddr::V4(address) => {
            known_or(code, known::IPV4, no);
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.length()))
                .unwrap_or(0);
            if mask != 0 {
                look(code, BPF_W, offset);
                if mask != u32::MAX {
                    code.op32(BPF_AND, VALUE, Operand::Imm(mask.to_be() as i32));
                }
                compare32(code, BPF_JNE, u32::from(address).to_be(), no);
            }
        }
        IpAddr::V6(address) => {
            known_or(code, known::IPV6, no);
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.length()))
                .unwrap_or(0);
            bits(code, offset, mask, address.into(), no);
        }
    }
    code.jump(yes);
}

/// Goes to `no` unless the 16 bytes at `offset`, in network byte order, are `value` in the bits of `mask`.
fn bits(code: &mut Assembler, offset: i16, mask: u128, value: u128, no: Label) {
    for (at, shift) in [(offset, 64), (offset + 8, 0)] {
        let half = |bits: u128| ((bits >> shift) as u64).to_be();
        let mask = half(mask);
        if mask == 0 {
            continue;
        }
        look(code, BPF_DW, at);
        if mask != u64::MAX {
            code.load_u64(CONSTANT, mask);
            code.op64(BPF_AND, VALUE, Operand::Reg(CONSTANT));
        }
        compare64(code, BPF_JNE, half(value), no);
    }
}

const _: () = {
    // Offsets fit an instruction.
    assert!(offset_of!(View, head) < i16::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn number(field: Field, wanted: u32) -> Expr<Test> {
        Expr::Test(Test::Number(field, vec![(wanted, wanted)]))
    }

    fn text(code: &[bpf_insn]) -> String {
        format!("{code:?}")
    }

    /// What is at hand alone is asked first, and only where it can say no.
    #[test]
    fn what_is_at_hand_decides_first() {
        let ip = || number(Field::Protocol, 0x0800);
        let arp = || number(Field::Protocol, 0x0806);
        let port = || number(Field::Port(End::Src), 53);
        let length = || number(Field::Length, 60);
        let at_hand = |expr: Expr<Test>| {
            let compiled = compile(&Plan(expr)).expect("small");
            (compiled.at_hand.as_deref().map(text), compiled.needs)
        };
        let like = |expr: Expr<Test>| Some(text(&instructions(&expr).expect("small")));
        let code = |expr: Expr<Test>| at_hand(expr).0;
        // All that there is, or nothing of it: one verdict is enough.
        assert_eq!(at_hand(ip()), (None, needs::FILTER | needs::PROTOCOL));
        assert_eq!(at_hand(port()), (None, needs::FILTER | needs::PORTS));
        assert_eq!(code(ip().and(port())), like(Expr::All(vec![ip()])));
        assert_eq!(code(port().and(ip())), like(Expr::All(vec![ip()])));
        assert_eq!(code(ip().or(port())), None);
        let either = ip().or(arp());
        assert_eq!(
            code(length().and(either.clone()).and(port().negated())),
            like(Expr::All(vec![either.clone()]))
        );
        // No port and neither protocol.
        let neither = port().or(either.clone()).negated();
        assert_eq!(code(neither), like(either.negated()));
        let one_of_two = ip().and(port()).or(arp().and(length()));
        assert_eq!(
            code(one_of_two),
            like(Expr::Any(vec![
                Expr::All(vec![ip()]),
                Expr::All(vec![arp()])
            ]))
        );
        // What is long may cost more than it spares.
        let many = (0..200).fold(arp(), |any, n| any.or(number(Field::Protocol, n)));
        assert_eq!(code(many.and(port())), None);
    }
}
