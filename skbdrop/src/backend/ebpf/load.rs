//! Loads one of the object's programs with the maps that it uses, and attaches it.

use super::{
    cast::Cast,
    config::KernelConfig,
    filter::Compiled,
    fold::fold,
    object,
    splice::{loaded_number, set_number, splice},
};
use crate::{
    Error, ErrorKind, Result,
    diagnostics::tell,
    sys::{
        bpf::{self, ProgramType},
        ring::Ring,
        shared::SharedWords,
    },
};
use aya::maps::MapData;
use aya_obj::{Object, generated::bpf_insn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skbdrop_ebpf::{
    Config,
    view::{AT_HAND, FILTER},
};
use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

/// The tracepoint as `bpf(BPF_RAW_TRACEPOINT_OPEN)` wants it, and as people know it.
const KFREE_SKB: (&CStr, &str) = (c"kfree_skb", "skb:kfree_skb");
/// The tracepoint of queueing disciplines.
const QDISC_DROP: (&CStr, &str) = (c"qdisc_drop", "qdisc:qdisc_drop");
/// For the verifier's reasons. It is asked for only after a refusal.
const LOG_LEN: usize = 64 * 1024;
/// How much of the verifier's reasons goes into an error: the end says what was wrong.
const LOG_TAIL: usize = 400;

/// What to load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The program that reads kernel memory by direct loads; `None` where the types are not numbered as the running
    /// kernel numbers them.
    pub(super) tp_btf: Option<&'a str>,
    /// The same that reads by a helper.
    pub(super) raw_tp: &'a str,
    /// The maps that it uses, each with its number of entries if it is not the object's to say.
    pub(super) maps: &'a [(&'a str, Option<u32>)],
    /// Which drops the program is for; all if `None`.
    pub(super) filter: Option<&'a Compiled>,
    /// The number of the prototype of `qdisc:qdisc_drop`, if there is to be a program on it too.
    pub(super) qdisc: Option<u32>,
}

/// A program, attached, and its maps.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) program: OwnedFd,
    /// Holds the program on the tracepoint.
    pub(super) attachment: OwnedFd,
    pub(super) program_type: ProgramType,
    /// What holds the program on `qdisc:qdisc_drop`, if one was wanted, or why there is none.
    pub(super) qdisc: Option<Result<OwnedFd>>,
    maps: HashMap<String, MapData>,
}

impl Loaded {
    /// Loads the better of the two programs that the kernel takes.
    pub(super) fn new(kernel: &KernelConfig, wanted: Wanted<'_>) -> Result<Self> {
        let mut object = Object::parse(object::OBJECT).map_err(bad_object)?;
        let mut config = kernel.config;
        config.filter = wanted.filter.map_or(0, |filter| filter.needs);
        let without = Completion { config, cast: None };
        let mut programs = Vec::new();
        if let Some(name) = wanted.tp_btf {
            let ty = ProgramType::TpBtf(kernel.tracepoint_id);
            if let Some((cast, window)) = kernel.cast {
                config.window = window;
                let cast = Some(cast);
                programs.push((ty, name, Completion { config, cast }));
            }
            programs.push((ty, name, without));
        }
        programs.push((ProgramType::RawTracepoint, wanted.raw_tp, without));
        let mut names = vec![wanted.raw_tp];
        names.extend(wanted.tp_btf);
        let asking = names.clone();
        if wanted.qdisc.is_some() {
            names.extend([object::QDISC_TP_BTF, object::QDISC_RAW_TP]);
        }
        keep_programs(&mut object, &names);
        let maps = create_maps(&mut object, wanted.maps)?;
        relocate(&mut object, &maps)?;
        for name in asking {
            put_filter(&mut object, name, wanted.filter)?;
        }
        let mut refusals: Option<Error> = None;
        for (program_type, name, completion) in programs {
            match attach(&object, program_type, name, KFREE_SKB, completion) {
                Ok((program, attachment)) => {
                    let qdisc = wanted
                        .qdisc
                        .map(|id| attach_qdisc(&object, program_type, id, completion));
                    return Ok(Self {
                        program,
                        attachment,
                        program_type,
                        qdisc,
                        maps,
                    });
                }
                // Without the privilege for the one there is none for the other.
                Err(e) if e.kind() == ErrorKind::PermissionDenied => return Err(e),
                // The better program's refusal explains more.
                Err(e) => refusals = refusals.or(Some(e)),
            }
        }
        Err(refusals.unwrap_or_else(|| Error::not_supported("no eBPF program to load")))
    }

