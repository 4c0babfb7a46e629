//! `cargo xtask package`: what a stranger gets, checked as a stranger uses it.

use crate::{
    Result, api,
    host::{self, TemporaryFolder, output, run},
    test::{FEATURES, cargo, step},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

const CARGO_DENY: &str = "0.20.2";
/// The crates that are published, in the order in which they must be.
const PUBLISHED: [&str; 2] = ["skbdrop-ebpf", "skbdrop"];

/// The packages build outside of the workspace, with each feature alone and with the oldest dependencies that they
/// allow; what is public is what was meant to be; licences and dependencies are as `deny.toml` wants them.
pub(crate) fn check() -> Result {
    let root = host::workspace();
    let quiet = ["--quiet", "--workspace", "--allow-dirty", "--no-verify"];
    let target = root.join("target");
    step(
        "package",
        cargo(&["package"])
            .args(quiet)
            .arg("--target-dir")
            .arg(&target),
    )?;
    // Uploads nothing. What is built of it is built below.
    step(
        "what publishing would refuse",
        cargo(&["publish", "--dry-run"])
            .args(quiet)
            .arg("--target-dir")
            .arg(target.join("publish")),
    )?;
    let work = TemporaryFolder::new("stranger")?;
    unpack(&target.join("package"), work.path())?;
    stranger(work.path())?;
    least_versions(work.path())?;
    println!("\n== no dependency asks for a newer Rust than ours");
    least_rust()?;
    println!("\n== what is public is what the list says");
    api::check()?;
    deny()?;
    kubernetes()
}

fn unpack(packages: &Path, folder: &Path) -> Result {
    for name in PUBLISHED {
        let archive = packages.join(format!("{name}-{VERSION}.crate"));
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(folder))?;
    }
    Ok(())
}

/// A project outside of the workspace, with the packages in place of the registry's.
fn stranger(work: &Path) -> Result {
    let folder = work.join("project");
    fs::create_dir_all(folder.join("src"))
        .map_err(|e| format!("cannot create `{}`: {e}", folder.display()))?;
    let features: String = FEATURES
        .map(|name| format!("{name} = [\"skbdrop/{name}\"]\n"))
        .concat();
    let manifest = format!(
        "[package]\nname = \"stranger\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n\
         [[bin]]\nname = \"stranger\"\npath = \"src/main.rs\"\nrequired-features = [\"default\"]\n\
         [[bin]]\nname = \"support\"\npath = \"src/support.rs\"\n\
         [features]\ndefault = [\"skbdrop/default\"]\n{features}\
         [dependencies]\nskbdrop = {{ version = \"{VERSION}\", default-features = false }}\nfutures = \"0.3\"\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n\
         [patch.crates-io]\n\
         skbdrop = {{ path = \"../skbdrop-{VERSION}\" }}\nskbdrop-ebpf = {{ path = \"../skbdrop-ebpf-{VERSION}\" }}\n"
    );
    host::write(&folder.join("Cargo.toml"), manifest.as_bytes())?;
    host::write(&folder.join("src/main.rs"), STRANGER.as_bytes())?;
    host::write(&folder.join("src/support.rs"), SUPPORT.as_bytes())?;
    let target = host::workspace().join("target/stranger");
    let in_project = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command
            .arg("--quiet")
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target);
        command
    };
    step(
        "a project that depends on the packages builds",
        in_project(&["build"]),
    )?;
    step(
        "… and sees a drop",
        &mut Command::new(target.join("debug/stranger")),
    )?;
    for feature in FEATURES {
        let alone = in_project(&["check", "--no-default-features", "--features", feature]);
        step(&format!("… with the feature {feature} alone"), alone)?;
    }
    step(
        "… without features",
        in_project(&["check", "--no-default-features"]),
    )
}

/// The library with the oldest version of each dependency that its manifest allows.
fn least_versions(work: &Path) -> Result {
    let folder = work.join(format!("skbdrop-{VERSION}"));
    // The one that comes with the package has the newest.
    let _ = fs::remove_file(folder.join("Cargo.lock"));
    let sibling = format!(
        "patch.crates-io.skbdrop-ebpf.path=\"{}\"",
        work.join(format!("skbdrop-ebpf-{VERSION}")).display()
    );
    let mut lock = cargo(&[
        "generate-lockfile",
        "--quiet",
        "-Z",
        "direct-minimal-versions",
        "--config",
        &sibling,
    ]);
    // cargo's option is not stable yet; what is built is built without it.
    lock.current_dir(&folder).env("RUSTC_BOOTSTRAP", "1");
    step("the oldest versions of the dependencies", lock)?;
    let mut check = cargo(&["check", "--quiet", "--all-features", "--config", &sibling]);
    check
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", host::workspace().join("target/least"));
    step("… are enough", check)
}

/// Whether a dependency of a published crate asks for a newer Rust than the crate itself does. That our own code does not
/// is clippy's to say, for the standard library, by `rust-version`.
fn least_rust() -> Result {
    let mut metadata = cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ]);
    let text = output(&mut metadata).ok_or("`cargo metadata` failed")?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|e| format!("cannot read what `cargo metadata` says: {e}"))?;
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let newer: Vec<String> = dependencies(&metadata)?
        .into_iter()
        .filter(|(_, rust)| version(rust) > ours)
        .map(|(name, rust)| format!("{name} ({rust})"))
        .collect();
    if newer.is_empty() {
        println!(
            "xtask: Rust {} is enough for all",
            env!("CARGO_PKG_RUST_VERSION")
        );
        return Ok(());
    }
    Err(format!(
        "newer than `rust-version` {}: {}",
        env!("CARGO_PKG_RUST_VERSION"),
        newer.join(", ")
    ))
}

