//! `cargo xtask vm`: one command in one kernel.

use crate::{
    Result, architecture::Architecture, guest::Guest, host, kernel::Kernel, kernels::TOOLS,
};
use std::{
    io,
    path::{self, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// What was asked for.
#[derive(Debug, Default)]
struct Wanted {
    kernel: PathBuf,
    modules: Option<PathBuf>,
    only_modules: Vec<String>,
    append: String,
    files: Vec<(PathBuf, String)>,
    memory: Option<u32>,
    timeout: Option<Duration>,
    command: Vec<String>,
}

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let wanted = parse(arguments)?;
    let (image, modules, architecture) = if wanted.kernel.exists() {
        let architecture = Architecture::of_image(&host::read(&wanted.kernel)?);
        let architecture = architecture.map_or_else(Architecture::own, Ok)?;
        (wanted.kernel, wanted.modules, architecture)
    } else {
        let kernel = Kernel::fetch(&wanted.kernel.to_string_lossy())?;
        let modules = wanted.modules.unwrap_or(kernel.modules);
        (kernel.image, Some(modules), kernel.architecture)
    };
    // Nobody has programs for another architecture at hand.
    let tools: &[_] = if architecture.is_own() { &[] } else { &TOOLS };
    let programs = Guest::programs(architecture, tools)?;
    let mut guest = Guest::new(programs, image, wanted.command);
    guest.modules = modules;
    guest.only_modules = wanted.only_modules;
    guest.append = wanted.append;
    guest.files = wanted.files;
    guest.memory = wanted.memory.unwrap_or(guest.memory);
    guest.timeout = wanted.timeout.unwrap_or(guest.timeout);
    let status = guest.run(&mut io::stdout())?;
    Ok(ExitCode::from(status))
}

fn parse(arguments: &[&str]) -> Result<Wanted> {
    let (options, command) = arguments
        .iter()
        .position(|&word| word == "--")
        .map(|at| (&arguments[..at], &arguments[at + 1..]))
        .filter(|(_, command)| !command.is_empty())
        .ok_or(format!("no command to run\n\n{USAGE}"))?;
    let mut wanted = Wanted {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        ..Wanted::default()
    };
    for pair in options.chunks(2) {
        let &[option, value] = pair else {
            return Err(format!("no value for `{}`\n\n{USAGE}", pair[0]));
        };
        let number = || {
            value
                .parse()
                .map_err(|_| format!("`{option} {value}`: not a number"))
        };
        match option {
            "--kernel" => wanted.kernel = value.into(),
            "--modules" => wanted.modules = Some(value.into()),
            "--module" => wanted.only_modules.push(value.to_owned()),
            "--append" => wanted.append = value.to_owned(),
            "--file" => wanted.files.push(file(value)?),
            "--memory" => wanted.memory = Some(number()?),
            "--timeout" => wanted.timeout = Some(Duration::from_secs(number()?.into())),
            _ => return Err(format!("no such option: {option}\n\n{USAGE}")),
        }
    }
    if wanted.kernel.as_os_str().is_empty() {
        return Err(format!("no kernel to boot\n\n{USAGE}"));
    }
    Ok(wanted)
}

/// `HOST[:GUEST]`: the path in the guest is by default that of the host.
fn file(value: &str) -> Result<(PathBuf, String)> {
    let (host, guest) = match value.split_once(':') {
        Some((host, guest)) => (host, guest.to_owned()),
        None => {
            let absolute = path::absolute(value).map_err(|e| format!("`--file {value}`: {e}"))?;
            (value, absolute.to_string_lossy().into_owned())
        }
    };
    if guest.starts_with('/') {
        Ok((host.into(), guest))
    } else {
        Err(format!("`--file {value}`: `{guest}` is not absolute"))
    }
}

const USAGE: &str = "\
cargo xtask vm --kernel VMLINUZ [OPTION VALUE]… -- COMMAND [ARGUMENT]…

  --kernel VMLINUZ      the kernel to boot, or the name of one of `cargo xtask kernels --list`,
                        which is fetched and brings its modules
  --modules DIR         its modules, for modprobe: .ko or .ko.xz files, at any depth
  --module NAME         of these only this one and what it needs; may be repeated
  --append ARGS         more words for the kernel's command line
  --file HOST[:GUEST]   a file to copy, a program with its libraries; may be repeated. A guest of another
                        architecture has the programs that the tests call, and takes only static ones
                        of its own and those that need no other libraries than these
  --memory MB           default 1024
  --timeout S           how long boot and command may take, default 120";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_the_command_begins() {
        let wanted = parse(&[
            "--kernel",
            "vmlinuz",
            "--file",
            "/usr/sbin/nft",
            "--file",
            "x:/x y",
            "--memory",
            "512",
            "--",
            "nft",
            "--",
            "list",
        ])
        .unwrap();
        assert_eq!(wanted.command, ["nft", "--", "list"]);
        assert_eq!(wanted.memory, Some(512));
        let files = [
            ("/usr/sbin/nft".into(), "/usr/sbin/nft".to_owned()),
            ("x".into(), "/x y".to_owned()),
        ];
        assert_eq!(wanted.files, files);
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = |arguments: &[&str]| parse(arguments).unwrap_err();
        assert!(error(&["--kernel", "x"]).starts_with("no command"));
        assert!(error(&["--kernel", "x", "--"]).starts_with("no command"));
        assert!(error(&["--", "true"]).starts_with("no kernel"));
        assert!(error(&["--kernel", "--", "true"]).starts_with("no value for `--kernel`"));
        assert!(error(&["--speed", "9", "--", "true"]).starts_with("no such option: --speed"));
        assert!(error(&["--file", "x:y", "--", "true"]).contains("`y` is not absolute"));
    }
}
