//! Says what drop reasons are called and what they mean, on this kernel or another.
//!
//! ```text
//! # cargo run --example reason -- 3
//! 3  NO_SOCKET  CORE
//!    by the BTF in `/sys/kernel/btf/vmlinux`
//!    means: Nobody on this host listens for the packet: a UDP port, TCP connection or ping identifier without a socket. …
//! ```

use skbdrop::{DropReason, Resolver};
use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

const HELP: &str = "\
reason: what drop reasons are called and what they mean

  reason 3 0x20001 …      what these numbers stand for
  reason NO_SOCKET …      what these names mean, and their numbers
  reason --list           all reasons of the kernel
  reason --diff A B       which reasons moved, came or went from kernel A to kernel B; each a file
                          as for --btf or --format, or `running`
  reason --check          whether the names agree with the tracepoint's print fmt

The kernel is the running one, or that of:
  --btf FILE, --vmlinux FILE   raw BTF, vmlinux or vmlinuz
  --module FILE                a module of that kernel, its BTF or .ko; may be repeated
  --format FILE                the text of events/skb/kfree_skb/format in tracefs
";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[derive(Debug, Default)]
struct Options {
    vmlinux: Option<PathBuf>,
    modules: Vec<PathBuf>,
    format: Option<PathBuf>,
    act: Act,
    reasons: Vec<String>,
}

#[derive(Debug, Default)]
enum Act {
    #[default]
    Explain,
    List,
    Check,
    Diff(String, String),
}

fn main() -> ExitCode {
    let text = match options() {
        Ok(Some(options)) => answer(&options),
        Ok(None) => Ok(HELP.to_owned()),
        Err(e) => Err(format!("{e}\n\n{HELP}").into()),
    };
    match text {
        Ok(text) => {
            // A reader that left early has seen enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("reason: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(options: &Options) -> Result<String> {
    if let Act::Diff(old, new) = &options.act {
        return Ok(diff(&kernel(old)?, &kernel(new)?));
    }
    let mut resolver = resolver(options)?;
    match &options.act {
        Act::List => Ok(list(&mut resolver)),
        Act::Check => check(&resolver, options),
        _ => explain(&mut resolver, &options.reasons),
    }
}

fn resolver(options: &Options) -> Result<Resolver> {
    let mut builder = Resolver::builder();
    if let Some(file) = &options.vmlinux {
        builder = builder.vmlinux(file);
    }
    for file in &options.modules {
        builder = builder.module(file);
    }
    if let Some(file) = &options.format {
        builder = builder.format(file);
    }
    Ok(builder.build()?)
}

/// A side of a comparison. Text is a `format`, anything else has BTF in it.
fn kernel(file: &str) -> Result<Resolver> {
    if file == "running" {
        let mut resolver = Resolver::from_kernel()?;
        resolver.refresh();
        return Ok(resolver);
    }
    let bytes = std::fs::read(file).map_err(|e| format!("cannot read `{file}`: {e}"))?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(_) => Resolver::builder().format(file).build()?,
        Err(_) => Resolver::from_btf_file(file)?,
    })
}

fn list(resolver: &mut Resolver) -> String {
    resolver.refresh();
    let mut text = String::new();
    for reason in resolver.reasons() {
        let raw = reason.raw().unwrap_or_default();
        let _ = writeln!(text, "{raw:>8}  {reason}{}", subsystem(&reason));
    }
    text
}

fn subsystem(reason: &DropReason) -> String {
    let known = reason.subsystem();
    let name = known.and_then(|subsystem| subsystem.name.as_deref());
    name.map_or_else(String::new, |name| format!("  {name}"))
}

