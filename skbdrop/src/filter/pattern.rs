//! [`Pattern`]: a name, or many by `*` and `?`; and what was meant by a name that matches none.

use std::{fmt, sync::Arc};

/// How many names an error offers.
const OFFERED: usize = 3;
/// Characters of a name that may have been meant.
const LONGEST: usize = 64;

/// A name in which `*` stands for any characters, or none, and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern(Arc<str>);

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        // Where the last `*` was, and how far it has to reach at least.
        let mut star: Option<(usize, usize)> = None;
        while read < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[read] => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((place, reach)) = star else {
                        return false;
                    };
                    star = Some((place, reach + 1));
                    (at, read) = (place + 1, reach + 1);
                }
            }
        }
        pattern[at..].iter().all(|&byte| byte == b'*')
    }

    /// The names among `known` that may have been meant, as the end of an error's text.
    pub(crate) fn near_misses<'a>(&self, known: impl Iterator<Item = &'a str>) -> String {
        let plain = |name: &str| name.replace(['*', '?'], "").to_ascii_uppercase();
        let wanted = plain(&self.0);
        // What is longer is no slip of the pen, and takes long to compare with all names of a kernel.
        if wanted.is_empty() || wanted.len() > LONGEST {
            return String::new();
        }
        let worst = 2 + wanted.len() / 5;
        let mut near: Vec<(usize, &str)> = known
            .filter_map(|name| {
                let other = plain(name);
                let longer = wanted.len().abs_diff(other.len());
                let distance = match longer <= worst {
                    true => strsim::osa_distance(&wanted, &other),
                    false => longer,
                };
                let part = wanted.len() > 3 && (other.contains(&wanted) || wanted.contains(&other));
                (distance <= worst || part && other.len() > 3).then_some((distance, name))
            })
            .collect();
        near.sort_unstable();
        near.dedup();
        let names: Vec<String> = near
            .iter()
            .take(OFFERED)
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        match &names[..] {
            [] => String::new(),
            [one] => format!("; did you mean {one}?"),
            [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, yes, no) in [
            (
                "NO_SOCKET",
                &["NO_SOCKET"][..],
                &["NO_SOCKETS", "O_SOCKET", ""][..],
            ),
            ("TCP_*", &["TCP_", "TCP_CSUM"], &["TCP", "UDP_CSUM"]),
            ("*_CSUM", &["TCP_CSUM", "_CSUM"], &["TCP_CSUM_", "CSUM"]),
            ("*C*M*", &["CM", "TCP_CSUM", "xCxMx"], &["MC"]),
            ("IP?_*", &["IP6_X", "IPV_"], &["IP_X"]),
            ("*", &["", "anything"], &[]),
            ("", &[""], &["x"]),
        ] {
            let pattern = Pattern::new(pattern);
            for name in yes {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn errors_offer_what_was_meant() {
        let known = [
            "NO_SOCKET",
            "SOCKET_FILTER",
            "NETFILTER_DROP",
            "TCP_CSUM",
            "UDP_CSUM",
        ];
        let offer = |name: &str| Pattern::new(name).near_misses(known.into_iter());
        assert_eq!(offer("no_socket"), "; did you mean `NO_SOCKET`?");
        assert_eq!(offer("NOSOCKET"), "; did you mean `NO_SOCKET`?");
        assert_eq!(offer("CSUM"), "; did you mean `TCP_CSUM` or `UDP_CSUM`?");
        assert_eq!(offer("NETFILTER"), "; did you mean `NETFILTER_DROP`?");
        assert_eq!(offer("whatever"), "");
    }
}
