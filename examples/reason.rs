//! Says what drop reasons are called and what they mean, on this kernel or another.
//!
//! ```text
//! # cargo run --release --example reason -- 3
//! 3  NO_SOCKET  CORE
//!    by the BTF in `/sys/kernel/btf/vmlinux`
//!    means: Nobody on this host listens for the packet: a UDP port, TCP connection or ping identifier without a socket. …
//! ```

use skbdrop::{DropReason, Explanation, Resolver, reason::ResolverBuilder};
use skbdrop_examples::{Result, output};
use std::{
    collections::BTreeMap, error::Error, ffi::OsString, fmt::Write as _, path::PathBuf,
    process::ExitCode,
};

const HELP: &str = "\
reason: what drop reasons are called and what they mean

  reason 3 0x20001 …      what these numbers stand for
  reason NO_SOCKET …      what these names mean, and their numbers
  reason --list           all reasons of the kernel
  reason --diff A B       which reasons moved, came or went from kernel A to kernel B; each a file
                          as for --btf or --format, or `running`; with modules: VMLINUX,MODULE,…
  reason --check          whether the names agree with the tracepoint's print fmt

The kernel is the running one, or that of:
  --btf FILE, --vmlinux FILE   raw BTF, vmlinux or vmlinuz
  --module FILE                a module of that kernel, its BTF or .ko; may be repeated
  --format FILE                the text of events/skb/kfree_skb/format in tracefs
";

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
    skbdrop_examples::run("reason", HELP, parse, |options| {
        let (text, error) = answer(&options);
        output::print(&text)?;
        error.map_or(Ok(()), Err)
    })
}