    /// One of its maps.
    pub(super) fn map(&mut self, name: &str) -> Result<MapData> {
        self.maps.remove(name).ok_or_else(|| no_map(name))
    }

    /// One of its maps that is an array which user space may map.
    pub(super) fn words(&mut self, name: &str) -> Result<SharedWords> {
        let map = self.map(name)?;
        SharedWords::map(map.fd().as_fd()).map_err(|e| cannot_map(name, e))
    }
}

/// How many CPUs the kernel may ever have: as many as its per-CPU arrays have.
pub(super) fn possible_cpus() -> Result<u32> {
    aya::util::nr_cpus()
        .map(|cpus| cpus as u32)
        .map_err(|(path, e)| Error::io(format!("cannot read the number of CPUs from `{path}`"), e))
}

/// Forgets the others: they use maps that nobody made.
fn keep_programs(object: &mut Object, wanted: &[&str]) {
    let is_wanted = |name: &String| wanted.iter().any(|wanted| name == wanted);
    let others = object.programs.iter().filter(|(name, _)| !is_wanted(name));
    let others: Vec<_> = others.map(|(_, program)| program.function_key()).collect();
    object.programs.retain(|name, _| is_wanted(name));
    object.functions.retain(|key, _| !others.contains(key));
}

/// What is put in place of a program's placeholders.
#[derive(Clone, Copy)]
struct Completion {
    config: Config,
    /// Where the kernel has such; the configuration has a window then.
    cast: Option<Cast>,
}

impl Completion {
    fn of(&self, instructions: &[bpf_insn]) -> Vec<bpf_insn> {
        let words = self.config.words();
        let mut complete = instructions.to_vec();
        for at in 0..complete.len() {
            if let Some(word) = set_number(&complete[at]).and_then(Config::placeheld) {
                complete[at].imm = words[word] as i32;
            }
            if let (Some(Config::CAST), Some(cast)) = (loaded_number(&complete[at..]), self.cast) {
                complete[at..at + 2].copy_from_slice(&cast.call());
            }
        }
        complete
    }
}

/// Creates the maps that are wanted.
fn create_maps(
    object: &mut Object,
    wanted: &[(&str, Option<u32>)],
) -> Result<HashMap<String, MapData>> {
    let mut maps = HashMap::new();
    for &(name, entries) in wanted {
        let map = object.maps.get_mut(name).ok_or_else(|| no_map(name))?;
        if let Some(entries) = entries {
            map.set_max_entries(entries);
        }
        maps.insert(name.to_owned(), create_map(map, name)?);
    }
    Ok(maps)
}

fn create_map(map: &aya_obj::Map, name: &str) -> Result<MapData> {
    let create = || MapData::create(map.clone(), name, None);
    let is_denied = |e: &_| os_error(e) == Some(io::ErrorKind::PermissionDenied);
    let error = match charged(create, is_denied) {
        Ok(created) => return Ok(created),
        Err(error) => error,
    };
    let kind = os_error(&error).unwrap_or(io::ErrorKind::Other);
    let remedy = match kind {
        io::ErrorKind::PermissionDenied => {
            " (needs CAP_BPF and CAP_PERFMON, or root; before Linux 5.11 also room in RLIMIT_MEMLOCK)"
        }
        io::ErrorKind::InvalidInput => " (needs Linux 5.8 or later with CONFIG_BPF_SYSCALL)",
        io::ErrorKind::OutOfMemory => " (try a smaller buffer)",
        _ => "",
    };
    Err(Error::io(
        format!("cannot create an eBPF map{remedy}"),
        io::Error::from(kind),
    )
    .caused_by(error))
}

