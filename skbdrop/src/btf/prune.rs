//! One pass over raw BTF that copies out the types which describe packet drops.
//!
//! The format is `include/uapi/linux/btf.h`: a header, types one after the other, each
//! numbered by its place, and a section of NUL-terminated strings.

use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// Structures whose members are read by the eBPF program.
const STRUCTS: [&[u8]; 12] = [
    b"sk_buff",
    b"skb_shared_info",
    b"net_device",
    b"net",
    b"sock",
    b"sock_common",
    b"ns_common",
    b"sock_cgroup_data",
    b"cgroup",
    b"kernfs_node",
    b"Qdisc",
    b"Qdisc_ops",
];
/// The prototype of the tracepoint's probes.
const TRACEPOINT: &[u8] = b"btf_trace_kfree_skb";
/// That of the tracepoint by which queueing disciplines tell of their drops.
const QDISC_TRACEPOINT: &[u8] = b"btf_trace_qdisc_drop";
/// The kernel's function by which a program may look at any address as a structure.
const RDONLY_CAST: &[u8] = b"bpf_rdonly_cast\0";
/// Every enum of drop reasons is called so: the core's `skb_drop_reason`, and
/// `mac80211_drop_reason`, `ovs_drop_reason`, `qdisc_drop_reason` of the subsystems.
const REASONS: &[u8] = b"drop_reason";
/// Numbers and names of the subsystems.
const SUBSYSTEMS: &[u8] = b"skb_drop_reason_subsys";

/// The kernel takes no longer name of a type (`KSYM_NAME_LEN` since Linux 6.1).
const MAX_NAME: usize = 512;
/// What is copied out of a real kernel has some ten kilobytes. A forged one could lead to gigabytes, since
/// names may overlap, and to structures that take forever to look through.
const MAX_PRUNED: usize = 256 * 1024;

const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// A small BTF that holds only what describes packet drops.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pruned {
    /// Raw BTF, in the byte order of the original. It stands alone: strings and type numbers
    /// are its own.
    pub bytes: Vec<u8>,
    /// Number that `btf_trace_kfree_skb` had in the original, by which the kernel knows the
    /// tracepoint; `None` if it is not there.
    pub tracepoint_id: Option<u32>,
    pub(crate) numbers: Numbers,
}

/// Numbers that things had in the original, by which the kernel knows them; `None` for what is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    /// `btf_trace_kfree_skb`.
    pub(crate) tracepoint: Option<u32>,
    /// `btf_trace_qdisc_drop`.
    pub(crate) qdisc_tracepoint: Option<u32>,
    /// `struct sk_buff`.
    pub(crate) sk_buff: Option<u32>,
    /// The function `bpf_rdonly_cast`.
    pub(crate) rdonly_cast: Option<u32>,
}

/// Copies out of the raw BTF `btf` the enums of drop reasons, the prototypes of the tracepoints
/// `skb:kfree_skb` and `qdisc:qdisc_drop` and the structures that their arguments lead to.
///
/// The result has a few kilobytes and serves as a record of a kernel:
/// [`Resolver::from_btf_bytes`](crate::Resolver::from_btf_bytes) reads it like the original.
///
/// # Errors
///
/// [`InvalidData`](crate::ErrorKind::InvalidData) if `btf` is not raw BTF that stands alone,
/// or is truncated.
pub fn prune(btf: &[u8]) -> Result<Pruned> {
    copy(&Original::index(btf, None)?)
}

/// Copies the enums of drop reasons out of the raw BTF of a module, which is split from `base`, that of
/// the kernel it was built for: `/sys/kernel/btf/MODULE` with `/sys/kernel/btf/vmlinux` (since Linux
/// 5.11), or a `.ko` file's section `.BTF` with its kernel's.
///
/// The result stands alone, as that of [`prune_btf`](crate::prune_btf) does. It holds enums only, none
/// if the module declares no drop reasons; its [`tracepoint_id`](Pruned::tracepoint_id) is `None`.
/// The part of a reason's number that names the subsystem is told by the kernel's own BTF. What was
/// pruned before, and stands alone, is taken as it is, whatever the `base`.
///
/// # Errors
///
/// [`InvalidData`](crate::ErrorKind::InvalidData) if either is not raw BTF, or is truncated, or `btf`
/// refers to strings that `base` has not. A `base` of another kernel than the module's is not always
/// found out, and then gives wrong names.
pub fn prune_module(btf: &[u8], base: &[u8]) -> Result<Pruned> {
    if Original::sections(btf)?.stands_alone() {
        return prune(btf);
    }
    copy(&Original::index(btf, Some(&Original::sections(base)?))?)
}

