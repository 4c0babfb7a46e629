//! `cargo xtask kernels`: the live tests on each kernel that we claim, in QEMU.

use crate::{
    Result,
    boot::{Boot, Report, Run},
    executables, host,
    kernel::Kernel,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// What runs where.
const MATRIX: [Boot; 4] = [
    everywhere("5.10"),
    everywhere("6.1"),
    everywhere("6.12"),
    everywhere("newest"),
];

/// What runs on every kernel.
const fn everywhere(kernel: &'static str) -> Boot {
    Boot {
        kernel,
        append: "",
        modules: &["drop_monitor"],
        runs: &[
            Run {
                test: "live",
                filter: &["every_field_of_a_drop_that_is_known"],
            },
            Run {
                test: "netlink",
                filter: &[],
            },
        ],
    }
}

/// Programs that the tests call in the guest, and the packages that have them here.
const TOOLS: [(&str, &str); 2] = [("dropwatch", "dropwatch"), ("ip", "iproute2")];

/// Guests that run at once: each takes a processor, and few machines have many more to give.
const AT_ONCE: usize = 2;

/// Runs the matrix, or what of it is for the kernels named.
pub(crate) fn run(arguments: &[&str]) -> Result {
    if arguments == ["--list"] {
        list();
        return Ok(());
    }
    if let Some(name) = arguments.iter().find(|name| Kernel::suite(name).is_none()) {
        return Err(Kernel::unknown(name));
    }
    let boots: Vec<&Boot> = MATRIX
        .iter()
        .filter(|boot| arguments.is_empty() || arguments.contains(&boot.kernel))
        .collect();
    host::need(&TOOLS)?;
    println!("xtask: building the tests");
    let executables = executables::build()?;
    // One after the other; what cannot be fetched fails its boot, not the others.
    let kernels: Vec<Result<Kernel>> = boots
        .iter()
        .map(|boot| Kernel::fetch(boot.kernel))
        .collect();
    let waiting = Mutex::new(boots.iter().zip(kernels).enumerate());
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = lock(&waiting).next();
                    let Some((place, (boot, kernel))) = next else {
                        break;
                    };
                    let report = kernel.and_then(|kernel| boot.run(kernel, &executables, &TOOLS));
                    // Under the lock, so that one guest's lines stay together.
                    let mut reports = lock(&reports);
                    show(boot, &report);
                    reports.push((place, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(place, _)| *place);
    table(&boots, &reports);
    let is_bad = |report: &Result<Report>| !report.as_ref().is_ok_and(Report::is_good);
    match reports.iter().filter(|(_, report)| is_bad(report)).count() {
        0 => Ok(()),
        bad => Err(format!("{bad} of {} boots failed", reports.len())),
    }
}

/// The kernels, and where in the cache they are.
fn list() {
    for (name, suite) in Kernel::NAMES {
        match Kernel::cached(suite) {
            Some(kernel) => println!("{name:<8} {suite:<18} {}", kernel.image.display()),
            None => println!("{name:<8} {suite:<18} not in the cache"),
        }
    }
}

/// What a guest said: all of it where something failed, else libtest's last lines.
fn show(boot: &Boot, report: &Result<Report>) {
    println!("\n== {} {}", boot.kernel, boot.append);
    match report {
        Ok(report) if report.is_good() => {
            for (name, outcome) in &report.runs {
                println!("{}: {name}: {}", report.release, outcome.result);
            }
        }
        Ok(report) => println!("{}", report.output),
        Err(why) => println!("{why}"),
    }
}

fn table(boots: &[&Boot], reports: &[(usize, Result<Report>)]) {
    println!(
        "\n{:<28} {:<14} {:>6} {:>6} {:>7}",
        "kernel", "test", "passed", "failed", "skipped"
    );
    for (place, report) in reports {
        let boot = boots[*place];
        let Ok(report) = report else {
            println!("{:<28} did not run, see above", boot.kernel);
            continue;
        };
        for (name, outcome) in &report.runs {
            let kernel = format!("{} {}", report.release, boot.append);
            println!(
                "{:<28} {name:<14} {:>6} {:>6} {:>7}{}",
                kernel.trim_end(),
                outcome.passed,
                outcome.failed,
                outcome.skipped.len(),
                if outcome.is_good() { "" } else { "   FAILED" },
            );
            for (test, reason) in &outcome.skipped {
                println!("{:<28} skipped {test}: {reason}", "");
            }
        }
    }
}

/// A thread that panicked takes its own report with it, not those of others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
