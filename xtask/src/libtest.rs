//! What a test executable says of its tests.

/// Counts, and why what was not run was not.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Names and reasons.
    pub(crate) skipped: Vec<(String, String)>,
    /// libtest's own last line; empty where it did not come so far.
    pub(crate) result: String,
}

impl Outcome {
    /// From the output with `--show-output`. A test that is ignored has its reason beside its name;
    /// one that found out for itself that it cannot run here prints a line `skipped: REASON`.
    pub(crate) fn parse(output: &str) -> Self {
        let mut outcome = Self::default();
        let mut test = "";
        for line in output.lines() {
            if let Some(rest) = line.strip_prefix("test result: ") {
                outcome.result = line.to_owned();
                outcome.passed = count(rest, "passed");
                outcome.failed = count(rest, "failed");
            } else if let Some(rest) = line.strip_prefix("test ") {
                if let Some((name, reason)) = rest.split_once(" ... ignored") {
                    let reason = reason.trim_start_matches(", ");
                    outcome.skip(name, reason);
                }
            } else if let Some(rest) = line.strip_prefix("---- ") {
                test = rest.split(' ').next().unwrap_or_default();
            } else if let Some(reason) = line.strip_prefix("skipped: ") {
                outcome.skip(test, reason);
            }
        }
        // libtest takes what returned for passed.
        let returned = output
            .lines()
            .filter(|l| l.starts_with("skipped: "))
            .count();
        outcome.passed = outcome.passed.saturating_sub(returned);
        outcome
    }

    /// Whether something passed and nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.result.starts_with("test result: ok.") && self.failed == 0 && self.passed > 0
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.to_owned(), reason.to_owned()));
    }
}

/// The number before `word` in libtest's last line.
fn count(line: &str, word: &str) -> usize {
    line.split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_reasons_are_read() {
        let output = "\
running 4 tests
test a_drop ... ok
test hardware ... ignored, needs netdevsim
test names ... FAILED
test reasons ... ok

successes:

---- reasons stdout ----
skipped: this kernel has no reasons

failures:

---- names stdout ----
thread 'names' panicked: no name

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s
";
        let outcome = Outcome::parse(output);
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        let skipped = [
            ("hardware", "needs netdevsim"),
            ("reasons", "this kernel has no reasons"),
        ];
        let skipped = skipped.map(|(name, why)| (name.to_owned(), why.to_owned()));
        assert_eq!(outcome.skipped, skipped);
        assert!(!outcome.is_good());
    }

    #[test]
    fn nothing_passed_and_nothing_said_are_no_success() {
        let none = "running 0 tests\n\n\
            test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s\n";
        assert!(!Outcome::parse(none).is_good());
        assert!(!Outcome::parse("Segmentation fault\n").is_good());
        let one = none.replace("0 passed", "1 passed");
        assert!(Outcome::parse(&one).is_good());
        let skipped = format!("---- names stdout ----\nskipped: this kernel has none\n{one}");
        assert!(!Outcome::parse(&skipped).is_good());
        let ignored = format!(
            "test names ... ignored, needs root\n{}",
            none.replace("0 ignored", "1 ignored")
        );
        assert!(!Outcome::parse(&ignored).is_good());
    }
}