fn copy(original: &Original<'_>) -> Result<Pruned> {
    let mut pruner = Pruner {
        original,
        numbers: BTreeMap::new(),
        queue: Vec::new(),
    };
    for &root in &original.roots {
        pruner.want(root, Depth::Whole);
    }
    while let Some(id) = pruner.queue.pop() {
        pruner.follow(id)?;
    }
    let bytes = pruner.write()?;
    Ok(Pruned {
        bytes,
        tracepoint_id: original.numbers.tracepoint,
        numbers: original.numbers,
    })
}

/// The original BTF with the place of each type.
struct Original<'a> {
    big_endian: bool,
    types: &'a [u8],
    strings: &'a [u8],
    /// The strings of the BTF that this one is split from. The own ones count on from there.
    base_strings: &'a [u8],
    /// Only enums: what a split BTF's other types refer to is in its base.
    split: bool,
    /// Offset in `types` of type N+1.
    offsets: Vec<u32>,
    roots: Vec<u32>,
    numbers: Numbers,
}

impl<'a> Original<'a> {
    fn index(btf: &'a [u8], base: Option<&Self>) -> Result<Self> {
        let mut original = Self::sections(btf)?;
        match base {
            Some(base) => {
                original.base_strings = base.strings;
                original.split = true;
            }
            None if !original.stands_alone() => {
                return Err(Error::invalid_data(
                    "this BTF does not stand alone: a module's is to be read with that of its kernel",
                ));
            }
            None => {}
        }
        original.scan()?;
        Ok(original)
    }

    /// Checks the header and finds the sections.
    fn sections(btf: &'a [u8]) -> Result<Self> {
        if btf.len() < HEADER_LEN {
            return Err(Error::invalid_data(format!(
                "BTF is truncated: {} bytes are less than its header",
                btf.len()
            )));
        }
        let big_endian = match btf[..2] {
            [0x9f, 0xeb] => false,
            [0xeb, 0x9f] => true,
            _ => {
                return Err(Error::invalid_data(format!(
                    "not BTF: magic number {:02x}{:02x} instead of 9feb",
                    btf[0], btf[1]
                )));
            }
        };
        if btf[2] != 1 {
            return Err(Error::invalid_data(format!(
                "BTF has the unknown version {}",
                btf[2]
            )));
        }
        let word = |at| read_u32(btf, at, big_endian).map_or(0, |word| word as usize);
        let section = |offset: usize, len: usize, what| {
            let start = word(4).checked_add(offset);
            let end = start.and_then(|start| start.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if end <= btf.len() => Ok(&btf[start..end]),
                _ => Err(Error::invalid_data(format!(
                    "BTF is truncated: its {what} section ends outside of the {} bytes",
                    btf.len()
                ))),
            }
        };
        Ok(Self {
            big_endian,
            types: section(word(8), word(12), "type")?,
            strings: section(word(16), word(20), "string")?,
            base_strings: &[],
            split: false,
            offsets: Vec::new(),
            roots: Vec::new(),
            numbers: Numbers::default(),
        })
    }

    /// Where strings begin with the empty one, as the kernel asks of BTF that is not split from another.
    fn stands_alone(&self) -> bool {
        self.strings.first() == Some(&0)
    }

    fn scan(&mut self) -> Result<()> {
        // vmlinux has some 33 bytes per type.
        self.offsets.reserve(self.types.len() / 33);
        let mut at = 0;
        let mut id = 0u32;
        while at < self.types.len() {
            id += 1;
            // No more than 4 GiB: section lengths are 32 bits.
            self.offsets.push(at as u32);
            let ty = self.read(at, id)?;
            at += ty.len;
            let name = match ty.kind {
                KIND_STRUCT | KIND_TYPEDEF | KIND_ENUM | KIND_ENUM64 if ty.name != 0 => {
                    self.string(ty.name)?
                }
                // Most of all types are functions: their names are not looked for the ends of.
                KIND_FUNC if !self.split => {
                    let name = self.strings.get(ty.name as usize..).unwrap_or_default();
                    if name.starts_with(RDONLY_CAST) {
                        self.numbers.rdonly_cast.get_or_insert(id);
                    }
                    continue;
                }
                _ => continue,
            };
            let wanted = match ty.kind {
                KIND_STRUCT => !self.split && STRUCTS.contains(&name),
                KIND_TYPEDEF => !self.split && (name == TRACEPOINT || name == QDISC_TRACEPOINT),
                _ => name.ends_with(REASONS) || name == SUBSYSTEMS,
            };
            if wanted {
                self.roots.push(id);
                let number = match name {
                    TRACEPOINT => &mut self.numbers.tracepoint,
                    QDISC_TRACEPOINT => &mut self.numbers.qdisc_tracepoint,
                    b"sk_buff" => &mut self.numbers.sk_buff,
                    _ => continue,
                };
                number.get_or_insert(id);
            }
        }
        Ok(())
    }

