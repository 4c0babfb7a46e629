//! Fewer tests of the same meaning: numbers of one field, which a filter has as alternatives or has none of, become one
//! list, which is searched by halves. A list of ports to watch, or to leave out, may be long.

use super::{
    Expr,
    plan::{Test, joined},
};

/// The same expression with fewer tests.
pub(super) fn merged(expr: Expr<Test>) -> Expr<Test> {
    match expr {
        Expr::Always(_) | Expr::Test(_) => expr,
        Expr::Not(inner) => merged(*inner).negated(),
        Expr::Any(any) => {
            let mut alternatives = Vec::new();
            for inner in any {
                match merged(inner) {
                    Expr::Any(inner) => inner
                        .into_iter()
                        .for_each(|one| add(&mut alternatives, one)),
                    one => add(&mut alternatives, one),
                }
            }
            one_or(alternatives, Expr::Any)
        }
        // Not the one and not the other is neither.
        Expr::All(all) => {
            let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
            for inner in all {
                match inner {
                    Expr::Not(inner) => unwanted.push(*inner),
                    inner => wanted.push(merged(inner)),
                }
            }
            if !unwanted.is_empty() {
                wanted.push(merged(Expr::Any(unwanted)).negated());
            }
            one_or(wanted, Expr::All)
        }
    }
}

/// Adds an alternative: to one for the same field, if both are numbers.
fn add(alternatives: &mut Vec<Expr<Test>>, one: Expr<Test>) {
    if let Expr::Test(Test::Number(field, more)) = &one {
        for known in &mut *alternatives {
            if let Expr::Test(Test::Number(of, ranges)) = known
                && of == field
            {
                let all = ranges.iter().chain(more).copied().collect();
                *ranges = joined(all, |end, first| end.checked_add(1) == Some(first));
                return;
            }
        }
    }
    alternatives.push(one);
}

fn one_or(
    mut parts: Vec<Expr<Test>>,
    several: impl FnOnce(Vec<Expr<Test>>) -> Expr<Test>,
) -> Expr<Test> {
    match parts.len() {
        1 => parts.remove(0),
        _ => several(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::plan::Field, *};

    fn number(field: Field, number: u32) -> Expr<Test> {
        Expr::Test(Test::Number(field, vec![(number, number)]))
    }

    /// What it says where the length and the protocol are these.
    fn says(expr: &Expr<Test>, length: Option<u32>, protocol: Option<u32>) -> bool {
        let known = |test: &Test| {
            let Test::Number(field, ranges) = test else {
                unreachable!("all are numbers");
            };
            let number = match field {
                Field::Length => length,
                _ => protocol,
            };
            Ok::<_, std::convert::Infallible>(number.is_some_and(|number| {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&number))
            }))
        };
        expr.evaluate(&known).unwrap_or_else(|never| match never {})
    }

    fn tests(expr: &Expr<Test>) -> usize {
        let mut count = 0;
        expr.for_each(&mut |_| count += 1);
        count
    }

    #[test]
    fn long_lists_become_one_test() {
        let any = (0..100).fold(Expr::Always(false), |any, n| {
            any.or(number(Field::Length, 2 * n))
        });
        let none = (0..100).fold(Expr::Always(true), |all, n| {
            all.and(number(Field::Length, 2 * n).negated())
        });
        for (expr, within) in [(any, true), (none, false)] {
            let short = merged(expr);
            assert_eq!(tests(&short), 1, "{short:?}");
            assert_eq!(says(&short, Some(42), None), within);
            assert_eq!(says(&short, Some(43), None), !within);
            assert_eq!(says(&short, None, None), !within);
        }
    }

    /// Expressions of up to so many levels over two fields, by a counter as a source of chance.
    fn any_expr(chance: &mut u64, depth: u32) -> Expr<Test> {
        *chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = *chance >> 33;
        let parts = |chance: &mut u64| -> Vec<_> {
            (0..dice / 8 % 4)
                .map(|_| any_expr(chance, depth - 1))
                .collect()
        };
        match dice % 8 {
            _ if depth == 0 => number(
                [Field::Length, Field::Protocol][(dice / 8 % 2) as usize],
                (dice / 16 % 5) as u32,
            ),
            0 => Expr::Always(dice & 8 == 0),
            1 | 2 => Expr::Not(Box::new(any_expr(chance, depth - 1))),
            3..=5 => Expr::Any(parts(chance)),
            _ => Expr::All(parts(chance)),
        }
    }

    #[test]
    fn the_meaning_stays() {
        let mut chance = 1;
        let mut fewer = 0;
        for _ in 0..5000 {
            let expr = any_expr(&mut chance, 4);
            let short = merged(expr.clone());
            fewer += usize::from(tests(&short) < tests(&expr));
            for length in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                for protocol in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                    let (before, after) = (
                        says(&expr, length, protocol),
                        says(&short, length, protocol),
                    );
                    assert_eq!(before, after, "{expr:?} {short:?} {length:?} {protocol:?}");
                }
            }
        }
        assert!(fewer > 500, "{fewer}");
    }
}
