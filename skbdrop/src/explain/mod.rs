//! What a drop reason means, what usually causes it and what to look at next: by name, in words of our own.
//!
//! The texts are `reasons.txt` beside this file, whose head says how to add one.

use std::{fmt, sync::LazyLock};

/// What a drop reason means to who runs the machine: [`DropReason::explain`](crate::DropReason::explain).
///
/// `Display` gives it in a few lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    name: &'static str,
    meaning: &'static str,
    causes: &'static str,
    look_at: Box<[&'static str]>,
}

impl Explanation {
    /// The reason's name, as [`DropReason::name`](crate::DropReason::name) spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What happened to the packet, in one to three sentences.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// What usually brings that about. Not all that can.
    #[must_use]
    pub fn causes(&self) -> &'static str {
        self.causes
    }

    /// What to look at next, the most telling first: counters as nstat names them, commands, files,
    /// sysctls, with words in capitals (`IF`, `DST`) to be replaced. At least one. To be read by
    /// people, not to be run by programs.
    #[must_use]
    pub fn look_at(&self) -> &[&'static str] {
        &self.look_at
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.meaning)?;
        write!(f, "  causes: {}", self.causes)?;
        for look in &self.look_at {
            write!(f, "\n  look at: {look}")?;
        }
        Ok(())
    }
}

/// Explains the reason `name`, spelled as [`DropReason::name`](crate::DropReason::name) does: `NO_SOCKET`,
/// `OVS_DROP_LAST_ACTION`, `RX_DROP_U_MIC_FAIL`. `None` if there is no text for it: a kernel newer than
/// this crate, or a distribution's own reason.
///
/// Needs no kernel. The text is for people and may change in any release; names of reasons that
/// kernels gave up stay.
///
/// ```
/// let explanation = skbdrop::explain("NO_SOCKET").expect("an explanation");
/// println!("{explanation}");
/// ```
#[must_use]
pub fn explain(name: &str) -> Option<&'static Explanation> {
    let at = BY_NAME
        .binary_search_by_key(&name, |explanation| explanation.name)
        .ok()?;
    BY_NAME.get(at)
}

/// A text that does not parse would explain nothing; the tests below do not let it come to that.
static BY_NAME: LazyLock<Vec<Explanation>> = LazyLock::new(|| {
    let mut explanations = parse(REASONS).unwrap_or_default();
    explanations.sort_unstable_by_key(Explanation::name);
    explanations
});

const REASONS: &str = include_str!("reasons.txt");

/// The entries of `text` in their order, or what is wrong with it.
fn parse(text: &'static str) -> Result<Vec<Explanation>, String> {
    text.split("\n\n")
        .map(|block| block.trim_matches('\n'))
        .filter(|block| !block.is_empty() && !block.starts_with(['#', '[']))
        .map(entry)
        .collect()
}

