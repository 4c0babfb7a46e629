//! The kernel's enums of drop reasons as one table from number to name.

use crate::{
    DropReason, Subsystem,
    btf::EnumFacts,
    reason::{NameSource, Named},
};
use std::{collections::HashMap, sync::Arc};

/// The core's enum.
const CORE: &str = "skb_drop_reason";
/// The enum that numbers the subsystems.
const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
/// The enumerator that separates a reason's subsystem from its number there.
const MASK: &str = "SKB_DROP_REASON_SUBSYS_MASK";

/// Names by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Sorted by number, each once.
    entries: Vec<(u32, Arc<Named>)>,
    numbers: HashMap<Arc<str>, u32>,
    /// The bits of a number that say the subsystem; 0 if the kernel has no subsystems.
    mask: u32,
    /// Sorted by number, each once.
    subsystems: Vec<Subsystem>,
}

impl Names {
    /// From the enums of a kernel's BTF.
    pub(super) fn from_enums(enums: &[EnumFacts], source: &NameSource) -> Self {
        let mut names = Self::default();
        // It may be there once more as a declaration alone, without values.
        let core = || {
            let enums = enums.iter().filter(|e| e.name == CORE);
            enums.flat_map(|core| &core.values)
        };
        let mask = core().find(|(name, _)| name == MASK);
        names.mask = mask.map_or(0, |(_, value)| *value as u32);
        let subsystems = enums.iter().filter(|e| e.name == SUBSYSTEMS);
        names.subsystems = named_subsystems(subsystems.flat_map(|e| &e.values));
        let mut new = names.collect(enums, source);
        for (name, value) in core() {
            let plain = strip(name, &["SKB_DROP_REASON_", "SKB_"]);
            // The last enumerator only counts them.
            if name != MASK && plain != "MAX" && is_identifier(name) {
                new.extend(names.entry(plain, *value, source));
            }
        }
        names.merge(new);
        names
    }

    /// From the pairs of the tracepoint's `print fmt`.
    pub(super) fn from_symbols(symbols: &[(u32, String)], source: &NameSource) -> Self {
        let mut names = Self::default();
        let real = symbols
            .iter()
            .filter(|(_, name)| name != "MAX" && is_identifier(name));
        let new = real.filter_map(|(value, name)| names.entry(name, (*value).into(), source));
        let new = new.collect();
        names.merge(new);
        names
    }