    /// The type at offset `at`; `id` is for the error.
    fn read(&self, at: usize, id: u32) -> Result<Type> {
        let truncated = || {
            Error::invalid_data(format!(
                "BTF is truncated: type {id} ends outside of the type section"
            ))
        };
        let word =
            |n: usize| read_u32(self.types, at + 4 * n, self.big_endian).ok_or_else(truncated);
        let info = word(1)?;
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        let more = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
            KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT
            | KIND_FUNC | KIND_FLOAT | KIND_TYPE_TAG => 0,
            _ => {
                return Err(Error::invalid_data(format!(
                    "BTF type {id} has the unknown kind {kind}"
                )));
            }
        };
        let len = TYPE_LEN + more;
        if at + len > self.types.len() {
            return Err(truncated());
        }
        Ok(Type {
            at,
            name: word(0)?,
            info,
            kind,
            count,
            target: word(2)?,
            len,
        })
    }

    fn by_id(&self, id: u32) -> Result<Type> {
        let at = (id as usize)
            .checked_sub(1)
            .and_then(|n| self.offsets.get(n));
        let at = at.ok_or_else(|| {
            Error::invalid_data(format!("BTF refers to type {id}, which it has not"))
        })?;
        self.read(*at as usize, id)
    }

    fn string(&self, offset: u32) -> Result<&'a [u8]> {
        let at = offset as usize;
        let (strings, at) = match at.checked_sub(self.base_strings.len()) {
            Some(own) => (self.strings, own),
            None => (self.base_strings, at),
        };
        // With another base, offsets lead to where no string begins, and to wrong names.
        if self.split && at > 0 && strings.get(at - 1).is_some_and(|&before| before != 0) {
            return Err(Error::invalid_data(format!(
                "the module's BTF refers to the middle of a string, at {offset} (is it of another kernel?)"
            )));
        }
        let rest = strings.get(at..);
        let name = rest.and_then(|rest| {
            let within = &rest[..rest.len().min(MAX_NAME)];
            Some(&rest[..within.iter().position(|&byte| byte == 0)?])
        });
        name.ok_or_else(|| {
            Error::invalid_data(format!(
                "BTF refers to a string at {offset}, where it has none of less than {MAX_NAME} bytes \
                 (a module's BTF does not stand alone)"
            ))
        })
    }

    /// Word `n` of what follows the type's first twelve bytes.
    fn word(&self, ty: &Type, n: usize) -> u32 {
        read_u32(self.types, ty.at + TYPE_LEN + 4 * n, self.big_endian)
            .expect("`read` checked that the type is inside its section")
    }
}

fn read_u32(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    })
}

/// One type: its first twelve bytes, and where it is.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    kind: u32,
    count: usize,
    /// Size or type number, as the kind has it.
    target: u32,
    len: usize,
}

/// How much of a structure is copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Its name alone: it is only pointed at.
    Name,
    /// Its members too.
    Whole,
}

/// Collects what is wanted, follows what it needs, writes the result.
struct Pruner<'a> {
    original: &'a Original<'a>,
    /// Wanted types by their original number, which is also the order of the result.
    numbers: BTreeMap<u32, Depth>,
    queue: Vec<u32>,
}