/// What the published crates are built of, with the Rust that each asks for.
fn dependencies(metadata: &Value) -> Result<Vec<(String, String)>> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> = array(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let needs: BTreeMap<String, Value> = array(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]), node["deps"].clone()))
        .collect();
    let is_published = |package: &Value| PUBLISHED.contains(&text(&package["name"]).as_str());
    let mut waiting: Vec<String> = packages
        .iter()
        .filter(|(_, package)| is_published(package))
        .map(|(id, _)| id.clone())
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for need in array(
            needs
                .get(&id)
                .ok_or(format!("`cargo metadata` has no node {id}"))?,
        ) {
            // Not for tests, nor for the eBPF program, which has a compiler of its own.
            let counts =
                |kind: &Value| kind["kind"] != "dev" && !text(&kind["target"]).contains("bpf");
            if array(&need["dep_kinds"]).iter().any(counts) {
                waiting.push(text(&need["pkg"]));
            }
        }
    }
    if seen.len() <= PUBLISHED.len() {
        return Err("`cargo metadata` tells of no dependencies".to_owned());
    }
    Ok(seen
        .iter()
        .filter_map(|id| packages.get(id))
        .map(|package| (text(&package["name"]), text(&package["rust_version"])))
        .collect())
}

/// `1.88` and `1.88.0` are the same.
fn version(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text
        .split('.')
        .map(|number| number.parse().unwrap_or(0))
        .collect();
    numbers.resize(3, 0);
    numbers
}

/// Licences, duplicates and origins, by `deny.toml`. Advisories are in a repository of their own, which not every
/// machine reaches: `cargo deny check advisories` asks for them.
fn deny() -> Result {
    let program = host::cargo_installed("cargo-deny", CARGO_DENY, &["--version"])?;
    step(
        "licences, duplicates and origins of the dependencies",
        Command::new(program)
            .args([
                "--workspace",
                "--all-features",
                "--locked",
                "check",
                "--hide-inclusion-graph",
            ])
            .args(["licenses", "bans", "sources"])
            .current_dir(host::workspace()),
    )
}

/// The manifest of `examples/fleet`, by Kubernetes' own schema, which a Python package brings.
fn kubernetes() -> Result {
    host::need(&[("pip3", "python3-pip")])?;
    let name = format!("kubernetes-validate-{KUBERNETES_VALIDATE}");
    let folder = host::cache().join(&name);
    if !folder.exists() {
        println!("xtask: pip3 install {name} into {}", folder.display());
        // A folder of this name is whole: it is filled under another one.
        let partial = folder.with_extension(format!("{}.partial", std::process::id()));
        run(Command::new("pip3")
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
                "--target",
            ])
            .arg(&partial)
            .arg(format!("kubernetes-validate=={KUBERNETES_VALIDATE}")))?;
        fs::rename(&partial, &folder)
            .map_err(|e| format!("cannot rename `{}`: {e}", partial.display()))?;
    }
    step(
        "the manifest for Kubernetes",
        Command::new("python3")
            .args(["-m", "kubernetes_validate", "--strict", "-k", KUBERNETES])
            .arg("examples/fleet/daemonset.yaml")
            .env("PYTHONPATH", &folder)
            .current_dir(host::workspace()),
    )
}

const KUBERNETES_VALIDATE: &str = "1.37.0";
/// What the manifest is for.
const KUBERNETES: &str = "1.34.0";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The README's program, with a drop of its own making.
const STRANGER: &str = r#"
use futures::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> skbdrop::Result<()> {
    let mut drops = skbdrop::Monitor::builder().build()?;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(b"nobody listens", "127.0.0.1:9").expect("sent");
    while let Some(event) = drops.next().await {
        let event = event?;
        println!("{event}");
        if event.dst.is_some_and(|dst| dst.port == Some(9)) {
            break;
        }
    }
    Ok(())
}
"#;

/// What there is with any feature.
const SUPPORT: &str = "fn main() {\n    println!(\"{}\", skbdrop::support());\n}\n";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dependencies_are_followed_but_those_of_tests_and_of_bpf() {
        let package = |id: &str, rust: &str| json!({"id": id, "name": id, "rust_version": rust});
        let need = |id: &str, kind: Value, target: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind, "target": target}]});
        let metadata = json!({
            "packages": [package("skbdrop", "1.88"), package("skbdrop-ebpf", "1.88"), package("a", "1.60"),
                package("b", "1.90"), package("test", "1.95"), package("bpf", "1.95"), package("other", "1.95")],
            "resolve": {"nodes": [
                {"id": "skbdrop", "deps": [need("a", Value::Null, Value::Null), need("test", json!("dev"), Value::Null)]},
                {"id": "skbdrop-ebpf", "deps": [need("bpf", Value::Null, json!("cfg(target_arch = \"bpf\")"))]},
                {"id": "a", "deps": [need("b", json!("build"), Value::Null)]},
                {"id": "b", "deps": []},
            ]},
        });
        let names: Vec<String> = dependencies(&metadata)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a", "b", "skbdrop", "skbdrop-ebpf"]);
        dependencies(&json!({})).unwrap_err();
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("1.88"), version("1.88.0"));
        assert!(version("1.100") > version("1.88.1"));
        assert!(version("") < version("1.0"));
    }
}