/// The kind of the system call's error inside aya's.
fn os_error(error: &aya::maps::MapError) -> Option<io::ErrorKind> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(os) = error.downcast_ref::<io::Error>() {
            return Some(os.kind());
        }
        cause = error.source();
    }
    None
}

/// Does what the kernel charges to RLIMIT_MEMLOCK, as those before 5.11 do with maps and programs: where it is denied, once
/// more without that limit. To raise it takes CAP_SYS_RESOURCE; without it the first error stands.
fn charged<T, E>(
    act: impl Fn() -> Result<T, E>,
    is_denied: impl FnOnce(&E) -> bool,
) -> Result<T, E> {
    act().or_else(|e| {
        let again = is_denied(&e).then(|| with_memlock_raised(|| act().ok()));
        again.flatten().ok_or(e)
    })
}

/// Runs `act` without a limit of locked memory, if that can be had; puts the limit back.
fn with_memlock_raised<T>(act: impl FnOnce() -> Option<T>) -> Option<T> {
    let old = getrlimit(Resource::Memlock);
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    old.current?;
    setrlimit(Resource::Memlock, unlimited).ok()?;
    let result = act();
    // To lower it is always allowed.
    let _ = setrlimit(Resource::Memlock, old);
    result
}

/// Writes the maps' descriptors into the programs.
fn relocate(object: &mut Object, maps: &HashMap<String, MapData>) -> Result<()> {
    let mut sections = HashSet::new();
    sections.extend(object.functions.keys().map(|(section, _)| *section));
    let described: Vec<_> = maps
        .iter()
        .filter_map(|(name, map)| {
            Some((
                name.as_str(),
                map.fd().as_fd().as_raw_fd(),
                object.maps.get(name)?.clone(),
            ))
        })
        .collect();
    object
        .relocate_maps(
            described.iter().map(|(name, fd, map)| (*name, *fd, map)),
            &sections,
        )
        .and_then(|()| object.relocate_calls(&sections))
        .map_err(bad_object)
}

/// Puts the filter into a program. To be called after relocation, which tells the programs of a section apart by where they end.
fn put_filter(object: &mut Object, name: &str, filter: Option<&Compiled>) -> Result<()> {
    let key = object
        .programs
        .get(name)
        .map(|program| program.function_key());
    let Some(function) = key.and_then(|key| object.functions.get_mut(&key)) else {
        // What is not there is told when it is to be attached.
        return Ok(());
    };
    let at_hand = filter.and_then(|filter| filter.at_hand.as_deref());
    splice(&mut function.instructions, AT_HAND, at_hand)?;
    let whole = filter.map(|filter| filter.instructions.as_slice());
    splice(&mut function.instructions, FILTER, whole)
}

/// Loads the program on `qdisc:qdisc_drop` and attaches it: of the kind that the kernel took for the other.
fn attach_qdisc(
    object: &Object,
    other: ProgramType,
    id: u32,
    completion: Completion,
) -> Result<OwnedFd> {
    let (ty, name) = match other {
        ProgramType::TpBtf(_) => (ProgramType::TpBtf(id), object::QDISC_TP_BTF),
        ProgramType::RawTracepoint => (other, object::QDISC_RAW_TP),
    };
    // The attachment holds the program.
    attach(object, ty, name, QDISC_DROP, completion).map(|(_, attachment)| attachment)
}