impl Pruner<'_> {
    fn want(&mut self, id: u32, depth: Depth) {
        if id == 0 || self.numbers.get(&id).is_some_and(|&known| known >= depth) {
            return;
        }
        self.numbers.insert(id, depth);
        self.queue.push(id);
    }

    /// Wants what type `id` needs.
    fn follow(&mut self, id: u32) -> Result<()> {
        let ty = self.original.by_id(id)?;
        match ty.kind {
            KIND_STRUCT | KIND_UNION if self.numbers[&id] == Depth::Whole => {
                for member in 0..ty.count {
                    let target = self.original.word(&ty, 3 * member + 1);
                    if let Some(target) = self.inner_structure(target)? {
                        self.want(target, Depth::Whole);
                    }
                }
            }
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                self.want(ty.target, Depth::Whole);
            }
            KIND_PTR => self.want(ty.target, Depth::Name),
            KIND_FUNC_PROTO => {
                for parameter in 0..ty.count {
                    self.want(self.original.word(&ty, 2 * parameter + 1), Depth::Name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The member's type if a path of members may lead through it: an anonymous structure, a
    /// wanted one, or a typedef of either.
    fn inner_structure(&self, id: u32) -> Result<Option<u32>> {
        if id == 0 {
            return Ok(None);
        }
        let ty = self.original.by_id(id)?;
        Ok(match ty.kind {
            KIND_STRUCT | KIND_UNION => {
                (self.is_anonymous(ty)? || self.numbers.contains_key(&id)).then_some(id)
            }
            KIND_TYPEDEF => self.typedef_of_structure(ty)?.then_some(id),
            _ => None,
        })
    }

    fn typedef_of_structure(&self, typedef: Type) -> Result<bool> {
        let target = typedef.target;
        if target == 0 {
            return Ok(false);
        }
        let ty = self.original.by_id(target)?;
        Ok(matches!(ty.kind, KIND_STRUCT | KIND_UNION) && self.is_anonymous(ty)?)
    }

    fn is_anonymous(&self, ty: Type) -> Result<bool> {
        Ok(self.original.string(ty.name)?.is_empty())
    }

    fn write(&self) -> Result<Vec<u8>> {
        let new_ids: HashMap<u32, u32> = self.numbers.keys().copied().zip(1..).collect();
        let mut out = Writer::new(self.original.big_endian);
        for (&id, &depth) in &self.numbers {
            let ty = self.original.by_id(id)?;
            let new_id = |old: u32| new_ids.get(&old).copied().unwrap_or(0);
            let name = out.string(self.original.string(ty.name)?);
            let structure = matches!(ty.kind, KIND_STRUCT | KIND_UNION);
            if structure && depth == Depth::Name {
                let union = u32::from(ty.kind == KIND_UNION);
                out.words(&[name, KIND_FWD << 24 | union << 31, 0])?;
                continue;
            }
            let target = match ty.kind {
                KIND_PTR | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT
                | KIND_TYPE_TAG | KIND_FUNC_PROTO | KIND_FUNC | KIND_VAR | KIND_DECL_TAG => {
                    new_id(ty.target)
                }
                _ => ty.target,
            };
            out.words(&[name, ty.info, target])?;
            // Words per element of what follows, which of them is a name and which a type.
            let (step, name_at, type_at) = match ty.kind {
                KIND_STRUCT | KIND_UNION => (3, Some(0), Some(1)),
                KIND_ENUM64 => (3, Some(0), None),
                KIND_ENUM => (2, Some(0), None),
                KIND_FUNC_PROTO => (2, Some(0), Some(1)),
                KIND_DATASEC => (3, None, Some(0)),
                KIND_ARRAY => (3, None, Some(0)),
                _ => (1, None, None),
            };
            for n in 0..(ty.len - TYPE_LEN) / 4 {
                let word = self.original.word(&ty, n);
                let word = if Some(n % step) == name_at {
                    out.string(self.original.string(word)?)
                } else if Some(n % step) == type_at {
                    new_id(word)
                } else {
                    word
                };
                out.words(&[word])?;
            }
        }
        Ok(out.finish())
    }
}

/// Encodes BTF.
struct Writer {
    big_endian: bool,
    types: Vec<u8>,
    strings: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

impl Writer {
    fn new(big_endian: bool) -> Self {
        Self {
            big_endian,
            types: Vec::new(),
            strings: vec![0],
            known: HashMap::from([(Vec::new(), 0)]),
        }
    }

    fn string(&mut self, string: &[u8]) -> u32 {
        if let Some(&offset) = self.known.get(string) {
            return offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(string);
        self.strings.push(0);
        self.known.insert(string.to_vec(), offset);
        offset
    }

    fn encode(&self, word: u32) -> [u8; 4] {
        if self.big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    /// Appends to the types; their names are there already.
    fn words(&mut self, words: &[u32]) -> Result<()> {
        for &word in words {
            let bytes = self.encode(word);
            self.types.extend_from_slice(&bytes);
        }
        if self.types.len() + self.strings.len() > MAX_PRUNED {
            return Err(Error::invalid_data(format!(
                "BTF describes packet drops by more than {MAX_PRUNED} bytes, which no kernel does"
            )));
        }
        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        let magic: [u8; 2] = if self.big_endian {
            [0xeb, 0x9f]
        } else {
            [0x9f, 0xeb]
        };
        let mut bytes = vec![magic[0], magic[1], 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [HEADER_LEN as u32, 0, types, types, strings] {
            bytes.extend_from_slice(&self.encode(word));
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}
