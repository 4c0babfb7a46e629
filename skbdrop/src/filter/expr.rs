//! [`Expr`]: and, or and not over tests of some kind.

/// A boolean expression. Evaluated from left to right, and no further than needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr<T> {
    /// The same whatever the event.
    Always(bool),
    Test(T),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl<T> Expr<T> {
    /// Both. Chains stay flat, so that a long one is no deep one.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All(mut all), Self::All(more)) => {
                all.extend(more);
                Self::All(all)
            }
            (Self::All(mut all), other) => {
                all.push(other);
                Self::All(all)
            }
            (first, Self::All(mut all)) => {
                all.insert(0, first);
                Self::All(all)
            }
            (first, other) => Self::All(vec![first, other]),
        }
    }

    /// Either, or both. Chains stay flat.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any(mut any), Self::Any(more)) => {
                any.extend(more);
                Self::Any(any)
            }
            (Self::Any(mut any), other) => {
                any.push(other);
                Self::Any(any)
            }
            (first, Self::Any(mut any)) => {
                any.insert(0, first);
                Self::Any(any)
            }
            (first, other) => Self::Any(vec![first, other]),
        }
    }

    /// The opposite.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Always(yes) => Self::Always(!yes),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// What it comes to. A test's error is the whole's.
    pub(crate) fn evaluate<E>(&self, test: &impl Fn(&T) -> Result<bool, E>) -> Result<bool, E> {
        match self {
            Self::Always(yes) => Ok(*yes),
            Self::Test(it) => test(it),
            Self::Not(inner) => Ok(!inner.evaluate(test)?),
            Self::All(all) => {
                for inner in all {
                    if !inner.evaluate(test)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(any) => {
                for inner in any {
                    if inner.evaluate(test)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// The same expression over what `map` makes of each test.
    pub(crate) fn try_map<U, E>(
        &self,
        map: &mut impl FnMut(&T) -> Result<Expr<U>, E>,
    ) -> Result<Expr<U>, E> {
        let mut each = |inner: &[Self]| {
            let mapped = inner.iter().map(|inner| inner.try_map(map));
            mapped.collect::<Result<Vec<_>, E>>()
        };
        Ok(match self {
            Self::Always(yes) => Expr::Always(*yes),
            Self::Test(it) => map(it)?,
            Self::Not(inner) => inner.try_map(map)?.negated(),
            Self::All(all) => Expr::All(each(all)?),
            Self::Any(any) => Expr::Any(each(any)?),
        })
    }

    /// Calls `visit` with each test.
    pub(crate) fn for_each(&self, visit: &mut impl FnMut(&T)) {
        match self {
            Self::Always(_) => {}
            Self::Test(it) => visit(it),
            Self::Not(inner) => inner.for_each(visit),
            Self::All(inner) | Self::Any(inner) => {
                inner.iter().for_each(|inner| inner.for_each(visit));
            }
        }
    }
}
