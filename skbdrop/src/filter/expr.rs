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
        let parts = |expr| match expr {
            Self::All(all) => all,
            one => vec![one],
        };
        let mut all = parts(self);
        all.extend(parts(other));
        Self::All(all)
    }

    /// Either, or both. Chains stay flat.
    pub(crate) fn or(self, other: Self) -> Self {
        let parts = |expr| match expr {
            Self::Any(any) => any,
            one => vec![one],
        };
        let mut any = parts(self);
        any.extend(parts(other));
        Self::Any(any)
    }

    /// The opposite.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Always(yes) => Self::Always(!yes),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Whether it is this whatever the event.
    #[cfg(feature = "ebpf")]
    pub(crate) fn is(&self, always: bool) -> bool {
        matches!(self, Self::Always(it) if *it == always)
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
