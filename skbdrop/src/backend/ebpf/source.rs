//! Loads the program, attaches it, reads its ring buffer.

use super::{config::KernelConfig, decode::decode, object};
use crate::{
    BackendKind, Error, ErrorKind, Result,
    backend::{Read, Record as Drop, Settings, Source},
    sys::bpf::{self, ProgramType},
};
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya_obj::{EbpfSectionKind, Object};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skbdrop_ebpf::Record;
use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    fmt, io, mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

/// The tracepoint as `bpf(BPF_RAW_TRACEPOINT_OPEN)` wants it.
const TRACEPOINT: &CStr = c"kfree_skb";
/// What the ring buffer adds to each record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER_LEN: usize = 8;
/// A buffer for less would lose most of any burst; one that is smaller than a record would lose all.
const MIN_RECORDS: usize = 8;
/// For the verifier's reasons. It is asked for only after a refusal.
const LOG_LEN: usize = 64 * 1024;
/// How much of the verifier's reasons goes into an error: the end says what was wrong.
const LOG_TAIL: usize = 400;

/// The program, attached, and its ring buffer.
pub(crate) struct EbpfSource {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    program: OwnedFd,
    /// Holds the program on the tracepoint; `None` once stopped.
    attachment: Option<OwnedFd>,
    program_type: ProgramType,
    limitations: Vec<Error>,
    /// What was told of each CPU's counter of losses.
    lost_seen: Vec<u64>,
    /// The same for a CPU that the kernel does not list: there is none, but a record may name one.
    lost_elsewhere: u64,
    misses_seen: u64,
    /// Losses that wait for the next record.
    untold: u64,
}

impl EbpfSource {
    /// Loads and attaches the program. Where the kernel refuses to copy packets, as under
    /// lockdown=confidentiality, it does so without their bytes and says so.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let types = settings.types()?;
        let own = settings.has_kernel_btf();
        let open = |snap_len| {
            Self::with(
                &KernelConfig::new(types, snap_len)?,
                own,
                settings.buffer_size,
            )
        };
        let refusal = match open(settings.snap_len) {
            Err(e) if e.kind() == ErrorKind::NotSupported && settings.snap_len > 0 => e,
            opened => return opened,
        };
        match open(0) {
            Ok(mut source) => {
                let lacking = "no bytes of packets, so no addresses: the kernel refuses to copy them \
                    (under lockdown=confidentiality it does)";
                let lacking = Error::not_supported(lacking).caused_by(refusal);
                source.limitations.push(lacking);
                Ok(source)
            }
            Err(_) => Err(refusal),
        }
    }

    fn with(kernel: &KernelConfig, kernel_btf: bool, buffer_size: u32) -> Result<Self> {
        let mut object = Object::parse(object::OBJECT).map_err(bad_object)?;
        let config = kernel.config.to_bytes();
        let globals = HashMap::from([(object::CONFIG, (&config[..], true))]);
        object.patch_map_data(globals).map_err(bad_object)?;
        let record = Record::SIZE + kernel.config.snap_len as usize + RING_HEADER_LEN;
        let least = (MIN_RECORDS * record).next_power_of_two() as u32;
        let mut maps = create_maps(&mut object, buffer_size.max(least))?;
        relocate(&mut object, &maps)?;

        let mut programs = vec![(ProgramType::RawTracepoint, object::RAW_TP)];
        if kernel_btf {
            programs.insert(
                0,
                (ProgramType::TpBtf(kernel.tracepoint_id), object::TP_BTF),
            );
        }
        let mut refusals: Option<Error> = None;
        for (ty, name) in programs {
            match attach(&object, ty, name) {
                Ok((program, attachment)) => {
                    let lost = take(&mut maps, object::LOST)?;
                    let ring = take(&mut maps, object::RECORDS)?;
                    let mut source = Self {
                        ring: RingBuf::try_from(ring).map_err(bad_map)?,
                        lost: PerCpuArray::try_from(lost).map_err(bad_map)?,
                        program,
                        attachment: Some(attachment),
                        program_type: ty,
                        limitations: Vec::new(),
                        lost_seen: Vec::new(),
                        lost_elsewhere: 0,
                        misses_seen: 0,
                        untold: 0,
                    };
                    source.lost_seen = vec![0; source.lost_by_cpu()?.len()];
                    return Ok(source);
                }
                // Without the privilege for the one there is none for the other.
                Err(e) if e.kind() == ErrorKind::PermissionDenied => return Err(e),
                // The better program's refusal explains more.
                Err(e) => refusals = refusals.or(Some(e)),
            }
        }
        Err(refusals.unwrap_or_else(|| Error::not_supported("no eBPF program to load")))
    }
}

impl EbpfSource {
    /// The ring is empty: what was lost by now came before any record to come. A CPU that lost drops may
    /// not have one again for long, so the next record of any CPU tells it.
    fn note_losses(&mut self) -> Result<()> {
        let lost = self.lost_by_cpu()?;
        for (seen, now) in self.lost_seen.iter_mut().zip(lost.iter()) {
            self.untold += now.saturating_sub(*seen);
            *seen = (*seen).max(*now);
        }
        let misses = self.misses();
        self.untold += misses.saturating_sub(mem::replace(&mut self.misses_seen, misses));
        Ok(())
    }

    /// Records that found no room, by CPU.
    fn lost_by_cpu(&self) -> Result<PerCpuValues<u64>> {
        self.lost.get(&0, 0).map_err(|e| {
            let what = "cannot read the eBPF program's counter of losses";
            Error::new(ErrorKind::Other, what).caused_by(e)
        })
    }

    /// Drops that the kernel did not run the program for, as it was running on that CPU already.
    fn misses(&self) -> u64 {
        bpf::recursion_misses(self.program.as_fd()).unwrap_or(self.misses_seen)
    }
}

