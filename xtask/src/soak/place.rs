//! Where a long run is, and how the program `soak` runs there.

use crate::{
    Result,
    architecture::Architecture,
    guest::Guest,
    host,
    kernel::{Kernel, Known},
};
use std::{
    io::{self, Write},
    process::Stdio,
    time::Duration,
};

#[derive(Debug)]
pub(super) enum Place {
    /// This machine and its kernel.
    Here,
    /// A guest with this kernel, and with drop_monitor.
    Guest(Kernel),
}

impl Place {
    /// The guest of a kernel, by its name.
    pub(super) fn guest(name: &str) -> Result<Self> {
        // For the others the program is not built.
        let architecture = Known::by_name(name)?.architecture;
        if !architecture.is_own() {
            let own = Architecture::own()?.name;
            return Err(format!(
                "`{name}` is a kernel for {}, not for {own}",
                architecture.name
            ));
        }
        Ok(Self::Guest(Kernel::fetch(name)?))
    }

    /// Drops a second that are made at the most.
    pub(super) fn peak(&self) -> u32 {
        match self {
            Self::Here => 20_000,
            // An emulated processor takes some tenth of a millisecond for a drop that three watch.
            Self::Guest(_) => 2_000,
        }
    }

    /// Runs the program for so many minutes; gives all that it said, and whether it succeeded.
    pub(super) fn run(&self, program: &str, minutes: u64) -> Result<(String, bool)> {
        let (length, peak) = (minutes.to_string(), self.peak().to_string());
        let arguments = ["--minutes", &length, "--peak", &peak];
        let mut said = Said::default();
        let success = match self {
            Self::Here => here(program, &arguments, &mut said)?,
            Self::Guest(kernel) => {
                let mut guest = guest(kernel, program, &arguments)?;
                guest.timeout = Duration::from_secs(60 * minutes) + TO_BOOT_AND_END;
                guest.run(&mut said)? == 0
            }
        };
        Ok((String::from_utf8_lossy(&said.0).into_owned(), success))
    }
}

fn here(program: &str, arguments: &[&str], said: &mut Said) -> Result<bool> {
    let mut child = host::with_tracefs(program.as_ref())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start `{program}`: {e}"))?;
    let mut output = child.stdout.take().expect("it was asked to be piped");
    io::copy(&mut output, said).map_err(|e| format!("cannot read what `soak` says: {e}"))?;
    let status = child.wait();
    let status = status.map_err(|e| format!("cannot wait for `soak`: {e}"))?;
    Ok(status.success())
}

fn guest(kernel: &Kernel, program: &str, arguments: &[&str]) -> Result<Guest> {
    let script = "modprobe drop_monitor && exec /soak \"$@\"";
    let command = ["sh", "-c", script, "sh"].into_iter();
    let command = command.chain(arguments.iter().copied());
    let command = command.map(str::to_owned).collect();
    let programs = Guest::programs(kernel.architecture, &[])?;
    let mut guest = Guest::new(programs, kernel.image.clone(), command);
    guest.modules = Some(kernel.modules.clone());
    guest.only_modules = vec!["drop_monitor".to_owned()];
    guest.files = vec![(program.into(), "/soak".to_owned())];
    Ok(guest)
}

/// What the program said so far, shown as it comes.
#[derive(Default)]
struct Said(Vec<u8>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = io::stdout().write(bytes)?;
        self.0.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// What a guest takes before and after: at the end the program waits up to a minute for a silence, on a busy host longer.
const TO_BOOT_AND_END: Duration = Duration::from_secs(600);
