//! The report on the targets: how much each was fed, and what that found.

use super::Ran;
use crate::bench::Provenance;

pub(super) struct Report {
    pub(super) provenance: Provenance,
    /// For which each target ran, unless it found something.
    pub(super) seconds: u64,
    /// By their names.
    pub(super) targets: Vec<(String, Ran)>,
}

impl Report {
    pub(super) fn markdown(&self) -> String {
        let Provenance {
            command,
            processors,
            commit,
            date,
            load,
            ..
        } = &self.provenance;
        format!(
            "# What the parsers were fed\n\n\
             `{command}` writes this file: on {date}, commit {commit}, {processors}; load before the start: {load}. Each target ran \
             for {} seconds with the address sanitizer, or until it found something, and began with the files of \
             `skbdrop/fuzz/corpus`, where inputs that once found something are among the others. `cargo test` feeds the \
             targets with those, whole and cut.\n\n\
             A finding is an input that makes a target panic, touch memory that is not its own, or take more memory or time \
             than it may.\n\n{}",
            self.seconds,
            self.table()
        )
    }

    pub(super) fn table(&self) -> String {
        let mut table =
            "| target | executions | a second | findings | inputs kept | slowest | memory |\n\
                         | --- | --- | --- | --- | --- | --- | --- |\n"
                .to_owned();
        for (name, ran) in &self.targets {
            table += &format!(
                "| {name} | {} | {} | {} | {} | {} s | {} MiB |\n",
                ran.executions,
                ran.per_second,
                ran.findings.len(),
                ran.inputs,
                ran.slowest,
                ran.memory
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_row_with_all_that_came_of_it() {
        let ran = Ran {
            executions: 4200,
            per_second: 70,
            findings: vec!["artifacts/btf/crash-1".into()],
            inputs: 11,
            slowest: 2,
            memory: 90,
        };
        let report = Report {
            provenance: Provenance::read("cargo xtask fuzz", &["--seconds", "60"]),
            seconds: 60,
            targets: vec![("btf".to_owned(), ran)],
        };
        let text = report.markdown();
        assert!(
            text.contains("`cargo xtask fuzz --seconds 60` writes"),
            "{text}"
        );
        assert!(
            text.ends_with("| btf | 4200 | 70 | 1 | 11 | 2 s | 90 MiB |\n"),
            "{text}"
        );
    }
}