impl Source for EbpfSource {
    fn kind(&self) -> BackendKind {
        BackendKind::Ebpf
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(Drop<'_>)) -> Result<Read> {
        let mut read = Read::default();
        let mut drained = false;
        while read.taken < max {
            let Some(item) = self.ring.next() else {
                drained = true;
                break;
            };
            read.taken += 1;
            let Ok(mut decoded) = decode(&item) else {
                read.undecodable += 1;
                continue;
            };
            let seen = match self.lost_seen.get_mut(decoded.cpu as usize) {
                Some(seen) => seen,
                None => &mut self.lost_elsewhere,
            };
            let new = decoded.lost_on_cpu.saturating_sub(*seen);
            *seen = (*seen).max(decoded.lost_on_cpu);
            decoded.record.lost_before = mem::take(&mut self.untold) + new;
            sink(decoded.record);
        }
        if drained && read.taken > 0 {
            self.note_losses()?;
        }
        read.ended = drained && self.attachment.is_none();
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        let no_room: u64 = self.lost_by_cpu()?.iter().sum();
        Ok(no_room + self.misses())
    }

    fn stop(&mut self) {
        if self.attachment.take().is_some() {
            // Other CPUs may be in the program still. The kernel's barrier over all CPUs waits for them; where it
            // has none, what they are writing comes out later, or not at all.
            let _ = rustix::thread::membarrier(rustix::thread::MembarrierCommand::Global);
        }
    }

    fn take_limitations(&mut self) -> Vec<Error> {
        mem::take(&mut self.limitations)
    }
}

impl fmt::Debug for EbpfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EbpfSource")
            .field("program_type", &self.program_type)
            .field("attached", &self.attachment.is_some())
            .finish_non_exhaustive()
    }
}

/// Creates the object's maps, writes and freezes its read-only data.
fn create_maps(object: &mut Object, buffer_size: u32) -> Result<HashMap<String, MapData>> {
    let mut maps = HashMap::new();
    for (name, map) in object.maps.iter_mut() {
        if name == object::RECORDS {
            map.set_max_entries(buffer_size);
        }
        let read_only = map.section_kind() == EbpfSectionKind::Rodata;
        let data = map.data().to_vec();
        let created = create_map(map, name)?;
        if read_only {
            let fd = created.fd().as_fd();
            bpf::map_write(fd, &data)
                .and_then(|()| bpf::map_freeze(fd))
                .map_err(|e| Error::io(format!("cannot freeze the eBPF map `{name}`"), e))?;
        }
        maps.insert(name.clone(), created);
    }
    Ok(maps)
}

fn create_map(map: &aya_obj::Map, name: &str) -> Result<MapData> {
    let create = || MapData::create(map.clone(), name, None);
    let error = match create() {
        Ok(created) => return Ok(created),
        Err(error) => error,
    };
    // Kernels before 5.11 charge maps to RLIMIT_MEMLOCK when they are made. To raise it takes
    // CAP_SYS_RESOURCE; without it the first error stands.
    if os_error(&error) == Some(io::ErrorKind::PermissionDenied)
        && let Some(created) = with_memlock_raised(|| create().ok())
    {
        return Ok(created);
    }
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

/// Loads one program and attaches it.
fn attach(object: &Object, ty: ProgramType, name: &str) -> Result<(OwnedFd, OwnedFd)> {
    let function = object
        .programs
        .get(name)
        .and_then(|program| object.functions.get(&program.function_key()))
        .ok_or_else(|| Error::invalid_data(format!("the eBPF object has no program `{name}`")))?;
    let c_name = CString::new(name).map_err(|e| {
        Error::invalid_data(format!("bad name of an eBPF program `{name}`")).caused_by(e)
    })?;
    let load = |log: &mut [u8]| {
        bpf::program_load(ty, &c_name, &function.instructions, &object.license, log)
    };
    let program = load(&mut []).map_err(|e| {
        // EACCES is the verifier's, for a program that it does not like.
        if e.raw_os_error() == Some(libc::EPERM) {
            return Error::io(
                format!(
                    "cannot load the eBPF program `{name}` (needs CAP_BPF and CAP_PERFMON, or root)"
                ),
                e,
            );
        }
        let mut log = vec![0; LOG_LEN];
        let again = load(&mut log).err().unwrap_or(e);
        let reasons = verifier_reasons(&log);
        Error::not_supported(format!(
            "the kernel refused the eBPF program `{name}`{reasons}"
        ))
        .caused_by(again)
    })?;
    let tracepoint = match ty {
        ProgramType::TpBtf(_) => None,
        ProgramType::RawTracepoint => Some(TRACEPOINT),
    };
    let attachment = bpf::raw_tracepoint_open(program.as_fd(), tracepoint).map_err(|e| {
        Error::io(
            format!(
                "cannot attach the eBPF program `{name}` to the tracepoint skb:kfree_skb \
                 (needs CONFIG_BPF_EVENTS, CAP_PERFMON and BTF of this very kernel)"
            ),
            e,
        )
    })?;
    Ok((program, attachment))
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

fn take(maps: &mut HashMap<String, MapData>, name: &str) -> Result<Map> {
    let map = maps
        .remove(name)
        .ok_or_else(|| Error::invalid_data(format!("the eBPF object has no map `{name}`")))?;
    Map::from_map_data(map).map_err(bad_map)
}

fn bad_object(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_data("cannot use the eBPF object in the crate").caused_by(error)
}

fn bad_map(error: aya::maps::MapError) -> Error {
    Error::new(
        ErrorKind::Other,
        "cannot map the eBPF program's ring buffer",
    )
    .caused_by(error)
}
