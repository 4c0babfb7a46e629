//! One boot of the matrix: a kernel, the tests that run in it, and what came of them.

use crate::{
    Result,
    executables::Executable,
    guest::{Guest, quoted},
    kernel::Kernel,
    libtest::Outcome,
    programs::Programs,
};
use std::{path::PathBuf, time::Duration};

/// What is booted, and what runs there.
#[derive(Debug)]
pub(crate) struct Boot {
    /// By its name in [`KNOWN`](crate::kernel::KNOWN).
    pub(crate) kernel: &'static str,
    /// More words for its command line.
    pub(crate) append: &'static str,
    /// Modules to load first, with what they need.
    pub(crate) modules: &'static [&'static str],
    /// What modules the guest has, apart from what these need; all if none is named.
    pub(crate) only_modules: &'static [&'static str],
    /// Gives the file of one more, which is not among the kernel's and is loaded last.
    pub(crate) extra: Option<fn(&Kernel) -> Result<PathBuf>>,
    pub(crate) runs: &'static [Run],
}

/// A test executable of the crate of live tests, and the arguments that choose among its tests.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) test: &'static str,
    pub(crate) filter: &'static [&'static str],
    /// The backends that it is about, as `SKBDROP_BACKENDS` names them. The test fails where one of
    /// them does not do what it should.
    pub(crate) backends: &'static str,
}

/// What a boot needs from outside.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) kernel: Kernel,
    /// What the tests call.
    programs: Programs,
    /// The file of [`Boot::extra`].
    extra: Option<PathBuf>,
}

/// What came of a boot.
#[derive(Debug)]
pub(crate) struct Report {
    /// As the guest's `uname -r` says it.
    pub(crate) release: String,
    /// Names of test executables and their outcomes, in the order of [`Boot::runs`].
    pub(crate) runs: Vec<(String, Outcome)>,
    /// All that was printed.
    pub(crate) output: String,
}

impl Boot {
    /// Sees to it that the kernel is in the cache, and the module of our own; and that there are the programs that the
    /// tests call, each given with the Debian package that has it.
    pub(crate) fn fetch(&self, tools: &[(&'static str, &'static str)]) -> Result<Fetched> {
        let kernel = Kernel::fetch(self.kernel)?;
        Ok(Fetched {
            extra: self.extra.map(|module| module(&kernel)).transpose()?,
            programs: Guest::programs(kernel.architecture, tools)?,
            kernel,
        })
    }

    /// Boots and runs everything. The error is a guest that did not come to its end.
    pub(crate) fn run(&self, fetched: Fetched, executables: &[Executable]) -> Result<Report> {
        let command = ["sh", "-c", &self.script()].map(str::to_owned).to_vec();
        let image = fetched.kernel.image.clone();
        let mut guest = Guest::new(fetched.programs, image, command);
        if self.runs.iter().any(|run| run.test == "vmlinuz") {
            guest.files.push((fetched.kernel.image, VMLINUZ.to_owned()));
        }
        guest.modules = Some(fetched.kernel.modules);
        guest.only_modules = self
            .only_modules
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        if let Some(module) = fetched.extra {
            guest.files.push((module, EXTRA.to_owned()));
        }
        guest.append = self.append.to_owned();
        guest.timeout = if fetched.kernel.architecture.is_own() {
            TIMEOUT
        } else {
            TIMEOUT_OF_OTHERS
        };
        for executable in executables {
            let Executable { name, path, .. } = executable;
            let place = if executable.is_test {
                format!("/tests/{name}")
            } else {
                // Where the tests have it compiled in.
                path.to_string_lossy().into_owned()
            };
            if !executable.is_test || self.runs.iter().any(|run| run.test == name) {
                guest.files.push((path.clone(), place));
            }
        }
        let mut output = Vec::new();
        let status = guest.run(&mut output);
        let output = String::from_utf8_lossy(&output).into_owned();
        match status {
            Ok(0) => Report::parse(output),
            Ok(status) => Err(format!("{output}the guest's script ended with {status}")),
            Err(why) => Err(format!("{output}\n{why}")),
        }
    }

