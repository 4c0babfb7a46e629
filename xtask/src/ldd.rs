//! The libraries that a program of this machine loads.

use crate::Result;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The libraries of a program: none of a static one.
pub(crate) fn libraries(path: &Path) -> Result<Vec<PathBuf>> {
    // Where `ldd` fails there is no dynamic program; what a dynamic one lacks is in its output.
    let output = Command::new("ldd")
        .arg(path)
        .output()
        .map_err(|e| format!("cannot start `ldd`: {e}"))?;
    parse(&String::from_utf8_lossy(&output.stdout))
        .map_err(|name| format!("`{}` needs `{name}`, which is not here", path.display()))
}

/// The paths in what `ldd` prints, or the name of the library that it did not find.
fn parse(text: &str) -> std::result::Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let path = match line.split_once(" => ") {
            Some((name, "not found")) => return Err(name.to_owned()),
            Some((_, path)) => path,
            None => line,
        };
        // The kernel's own library has a name and no path.
        if path.starts_with('/') {
            let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
            paths.push(path.into());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_have_paths() {
        let text = "\tlinux-vdso.so.1 (0x00007f1e6c1cc000)\n\
            \tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f1e6beb4000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1e6bebc000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f1e6c1ce000)\n";
        let paths = parse(text).unwrap();
        let expected = [
            "/lib/x86_64-linux-gnu/libmnl.so.0",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn a_static_program_has_none() {
        assert_eq!(parse("\tstatically linked\n"), Ok(Vec::new()));
        assert_eq!(parse("\tnot a dynamic executable\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_missing_one_is_named() {
        assert_eq!(
            parse("\tlibgone.so.1 => not found\n"),
            Err("libgone.so.1".to_owned())
        );
    }
}