fn explain(resolver: &mut Resolver, asked: &[String]) -> Result<String> {
    let mut text = String::new();
    for asked in asked {
        let reason = match number(asked) {
            Some(raw) => resolver.resolve(raw),
            None => by_name(resolver, asked)?,
        };
        let raw = reason.raw().unwrap_or_default();
        match reason.source() {
            Some(source) => {
                let _ = writeln!(
                    text,
                    "{raw}  {reason}{}\n   by {source}",
                    subsystem(&reason)
                );
                text += &explanation(&reason);
            }
            None => {
                let _ = writeln!(
                    text,
                    "{raw}  has no name on this kernel{}",
                    subsystem(&reason)
                );
            }
        }
    }
    Ok(text)
}

fn explanation(reason: &DropReason) -> String {
    let Some(explanation) = reason.explain() else {
        return "   no explanation is known to this version of skbdrop\n".to_owned();
    };
    let mut text = format!(
        "   means: {}\n   causes: {}\n",
        explanation.meaning(),
        explanation.causes()
    );
    for look_at in explanation.look_at() {
        let _ = writeln!(text, "   look at: {look_at}");
    }
    text
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The name may be written as in the kernel's source, and in small letters.
fn by_name(resolver: &mut Resolver, asked: &str) -> Result<DropReason> {
    let name = asked.to_uppercase();
    let name = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(&name);
    if resolver.number(name).is_none() {
        resolver.refresh();
    }
    if let Some(raw) = resolver.number(name) {
        return Ok(resolver.reason(raw));
    }
    let part = |reason: &DropReason| reason.name().is_some_and(|known| known.contains(name));
    let like: Vec<String> = resolver
        .reasons()
        .filter(part)
        .map(|reason| reason.to_string())
        .collect();
    let hint = match like.len() {
        0 => "--list shows all that it has".to_owned(),
        _ => format!("it has {}", like.join(", ")),
    };
    Err(format!("no drop reason `{name}` on this kernel ({hint})").into())
}

fn check(resolver: &Resolver, options: &Options) -> Result<String> {
    let differing = match &options.format {
        Some(file) => resolver.check_format(&std::fs::read_to_string(file)?)?,
        None => resolver.check()?,
    };
    if differing.is_empty() {
        return Ok("the names agree with print fmt\n".to_owned());
    }
    let lines: Vec<String> = differing.iter().map(ToString::to_string).collect();
    Err(format!(
        "the names do not agree with print fmt\n{}",
        lines.join("\n")
    )
    .into())
}

fn diff(old: &Resolver, new: &Resolver) -> String {
    let names = |resolver: &Resolver| -> BTreeMap<String, u32> {
        let named = resolver.reasons();
        named
            .filter_map(|reason| Some((reason.name()?.to_owned(), reason.raw()?)))
            .collect()
    };
    let (old, new) = (names(old), names(new));
    let mut text = String::new();
    for (name, raw) in &old {
        match new.get(name) {
            Some(now) if now == raw => {}
            Some(now) => {
                let _ = writeln!(text, "moved  {name}  {raw} -> {now}");
            }
            None => {
                let _ = writeln!(text, "went   {name}  {raw}");
            }
        }
    }
    for (name, raw) in &new {
        if !old.contains_key(name) {
            let _ = writeln!(text, "came   {name}  {raw}");
        }
    }
    if text.is_empty() {
        text += "the same reasons with the same numbers\n";
    }
    text
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("btf" | "vmlinux") => options.vmlinux = Some(parser.value()?.into()),
            Long("module") => options.modules.push(parser.value()?.into()),
            Long("format") => options.format = Some(parser.value()?.into()),
            Long("list") => options.act = Act::List,
            Long("check") => options.act = Act::Check,
            Long("diff") => {
                options.act = Act::Diff(parser.value()?.string()?, parser.value()?.string()?);
            }
            Long("help") | Short('h') => return Ok(None),
            Value(reason) => options.reasons.push(reason.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    if matches!(options.act, Act::Explain) && options.reasons.is_empty() {
        return Err("a number or a name is missing".into());
    }
    Ok(Some(options))
}