/// Loads one program and attaches it.
fn attach(
    object: &Object,
    ty: ProgramType,
    name: &str,
    (tracepoint, known_as): (&CStr, &str),
    completion: Completion,
) -> Result<(OwnedFd, OwnedFd)> {
    let function = object
        .programs
        .get(name)
        .and_then(|program| object.functions.get(&program.function_key()))
        .ok_or_else(|| Error::invalid_data(format!("the eBPF object has no program `{name}`")))?;
    let c_name = CString::new(name).map_err(|e| {
        Error::invalid_data(format!("bad name of an eBPF program `{name}`")).caused_by(e)
    })?;
    let plain = completion.of(&function.instructions);
    let load = |instructions: &[bpf_insn], log: &mut [u8]| {
        bpf::program_load(ty, &c_name, instructions, &object.license, log)
    };
    // EACCES is the verifier's, for a program that it does not like.
    let is_denied = |e: &io::Error| e.raw_os_error() == Some(libc::EPERM);
    let load_charged =
        |instructions: &[bpf_insn]| charged(|| load(instructions, &mut []), is_denied);
    let program = load_charged(&fold(&plain)).or_else(|e| {
        if !may_be_the_verifiers(&e) {
            return Err(e);
        }
        // As it was written it does the same, and this kernel may see more easily that it is safe.
        let program = load_charged(&plain)?;
        tell!(
            warn,
            name,
            "the kernel takes the eBPF program only as it was written: {e}"
        );
        Ok(program)
    });
    let program = program.map_err(|e| {
        if is_denied(&e) {
            return Error::io(
                format!(
                    "cannot load the eBPF program `{name}` (needs CAP_BPF and CAP_PERFMON, or root; before \
                     Linux 5.11 also room in RLIMIT_MEMLOCK)"
                ),
                e,
            );
        }
        if !may_be_the_verifiers(&e) {
            return Error::io(format!("cannot load the eBPF program `{name}`"), e);
        }
        // Once more for its log alone: that it has no room for all of it is an error of its own.
        let mut log = vec![0; LOG_LEN];
        let _ = load(&plain, &mut log);
        let reasons = verifier_reasons(&log);
        Error::not_supported(format!(
            "the kernel refused the eBPF program `{name}`{reasons}"
        ))
        .caused_by(e)
    })?;
    let tracepoint = match ty {
        ProgramType::TpBtf(_) => None,
        ProgramType::RawTracepoint => Some(tracepoint),
    };
    let attachment = bpf::raw_tracepoint_open(program.as_fd(), tracepoint).map_err(|e| {
        Error::io(
            format!(
                "cannot attach the eBPF program `{name}` to the tracepoint {known_as} \
                 (needs CONFIG_BPF_EVENTS, CAP_PERFMON and BTF of this very kernel)"
            ),
            e,
        )
    })?;
    Ok((program, attachment))
}

/// Whether the verifier may have refused it: else it was something that the verifier has no say in.
fn may_be_the_verifiers(e: &io::Error) -> bool {
    !matches!(
        e.raw_os_error(),
        Some(libc::EPERM | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

/// The end of the verifier's log, which says what it did not like.
fn verifier_reasons(log: &[u8]) -> String {
    let len = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..len]);
    let text = text.trim_end();
    if text.is_empty() {
        return String::new();
    }
    let mut start = text.len().saturating_sub(LOG_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("; the verifier says: {}", &text[start..])
}

/// A ring buffer, to be read.
pub(super) fn ring(map: &MapData, name: &str) -> Result<Ring> {
    Ring::map(map.fd().as_fd()).map_err(|e| cannot_map(name, e))
}

fn no_map(name: &str) -> Error {
    Error::invalid_data(format!("the eBPF object has no map `{name}`"))
}

fn bad_object(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_data("cannot use the eBPF object in the crate").caused_by(error)
}

fn cannot_map(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let what = format!("cannot map the memory of the eBPF map `{name}`");
    Error::new(ErrorKind::Other, what).caused_by(error)
}
