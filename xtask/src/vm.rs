//! `cargo xtask vm`: one command in one kernel.

use crate::{Result, guest::Guest, kernel::Kernel};
use std::{io, path, process::ExitCode, time::Duration};

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let mut guest = parse(arguments)?;
    if !guest.kernel.exists() {
        let kernel = Kernel::fetch(&guest.kernel.to_string_lossy())?;
        guest.kernel = kernel.image;
        guest.modules.get_or_insert(kernel.modules);
    }
    let status = guest.run(&mut io::stdout())?;
    Ok(ExitCode::from(status))
}

fn parse(arguments: &[&str]) -> Result<Guest> {
    let (options, command) = arguments
        .iter()
        .position(|&word| word == "--")
        .map(|at| (&arguments[..at], &arguments[at + 1..]))
        .filter(|(_, command)| !command.is_empty())
        .ok_or(format!("no command to run\n\n{USAGE}"))?;
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let mut guest = Guest::new(path::PathBuf::new(), command);
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
            "--kernel" => guest.kernel = value.into(),
            "--modules" => guest.modules = Some(value.into()),
            "--module" => guest.only_modules.push(value.to_owned()),
            "--append" => guest.append = value.to_owned(),
            "--file" => guest.files.push(file(value)?),
            "--memory" => guest.memory = number()?,
            "--timeout" => guest.timeout = Duration::from_secs(number()?.into()),
            _ => return Err(format!("no such option: {option}\n\n{USAGE}")),
        }
    }
    if guest.kernel.as_os_str().is_empty() {
        return Err(format!("no kernel to boot\n\n{USAGE}"));
    }
    Ok(guest)
}

/// `HOST[:GUEST]`: the path in the guest is by default that of the host.
fn file(value: &str) -> Result<(path::PathBuf, String)> {
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
  --file HOST[:GUEST]   a file to copy, a program with its libraries; may be repeated
  --memory MB           default 1024
  --timeout S           how long boot and command may take, default 120";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_the_command_begins() {
        let guest = parse(&[
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
        assert_eq!(guest.command, ["nft", "--", "list"]);
        assert_eq!(guest.memory, 512);
        let files = [
            ("/usr/sbin/nft".into(), "/usr/sbin/nft".to_owned()),
            ("x".into(), "/x y".to_owned()),
        ];
        assert_eq!(guest.files, files);
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