/// What there is to say, and what there is to complain of besides.
fn answer(options: &Options) -> (String, Option<Box<dyn Error>>) {
    let text = match &options.act {
        Act::Diff(old, new) => kernel(old).and_then(|old| Ok(diff(&old, &kernel(new)?))),
        Act::List => resolver(options).and_then(|mut resolver| list(&mut resolver)),
        Act::Check => check(options),
        Act::Explain => return explain_all(options),
    };
    match text {
        Ok(text) => (text, None),
        Err(e) => (String::new(), Some(e)),
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

/// A side of a comparison: a kernel's file, and after commas its modules'. Text is a `format`, anything else has BTF
/// in it.
fn kernel(files: &str) -> Result<Resolver> {
    let mut files = files.split(',');
    let kernel = files.next().unwrap_or_default();
    let modules: Vec<&str> = files.collect();
    if kernel == "running" {
        let mut resolver = Resolver::from_kernel()?;
        resolver.refresh();
        return Ok(resolver);
    }
    if modules.is_empty() {
        // Read once, for it may be a pipe.
        let bytes = std::fs::read(kernel).map_err(|e| format!("cannot read `{kernel}`: {e}"))?;
        return match std::str::from_utf8(&bytes) {
            Ok(text) => Resolver::from_format(text),
            Err(_) => Resolver::from_btf_bytes(&bytes),
        }
        .map_err(|e| format!("cannot use `{kernel}`: {e:#}").into());
    }
    let builder = Resolver::builder().vmlinux(kernel);
    let builder = modules.into_iter().fold(builder, ResolverBuilder::module);
    Ok(builder.build()?)
}

fn list(resolver: &mut Resolver) -> Result<String> {
    resolver.refresh();
    let mut text = String::new();
    for reason in resolver.reasons() {
        let raw = reason.raw().unwrap_or_default();
        let _ = writeln!(text, "{raw:>8}  {reason}{}", subsystem(&reason));
    }
    if text.is_empty() {
        return Err("this kernel names no reasons (those before Linux 5.17 have none)".into());
    }
    Ok(text)
}

fn subsystem(reason: &DropReason) -> String {
    let known = reason.subsystem();
    let name = known.and_then(|subsystem| subsystem.name.as_deref());
    name.map_or_else(String::new, |name| format!("  {name}"))
}

/// Explains what can be explained, also where the kernel's names cannot be read.
fn explain_all(options: &Options) -> (String, Option<Box<dyn Error>>) {
    let (mut resolver, mut error) = match resolver(options) {
        Ok(resolver) => (resolver, None),
        Err(e) => (Resolver::empty(), Some(e)),
    };
    let mut text = String::new();
    for asked in &options.reasons {
        match explain_one(&mut resolver, asked) {
            Ok(answer) => text += &answer,
            Err(e) => error = error.or(Some(e)),
        }
    }
    (text, error)
}

fn explain_one(resolver: &mut Resolver, asked: &str) -> Result<String> {
    let reason = match number(asked) {
        Some(raw) => resolver.resolve(raw?),
        None => match by_name(resolver, asked)? {
            Ok(reason) => reason,
            Err(explanation) => {
                let name = explanation.name();
                let text = lines(explanation);
                return Ok(format!("{name}  is no reason of this kernel\n{text}"));
            }
        },
    };
    let raw = reason.raw().unwrap_or_default();
    let subsystem = subsystem(&reason);
    Ok(match reason.source() {
        Some(source) => format!(
            "{raw}  {reason}{subsystem}\n   by {source}\n{}",
            explanation(&reason)
        ),
        None => format!("{raw}  has no name on this kernel{subsystem}\n"),
    })
}

fn explanation(reason: &DropReason) -> String {
    match reason.explain() {
        Some(explanation) => lines(explanation),
        None => "   no explanation is known to this version of skbdrop\n".to_owned(),
    }
}

fn lines(explanation: &Explanation) -> String {
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

/// `None` for what begins with no digit, an error for a number that none can have.
fn number(text: &str) -> Option<Result<u32>> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Some(number.map_err(|e| format!("`{text}` is no number of a reason: {e}").into()))
}

/// The name may be written as in the kernel's source, and in small letters. If the kernel has none of this name,
/// what it means on others.
fn by_name(
    resolver: &mut Resolver,
    asked: &str,
) -> Result<std::result::Result<DropReason, &'static Explanation>> {
    let whole = asked.to_uppercase();
    let plain = whole.trim_start_matches('_');
    let names = [
        plain,
        plain.strip_prefix("SKB_DROP_REASON_").unwrap_or(plain),
        plain.strip_prefix("SKB_").unwrap_or(plain),
    ];
    if names.iter().all(|name| resolver.number(name).is_none()) {
        resolver.refresh();
    }
    if let Some(raw) = names.iter().find_map(|name| resolver.number(name)) {
        return Ok(Ok(resolver.reason(raw)));
    }
    if let Some(explanation) = names.iter().find_map(|name| skbdrop::explain(name)) {
        return Ok(Err(explanation));
    }
    let part = |reason: &DropReason| {
        let name = reason.name().unwrap_or_default();
        !names[1].is_empty() && name.contains(names[1])
    };
    let like: Vec<String> = resolver
        .reasons()
        .filter(part)
        .map(|reason| reason.to_string())
        .collect();
    let hint = match like.len() {
        0 => "--list shows all that it has".to_owned(),
        _ => format!("it has {}", like.join(", ")),
    };
    Err(format!("no drop reason `{asked}` on this kernel ({hint})").into())
}

fn check(options: &Options) -> Result<String> {
    // The text is what to compare with, and no source of names here.
    let resolver = resolver(&Options {
        format: None,
        vmlinux: options.vmlinux.clone(),
        ..Options::default()
    })?;
    let differing = match &options.format {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| format!("cannot read `{}`: {e}", file.display()))?;
            resolver.check_format(&text)?
        }
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

fn parse(parser: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut acts = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("btf" | "vmlinux") => once(&mut options.vmlinux, parser.value()?)?,
            Long("module") => options.modules.push(parser.value()?.into()),
            Long("format") => once(&mut options.format, parser.value()?)?,
            Long("list") => acts.push(Act::List),
            Long("check") => acts.push(Act::Check),
            Long("diff") => {
                acts.push(Act::Diff(
                    parser.value()?.string()?,
                    parser.value()?.string()?,
                ));
            }
            Long("help") | Short('h') => return Ok(None),
            Value(reason) => options.reasons.push(reason.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    match (acts.len(), options.reasons.is_empty()) {
        (0, true) => return Err("a number or a name is missing".into()),
        (0, false) => {}
        (1, true) => options.act = acts.remove(0),
        _ => {
            return Err("one thing at a time: numbers and names, --list, --diff or --check".into());
        }
    }
    Ok(Some(options))
}

fn once(place: &mut Option<PathBuf>, file: OsString) -> Result<(), lexopt::Error> {
    match place.replace(file.into()) {
        None => Ok(()),
        Some(_) => Err("one kernel at a time: --diff compares two".into()),
    }
}
