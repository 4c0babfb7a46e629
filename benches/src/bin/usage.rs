//! `usage REPORT COMMAND [ARGUMENT]…`: runs the command and writes to the file REPORT a line `pid=N` when it runs, and when
//! it has ended `cpu_us=N peak_kib=N success=true|false`: the processor time, in user space and in the kernel, of it and of
//! the children that it waited for, and the largest resident set among them.

use nix::sys::resource::{UsageWho, getrusage};
use std::{fs::File, io::Write as _, process::Command};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(report), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("usage: usage REPORT COMMAND [ARGUMENT]…".into());
    };
    let mut report = File::create(report)?;
    let mut child = Command::new(program).args(arguments).spawn()?;
    writeln!(report, "pid={}", child.id())?;
    let status = child.wait()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let cpu_us = 1_000_000 * (user.tv_sec() + system.tv_sec()) + user.tv_usec() + system.tv_usec();
    writeln!(
        report,
        "cpu_us={cpu_us} peak_kib={} success={}",
        usage.max_rss(),
        status.success()
    )?;
    Ok(())
}