    /// What the guest runs. Lines of ours begin with a sign that begins no line of a test.
    fn script(&self) -> String {
        // A flood takes longer in an emulated machine than on one.
        let mut script = "echo \"@kernel $(uname -r)\"\n\
            export SKBDROP_FLOOD=10000 SKBDROP_FILTER_ROUNDS=2 RUST_BACKTRACE=0\n"
            .to_owned();
        for module in self.modules {
            script += &format!("modprobe {module} || exit\n");
        }
        if self.extra.is_some() {
            script += &format!("insmod {EXTRA} || exit\n");
        }
        for run in self.runs {
            let filter: Vec<String> = run.filter.iter().map(|word| quoted(word)).collect();
            script += &format!(
                "echo '@run {test}'\n\
                 SKBDROP_BACKENDS={backends} /tests/{test} --include-ignored --test-threads=1 --show-output {}\n\
                 printf '\\n@end %s\\n' $?\n",
                filter.join(" "),
                test = run.test,
                backends = run.backends,
            );
        }
        script
    }
}

impl Report {
    fn parse(output: String) -> Result<Self> {
        let release = output
            .lines()
            .find_map(|line| line.strip_prefix("@kernel "))
            .ok_or("the guest did not name its kernel")?
            .to_owned();
        let mut runs = Vec::new();
        for part in output.split("\n@run ").skip(1) {
            let (name, rest) = part.split_once('\n').unwrap_or((part, ""));
            let (text, status) = rest.split_once("\n@end ").unwrap_or((rest, ""));
            let mut outcome = Outcome::parse(text);
            if outcome.result.is_empty() {
                // Not there, or ended by a signal.
                outcome.result = format!("no test result, status {}", status.trim());
            }
            runs.push((name.to_owned(), outcome));
        }
        Ok(Self {
            release,
            runs,
            output,
        })
    }

    /// Whether every test that ran passed.
    pub(crate) fn is_good(&self) -> bool {
        self.runs.iter().all(|(_, outcome)| outcome.is_good())
    }
}

/// Where the image that it was booted from is in the guest, for the test that reads it.
const VMLINUZ: &str = "/vmlinuz";

/// Where the module of our own is in the guest.
const EXTRA: &str = "/extra.ko";

/// A boot takes some fifteen seconds, and tests are slower in an emulated machine.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// On a machine that has much else to do, those of another architecture have taken longer than that.
const TIMEOUT_OF_OTHERS: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_each_run_with_its_outcome() {
        let output = "@kernel 6.1.0-50\n@run live\n\nrunning 1 test\ntest a ... ok\n\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1s\n\
            \n@end 0\n@run gone\nsh: /tests/gone: not found\n\n@end 127\n";
        let report = Report::parse(output.to_owned()).unwrap();
        assert_eq!(report.release, "6.1.0-50");
        assert_eq!(report.runs[0].0, "live");
        assert!(report.runs[0].1.is_good());
        assert_eq!(report.runs[1].1.result, "no test result, status 127");
        assert!(!report.is_good());
    }

    #[test]
    fn arguments_reach_the_test_as_they_are() {
        let boot = Boot {
            kernel: "6.1",
            append: "",
            modules: &["drop_monitor"],
            only_modules: &[],
            extra: Some(|_| Ok("netdevsim.ko".into())),
            runs: &[Run {
                test: "live",
                filter: &["--skip", "it's"],
                backends: "netlink",
            }],
        };
        let script = boot.script();
        assert!(
            script.contains("modprobe drop_monitor || exit\ninsmod /extra.ko || exit\n"),
            "{script}"
        );
        assert!(
            script.contains(r"--show-output '--skip' 'it'\''s'"),
            "{script}"
        );
    }
}
