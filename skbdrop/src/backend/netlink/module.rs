//! Whether drop_monitor is among the running kernel's modules, by what is installed with them.

use std::{fs, io, path::Path};

/// What the lists of the kernel's modules say of drop_monitor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// It can be loaded.
    Loadable,
    /// It is part of the kernel's image.
    BuiltIn,
    /// Neither: this kernel was built without it.
    Absent,
    /// This kernel loads no modules (`CONFIG_MODULES`): it is built in, or not there.
    Unloadable,
    /// The lists cannot be read: why.
    Unknown(String),
}

/// Looks for it in the lists of the kernel that runs.
pub(super) fn of_running_kernel() -> Module {
    let uname = rustix::system::uname();
    let folder = Path::new("/lib/modules").join(&*uname.release().to_string_lossy());
    match in_folder(&folder) {
        Module::Unknown(_) if loads_none(Path::new("/proc")) => Module::Unloadable,
        module => module,
    }
}

/// Whether the kernel that this is the `/proc` of can load no modules: it lists none, not even an empty list.
fn loads_none(proc: &Path) -> bool {
    let is_proc = proc.join("self").is_symlink();
    is_proc && matches!(proc.join("modules").try_exists(), Ok(false))
}

fn in_folder(folder: &Path) -> Module {
    let list = |name| {
        let path = folder.join(name);
        let unreadable = |e: io::Error| {
            Module::Unknown(match e.kind() {
                io::ErrorKind::NotFound => format!("there is no `{}`", path.display()),
                _ => format!("`{}` cannot be read: {e}", path.display()),
            })
        };
        fs::read(&path).map_err(unreadable)
    };
    // One may be there without the other, in a folder that has the headers alone or was put together by hand.
    let loadable = list("modules.dep");
    if loadable.as_ref().is_ok_and(|text| has_drop_monitor(text)) {
        return Module::Loadable;
    }
    let built_in = list("modules.builtin");
    if built_in.as_ref().is_ok_and(|text| has_drop_monitor(text)) {
        return Module::BuiltIn;
    }
    match loadable.and(built_in) {
        Ok(_) => Module::Absent,
        Err(unknown) => unknown,
    }
}

/// A line is a path, packed or not; in `modules.dep` a colon follows, and what the module needs.
fn has_drop_monitor(list: &[u8]) -> bool {
    list.split(|&byte| byte == b'\n').any(|line| {
        let path = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        file.starts_with(b"drop_monitor.ko")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_modules_are_read() {
        let folder = std::env::temp_dir().join(format!("skbdrop-modules-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
        let unknown =
            |name: &str| Module::Unknown(format!("there is no `{}`", folder.join(name).display()));

        assert_eq!(in_folder(&folder), unknown("modules.dep"));
        write(
            "modules.dep",
            "kernel/net/other.ko: kernel/net/core/drop_monitor.ko\n",
        );
        assert_eq!(in_folder(&folder), unknown("modules.builtin"));
        write("modules.builtin", "kernel/net/core/not_drop_monitor.ko\n");
        assert_eq!(in_folder(&folder), Module::Absent);
        write("modules.builtin", "kernel/net/core/drop_monitor.ko\n");
        assert_eq!(in_folder(&folder), Module::BuiltIn);
        write("modules.dep", "kernel/net/core/drop_monitor.ko.xz:\n");
        assert_eq!(in_folder(&folder), Module::Loadable);
        fs::remove_dir_all(&folder).expect("it was made here");
        assert_eq!(in_folder(&folder), unknown("modules.dep"));
    }

    #[test]
    fn a_kernel_that_loads_none_has_no_list_of_them() {
        let proc = std::env::temp_dir().join(format!("skbdrop-proc-{}", std::process::id()));
        fs::create_dir_all(&proc).expect("a folder");
        assert!(!loads_none(&proc), "/proc is not mounted");
        std::os::unix::fs::symlink("1", proc.join("self")).expect("a link");
        assert!(loads_none(&proc));
        fs::write(proc.join("modules"), "").expect("a file");
        assert!(!loads_none(&proc));
        fs::remove_dir_all(&proc).expect("it was made here");
    }
}
