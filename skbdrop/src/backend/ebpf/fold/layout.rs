//! Puts what runs one after the other one behind the other.
//!
//! A program runs once a drop, with much of the kernel in between: by then the processor has forgotten it, and what it costs is above all how
//! many bytes of it have to be fetched anew, and from how many places.

use super::code::{Code, Op};

/// Lets each jump that always goes be followed by the place where it goes, in its stead, if nothing else is before that one yet.
pub(super) fn straighten(code: &mut Code) {
    let mut places: Vec<Option<usize>> = vec![None; code.ops.len()];
    let mut straight: Vec<Op> = Vec::with_capacity(code.ops.len());
    let mut starts = vec![0];
    while let Some(start) = starts.pop() {
        // Nobody goes on there without a jump that says where it is.
        if places[start].is_some() {
            continue;
        }
        let mut at = start;
        loop {
            if places[at].is_some() {
                let mut goto = code.ops[at];
                goto.make_goto(Some(at));
                straight.push(goto);
                break;
            }
            places[at] = Some(straight.len());
            let op = code.ops[at];
            match op.to {
                Some(to) if op.is_goto() => at = to,
                to => {
                    straight.push(op);
                    if op.is_exit() {
                        break;
                    }
                    starts.extend(to);
                    at += 1;
                }
            }
        }
    }
    for op in &mut straight {
        op.to = op.to.and_then(|to| places[to]);
    }
    code.ops = straight;
}