fn entry(block: &'static str) -> Result<Explanation, String> {
    let mut lines = block.lines();
    let name = lines.next().unwrap_or_default();
    let (mut meaning, mut causes, mut look_at) = (None, None, Vec::new());
    for line in lines {
        let twice = match line.split_once(": ") {
            Some(("means", text)) => meaning.replace(text).is_some(),
            Some(("causes", text)) => causes.replace(text).is_some(),
            Some(("look", text)) => {
                look_at.push(text);
                false
            }
            _ => return Err(format!("{name}: `{line}` is none of means, causes, look")),
        };
        if twice {
            return Err(format!("{name}: `{line}` is there twice"));
        }
    }
    if look_at.is_empty() {
        return Err(format!("{name}: no `look`"));
    }
    Ok(Explanation {
        name,
        meaning: meaning.ok_or_else(|| format!("{name}: no `means`"))?,
        causes: causes.ok_or_else(|| format!("{name}: no `causes`"))?,
        look_at: look_at.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Explanation> {
        parse(REASONS).unwrap_or_else(|error| panic!("reasons.txt: {error}"))
    }

    #[test]
    fn every_entry_is_complete_and_short_enough_to_be_read() {
        let all = all();
        assert!(all.len() > 200, "{} entries", all.len());
        for explanation in &all {
            let name = explanation.name;
            let spelled = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            assert!(!name.is_empty() && name.chars().all(spelled), "`{name}`");
            let prefixed = ["SKB_DROP_", "___"].iter().any(|p| name.starts_with(p));
            assert!(!prefixed, "{name}: with the kernel's prefix");
            assert!(
                explanation.look_at.len() <= 3,
                "{name}: too many to look at"
            );
            let sentences = [(explanation.meaning, 300), (explanation.causes, 260)];
            for (text, limit) in sentences {
                assert!((20..=limit).contains(&text.len()), "{name}: {text}");
                let ends = text.ends_with('.') && !text.ends_with("..");
                assert!(ends, "{name}: {text}");
            }
            for text in &explanation.look_at {
                assert!((5..=140).contains(&text.len()), "{name}: {text}");
                assert!(!text.ends_with('.'), "{name}: {text}");
            }
            let texts = explanation.look_at.iter().copied();
            for text in texts.chain([explanation.meaning, explanation.causes]) {
                assert_eq!(text, text.trim(), "{name}");
                assert!(text.is_ascii() && !text.contains("  "), "{name}: {text}");
            }
        }
    }

    #[test]
    fn sections_and_names_are_sorted_and_no_name_is_there_twice() {
        let lines = || REASONS.lines();
        let sections: Vec<_> = lines().filter(|line| line.starts_with('[')).collect();
        assert!(sections.is_sorted_by(|a, b| a < b), "{sections:?}");
        assert!(sections.len() >= 4, "{sections:?}");
        for section in REASONS.split("\n[").skip(1) {
            let names: Vec<_> = section
                .lines()
                .skip(1)
                .filter(|line| !line.is_empty() && !line.contains(": "))
                .collect();
            let unsorted = names.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(unsorted, None, "not in order, or twice");
        }
        let mut names: Vec<_> = all().iter().map(Explanation::name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "in two sections");
    }

    /// Numbers of reasons move between kernels; only names are explained.
    #[test]
    fn no_number_of_a_reason_is_written_down() {
        for line in REASONS.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .collect();
            for pair in words.windows(2) {
                let number = pair[1].starts_with(|c: char| c.is_ascii_digit());
                let reason = pair[0].eq_ignore_ascii_case("reason");
                assert!(!(number && reason), "{line}");
            }
            // As subsystems' reasons look: 0x30001.
            let hexadecimal = words
                .iter()
                .any(|word| word.len() > 6 && word.starts_with("0x"));
            assert!(!hexadecimal, "{line}");
        }
    }

    #[test]
    fn names_are_found_as_the_resolver_spells_them() {
        for explanation in all() {
            assert_eq!(explain(explanation.name), Some(&explanation));
        }
        for unknown in [
            "",
            "MAX",
            "no_socket",
            "SKB_DROP_REASON_NO_SOCKET",
            "[core]",
        ] {
            assert_eq!(explain(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_malformed_entry_is_named() {
        for (text, complaint) in [
            ("A\nmeans: M.\ncauses: C.\n", "A: no `look`"),
            ("A\nmeans: M.\nlook: l\n", "A: no `causes`"),
            ("A\nmeans: M.\nmeans: M.\n", "A: `means: M.` is there twice"),
            (
                "A\nbecause: B\n",
                "A: `because: B` is none of means, causes, look",
            ),
        ] {
            assert_eq!(parse(text), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn display_is_a_few_lines() {
        let explanation = explain("NO_SOCKET").expect("an explanation");
        let text = explanation.to_string();
        assert!(text.starts_with("NO_SOCKET: "), "{text}");
        assert_eq!(text.lines().count(), 2 + explanation.look_at().len());
        assert!(text.contains("\n  look at: ss -lntup"), "{text}");
    }
}
