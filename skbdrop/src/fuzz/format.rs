//! The tracepoint's `format`, as names of reasons.

use crate::{Resolver, tracefs};
use std::collections::{HashMap, HashSet};

/// Reads `data` as the text of a `format` file.
pub fn format(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(resolver) = Resolver::from_format(&text) else {
        return;
    };
    let symbols = tracefs::reason_symbols(&text).expect("the resolver has read it");
    let mut listed: HashMap<u32, HashSet<&str>> = HashMap::new();
    for (raw, name) in &symbols {
        listed.entry(*raw).or_default().insert(name);
    }
    for reason in resolver.reasons() {
        let raw = reason.raw().expect("it is listed by its number");
        let name = reason.name().expect("it is listed by its name");
        assert!(listed[&raw].contains(name), "{name:?} is not {raw}");
        let quoted = format!("\"{name}\"");
        assert!(text.contains(&quoted), "{name:?} is not in the text");
        let number = resolver.number(name).expect("it has one");
        assert_eq!(resolver.reason(number).name(), Some(name));
        // The neighbours have no name but their own.
        for raw in [raw.wrapping_add(1), raw.wrapping_sub(1), !raw] {
            assert!(resolver.reason(raw).name().is_none() || listed.contains_key(&raw));
        }
    }
}
