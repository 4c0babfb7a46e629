//! The kernel's enums of drop reasons as one table from number to name.

use crate::{Subsystem, btf::EnumFacts};
use std::{collections::HashMap, sync::Arc};

/// The core's enum.
const CORE: &str = "skb_drop_reason";
/// The enum that numbers the subsystems.
const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
/// The enumerator that separates a reason's subsystem from its number there.
const MASK: &str = "SKB_DROP_REASON_SUBSYS_MASK";

/// Names by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sorted by number, each once.
    names: Vec<(u32, Arc<str>)>,
    numbers: HashMap<Arc<str>, u32>,
    /// The bits of a number that say the subsystem; 0 if the kernel has no subsystems.
    mask: u32,
    subsystems: Vec<Subsystem>,
}

impl Names {
    /// From the enums of a kernel's BTF.
    pub(super) fn from_enums(enums: &[EnumFacts]) -> Self {
        let mut names = Self::default();
        let core = enums.iter().find(|e| e.name == CORE);
        let mask = core.and_then(|core| core.values.iter().find(|(name, _)| name == MASK));
        names.mask = mask.map_or(0, |(_, value)| *value as u32);
        if let Some(subsystems) = enums.iter().find(|e| e.name == SUBSYSTEMS) {
            for (name, value) in &subsystems.values {
                let name = strip(name, &["SKB_DROP_REASON_SUBSYS_"]);
                // The last enumerator only counts them.
                if name != "NUM" {
                    names.subsystems.push(Subsystem {
                        number: Some(*value as u32),
                        name: Some(name.into()),
                    });
                }
            }
        }
        names.subsystems.sort_by_key(|subsystem| subsystem.number);
        names.subsystems.dedup_by_key(|subsystem| subsystem.number);
        for (name, value) in core.iter().flat_map(|core| &core.values) {
            let name = strip(name, &["SKB_DROP_REASON_", "SKB_"]);
            if name != "MAX" && name != "SUBSYS_MASK" {
                names.push(name, *value);
            }
        }
        names.add(enums);
        names
    }

    /// Adds the subsystems' enums among these.
    pub(super) fn add(&mut self, enums: &[EnumFacts]) {
        for other in enums
            .iter()
            .filter(|e| e.name != CORE && e.name != SUBSYSTEMS)
        {
            self.push_subsystem(other);
        }
        self.index();
    }

    /// From the pairs of the tracepoint's `print fmt`.
    pub(super) fn from_symbols(symbols: Vec<(u32, String)>) -> Self {
        let mut names = Self::default();
        for (value, name) in symbols {
            if name != "MAX" {
                names.push(&name, value.into());
            }
        }
        names.index();
        names
    }

    /// A subsystem's enum holds whole numbers, subsystem included. Those without one alias
    /// something else; the subsystem's base and names with underscores in front are markers.
    fn push_subsystem(&mut self, other: &EnumFacts) {
        for (name, value) in &other.values {
            let plain = name.trim_start_matches('_');
            let Ok(number) = u32::try_from(*value) else {
                continue;
            };
            let marker = number & self.mask == 0 || number & !self.mask == 0;
            if !marker && !plain.ends_with("_MAX") {
                self.push(plain, *value);
            }
        }
    }

    fn push(&mut self, name: &str, value: u64) {
        // Negative enumerators and those of more than 32 bits are no drop reasons.
        if let Ok(number) = u32::try_from(value) {
            self.names.push((number, name.into()));
        }
    }

    /// Sorts; where a number has several names, the first that was pushed stays.
    fn index(&mut self) {
        self.names.sort_by_key(|(number, _)| *number);
        self.names.dedup_by_key(|(number, _)| *number);
        self.names.shrink_to_fit();
        let numbers = self.names.iter();
        self.numbers = numbers
            .map(|(number, name)| (Arc::clone(name), *number))
            .collect();
    }

    pub(super) fn name(&self, raw: u32) -> Option<Arc<str>> {
        let at = self
            .names
            .binary_search_by_key(&raw, |(number, _)| *number)
            .ok()?;
        Some(Arc::clone(&self.names[at].1))
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.names.iter().map(|(number, _)| *number)
    }

    pub(super) fn subsystem(&self, raw: u32) -> Option<Subsystem> {
        if self.mask == 0 {
            return None;
        }
        let number = (raw & self.mask) >> self.mask.trailing_zeros();
        let known = self
            .subsystems
            .binary_search_by_key(&Some(number), |known| known.number);
        let name = known.ok().and_then(|at| self.subsystems[at].name.clone());
        Some(Subsystem {
            number: Some(number),
            name,
        })
    }

    pub(super) fn subsystems(&self) -> impl Iterator<Item = &Subsystem> + '_ {
        self.subsystems.iter()
    }
}

fn strip<'a>(name: &'a str, prefixes: &[&str]) -> &'a str {
    let stripped = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    stripped.filter(|rest| !rest.is_empty()).unwrap_or(name)
}
