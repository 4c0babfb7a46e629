//! What the program `soak` said, and whether it held more and more.

use std::collections::BTreeMap;

/// The words `key=value` of a line.
pub(super) type Words = BTreeMap<String, String>;

/// What the program said, by the first word of each line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) samples: Vec<Words>,
    pub(super) made: Words,
    pub(super) accounts: Vec<Words>,
    pub(super) faults: Vec<String>,
    pub(super) absent: Vec<String>,
}

impl Said {
    pub(super) fn parse(text: &str) -> Self {
        let mut said = Self::default();
        for line in text.lines() {
            let Some((first, rest)) = line.split_once(' ') else {
                continue;
            };
            let words = || {
                let words = rest.split(' ').filter_map(|word| word.split_once('='));
                words.map(|(key, value)| (key.to_owned(), value.to_owned()))
            };
            match first {
                "sample" => said.samples.push(words().collect()),
                "made" => said.made = words().collect(),
                "account" => said.accounts.push(words().collect()),
                "fault" => said.faults.push(rest.to_owned()),
                "absent" => said
                    .absent
                    .push(rest.trim_start_matches("backend=").to_owned()),
                _ => {}
            }
        }
        said
    }

    /// The numbers of a key in all samples from this second on.
    pub(super) fn numbers(&self, key: &str, from: u64) -> Vec<u64> {
        let samples = self
            .samples
            .iter()
            .filter(|it| number(it, "seconds") >= from);
        samples.map(|sample| number(sample, key)).collect()
    }

    /// What the second half held more of than the first.
    pub(super) fn grown(&self) -> Vec<String> {
        let kinds = [
            ("rss_kib", "KiB of memory", MAX_GROWTH),
            ("descriptors", "descriptors", 0),
            ("threads", "threads", 0),
        ];
        let grown = kinds.into_iter().filter_map(|(key, what, allowed)| {
            let numbers = self.numbers(key, WARM_UP);
            let (first, second) = numbers.split_at(numbers.len() / 2);
            let (before, after) = (first.iter().max()?, second.iter().max()?);
            (*after > before + allowed).then(|| format!("{after} {what}, after {before}"))
        });
        grown.collect()
    }
}

pub(super) fn number(words: &Words, key: &str) -> u64 {
    let number = words.get(key).and_then(|number| number.parse().ok());
    number.unwrap_or_default()
}

/// Seconds in which buffers are touched for the first time.
pub(super) const WARM_UP: u64 = 60;
/// By so much the second half of the time may hold more than the first, in KiB of memory: readers keep room for the most that they
/// had to take at once, which a machine that gives them no turn may make come late.
pub(super) const MAX_GROWTH: u64 = 8 * 1024;
