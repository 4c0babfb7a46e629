//! Whether two sources of names say the same.

use super::names::Names;
use std::{fmt, sync::Arc};

/// A number on which a resolver's names and the tracepoint's `print fmt` are not of one mind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The number.
    pub raw: u32,
    /// The resolver's name for it, if any.
    pub name: Option<Arc<str>>,
    /// The name in `print fmt`, if any.
    pub print_fmt: Option<Arc<str>>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |name: &Option<Arc<str>>| match name {
            Some(name) => name.to_string(),
            None => "nothing".to_owned(),
        };
        write!(
            f,
            "{} is {} here and {} in print fmt",
            self.raw,
            show(&self.name),
            show(&self.print_fmt)
        )
    }
}

/// Compares the core's names in `ours` with those of `print_fmt`. That lists neither the numbers in front of its first,
/// which mean that nothing was dropped, nor any subsystem's.
pub(super) fn compare(ours: &Names, print_fmt: &Names) -> Vec<Disagreement> {
    let first = print_fmt.iter().next().map_or(0, |(raw, _)| raw);
    let theirs = print_fmt.iter().map(|(raw, _)| raw);
    let only_ours = ours.iter().filter_map(|(raw, named)| {
        let subsystem = named.subsystem.as_ref().and_then(|known| known.number);
        let expected = raw >= first && subsystem.is_none_or(|number| number == 0);
        (expected && print_fmt.named(raw).is_none()).then_some(raw)
    });
    let mut numbers: Vec<u32> = theirs.chain(only_ours).collect();
    numbers.sort_unstable();
    let name = |names: &Names, raw| names.named(raw).map(|named| Arc::clone(&named.name));
    let compared = numbers.into_iter().map(|raw| Disagreement {
        raw,
        name: name(ours, raw),
        print_fmt: name(print_fmt, raw),
    });
    compared
        .filter(|both| both.name != both.print_fmt)
        .collect()
}
