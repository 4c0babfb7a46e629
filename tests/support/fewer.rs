//! The probe, run with fewer privileges than we have.

use std::process::Command;

/// Runs the program `probe` behind `wrapper`, a command that runs its arguments with less than we have.
pub fn run(probe: &str, wrapper: &[&str], what: &str) -> String {
    // Other users may not enter the build's folder.
    let folder = std::env::temp_dir().join(format!(
        "skbdrop-probe-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("probe");
    std::fs::copy(probe, &program).unwrap();
    let program_path = program.to_str().unwrap();
    let words: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain([program_path, what])
        .collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap_or_else(|e| panic!("cannot start `{}`: {e}", words[0]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs it as an ordinary user who has only `capabilities`.
pub fn with_capabilities(probe: &str, capabilities: &str, what: &str) -> String {
    let capabilities = if capabilities.is_empty() {
        "-all".to_owned()
    } else {
        format!("-all,{capabilities}")
    };
    let inherited = format!("--inh-caps={capabilities}");
    let ambient = format!("--ambient-caps={capabilities}");
    let wrapper = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        &inherited,
        &ambient,
    ];
    run(probe, &wrapper, what)
}