    /// Adds the reasons of the subsystems' enums among these. What has a name keeps it, but for what was
    /// read from the same source before.
    pub(super) fn add(&mut self, enums: &[EnumFacts], source: &NameSource) {
        let new = self.collect(enums, source);
        self.merge(new);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The reasons of the subsystems' enums. These hold whole numbers, subsystem included.
    fn collect(&self, enums: &[EnumFacts], source: &NameSource) -> Vec<(u32, Arc<Named>)> {
        let others = enums
            .iter()
            .filter(|e| e.name != CORE && e.name != SUBSYSTEMS);
        let spelled = |value: u64, with_underscores: bool| {
            let mut all = others.clone().flat_map(|other| &other.values);
            all.any(|(name, it)| *it == value && name.starts_with('_') == with_underscores)
        };
        let values = others.clone().flat_map(|other| {
            let last = other.values.iter().map(|(_, value)| *value).max();
            other
                .values
                .iter()
                .map(move |(name, value)| (name, *value, Some(*value) == last))
        });
        let real = values.filter(|(name, value, is_last)| {
            // One without a subsystem is an alias of a reason of the core.
            let is_alias = value & u64::from(self.mask) == 0;
            // A subsystem's first number is where its enum begins counting. It is a reason only where it is also
            // spelled without underscores: drop_monitor never says `__OVS_DROP_REASON`. Its name is still
            // the other spelling, from which the kernel makes its own list: `RX_DROP_UNUSABLE` is what
            // drop_monitor says where mac80211 has `RX_DROP` and `___RX_DROP_UNUSABLE`.
            let is_first = value & !u64::from(self.mask) == 0;
            let is_base =
                is_first && spelled(*value, !name.starts_with('_')) != name.starts_with('_');
            let is_count = *is_last && name.ends_with("_MAX");
            !(is_alias || is_base || is_count) && is_identifier(name)
        });
        // mac80211 has two enums of the same reasons, one with underscores in front.
        real.filter_map(|(name, value, _)| self.entry(name.trim_start_matches('_'), value, source))
            .collect()
    }

    /// `None` for negative enumerators and those of more than 32 bits, which are no drop reasons.
    fn entry(&self, name: &str, value: u64, source: &NameSource) -> Option<(u32, Arc<Named>)> {
        let raw = u32::try_from(value).ok()?;
        let named = Named {
            name: name.into(),
            subsystem: self.subsystem(raw),
            source: source.clone(),
        };
        Some((raw, Arc::new(named)))
    }

    /// Where a number has several names, the first stays.
    fn merge(&mut self, mut new: Vec<(u32, Arc<Named>)>) {
        new.sort_by_key(|(raw, _)| *raw);
        new.dedup_by_key(|(raw, _)| *raw);
        let known = self.entries.len();
        for (raw, named) in new {
            match self.entries[..known].binary_search_by_key(&raw, |(raw, _)| *raw) {
                Ok(at) if self.entries[at].1.source == named.source => self.entries[at].1 = named,
                Ok(_) => {}
                Err(_) => self.entries.push((raw, named)),
            }
        }
        self.entries.sort_by_key(|(raw, _)| *raw);
        self.entries.shrink_to_fit();
        self.numbers.clear();
        for (raw, named) in &self.entries {
            self.numbers.entry(Arc::clone(&named.name)).or_insert(*raw);
        }
    }

    pub(super) fn reason(&self, raw: u32) -> DropReason {
        match self.named(raw) {
            Some(named) => DropReason::named(Some(raw), Arc::clone(named)),
            None => DropReason::unnamed(Some(raw), self.subsystem(raw)),
        }
    }

    pub(super) fn named(&self, raw: u32) -> Option<&Arc<Named>> {
        let at = self.entries.binary_search_by_key(&raw, |(raw, _)| *raw);
        at.ok().map(|at| &self.entries[at].1)
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Named>)> + '_ {
        self.entries.iter().map(|(raw, named)| (*raw, named))
    }

    pub(super) fn subsystem_mask(&self) -> Option<u32> {
        Some(self.mask).filter(|&mask| mask != 0)
    }

    fn subsystem(&self, raw: u32) -> Option<Subsystem> {
        if self.mask == 0 {
            return None;
        }
        let number = Some((raw & self.mask) >> self.mask.trailing_zeros());
        let known = self
            .subsystems
            .binary_search_by_key(&number, |known| known.number);
        let name = known.ok().and_then(|at| self.subsystems[at].name.clone());
        Some(Subsystem { number, name })
    }

    pub(super) fn subsystems(&self) -> impl Iterator<Item = &Subsystem> + '_ {
        self.subsystems.iter()
    }
}

fn named_subsystems<'a>(values: impl Iterator<Item = &'a (String, u64)>) -> Vec<Subsystem> {
    let values = values.filter_map(|(name, value)| {
        let plain = strip(name, &["SKB_DROP_REASON_SUBSYS_"]);
        // The last enumerator only counts them.
        let is_real = plain != "NUM" && is_identifier(name);
        is_real.then(|| Subsystem {
            number: Some(*value as u32),
            name: Some(plain.into()),
        })
    });
    let mut subsystems: Vec<_> = values.collect();
    subsystems.sort_by_key(|subsystem| subsystem.number);
    subsystems.dedup_by_key(|subsystem| subsystem.number);
    subsystems
}

fn strip<'a>(name: &'a str, prefixes: &[&str]) -> &'a str {
    let stripped = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    stripped.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// Whether it can be an enumerator in C. A file can hold anything, and names go to terminals and into queries.
fn is_identifier(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.bytes().any(|byte| byte != b'_')
}
