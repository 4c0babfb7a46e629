//! What the pruned BTF says about drops, read through `btf-rs`. The only file that names it.

use super::prune::{Numbers, Pruned, prune, prune_module};
use crate::{Error, Result};
use btf_rs::{Btf, BtfType, Member, Type};
use std::{collections::HashSet, fmt};

/// How far a chain of typedefs and qualifiers is followed; the kernel's have two or three
/// links, a corrupt BTF can have a circle.
const MAX_CHAIN: usize = 32;

/// The types that describe packet drops on one kernel.
pub(crate) struct DropTypes {
    btf: Btf,
    is_big_endian: bool,
    numbers: Numbers,
}

/// A tracepoint that tells of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "ebpf", fuzzing, test)), expect(dead_code))]
pub(crate) enum Tracepoint {
    /// `skb:kfree_skb`.
    KfreeSkb,
    /// `qdisc:qdisc_drop`, since Linux 7.1.
    QdiscDrop,
}

impl Tracepoint {
    /// The typedef of its probes' prototype.
    fn prototype(self) -> &'static str {
        match self {
            Self::KfreeSkb => "btf_trace_kfree_skb",
            Self::QdiscDrop => "btf_trace_qdisc_drop",
        }
    }
}

/// One enum of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnumFacts {
    pub(crate) name: String,
    /// Enumerators in order of declaration. Negative values are kept as their pattern of 64 bits.
    pub(crate) values: Vec<(String, u64)>,
}

/// Where a member is, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    /// From the start of the structure; of a bit field inside one byte, counted in that from its least bit on.
    pub(crate) at: u32,
    /// Of a bit field; 0 for any other member.
    pub(crate) width: u32,
}

/// What an argument of a tracepoint is, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// `struct sk_buff *`.
    Skb,
    /// `void *`: where the packet was freed.
    Location,
    /// `enum skb_drop_reason`.
    Reason,
    /// `struct sock *`: the receiving socket.
    Socket,
    /// `struct Qdisc *`: a queueing discipline.
    Qdisc,
    /// `enum qdisc_drop_reason`.
    QdiscReason,
    /// Anything that this version does not know.
    Other,
}

impl fmt::Debug for DropTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DropTypes")
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

impl DropTypes {
    /// Reads raw BTF that stands alone.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self> {
        Self::read(&prune(raw)?)
    }

    /// Reads a module's raw BTF, split from `base` or alone; its enums alone.
    pub(crate) fn parse_module(raw: &[u8], base: &[u8]) -> Result<Self> {
        Self::read(&prune_module(raw, base)?)
    }

    fn read(pruned: &Pruned) -> Result<Self> {
        let btf = Btf::from_bytes(&pruned.bytes).map_err(btf_error)?;
        Ok(Self {
            btf,
            is_big_endian: pruned.bytes.starts_with(&[0xeb, 0x9f]),
            numbers: pruned.numbers,
        })
    }

    /// The number by which the kernel knows the tracepoint's prototype.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn tracepoint_id(&self, tracepoint: Tracepoint) -> Option<u32> {
        match tracepoint {
            Tracepoint::KfreeSkb => self.numbers.tracepoint,
            Tracepoint::QdiscDrop => self.numbers.qdisc_tracepoint,
        }
    }

    /// The numbers by which the kernel knows the function `bpf_rdonly_cast` (since Linux 6.2) and `struct sk_buff`.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn rdonly_cast(&self) -> Option<(u32, u32)> {
        self.numbers.rdonly_cast.zip(self.numbers.sk_buff)
    }

    /// All enums that were kept.
    pub(crate) fn enums(&self) -> Result<Vec<EnumFacts>> {
        let mut enums = Vec::new();
        let (first, last) = self.btf.base().type_id_range();
        for id in first..=last {
            let ty = self.btf.resolve_type_by_id(id).map_err(btf_error)?;
            let (name, values) = match &ty {
                Type::Enum(ty) => {
                    let signed = ty.is_signed();
                    let wide = |value: u32| match signed {
                        true => i64::from(value as i32) as u64,
                        false => value.into(),
                    };
                    let values = ty.members.iter();
                    let values = values.map(|member| Ok((self.name(member)?, wide(member.val()))));
                    (self.name(ty)?, values.collect::<Result<_>>()?)
                }
                Type::Enum64(ty) => {
                    let values = ty.members.iter();
                    let values = values.map(|member| Ok((self.name(member)?, member.val())));
                    (self.name(ty)?, values.collect::<Result<_>>()?)
                }
                _ => continue,
            };
            enums.push(EnumFacts { name, values });
        }
        Ok(enums)
    }

    /// What a tracepoint's arguments are, in order; `None` if the kernel has it not.
    #[cfg_attr(not(any(feature = "ebpf", fuzzing, test)), expect(dead_code))]
    pub(crate) fn arguments(&self, tracepoint: Tracepoint) -> Result<Option<Vec<Argument>>> {
        let types = self.btf.resolve_types_by_name(tracepoint.prototype());
        let typedef = types
            .map_err(btf_error)?
            .into_iter()
            .find_map(|ty| match ty {
                Type::Typedef(typedef) => Some(typedef),
                _ => None,
            });
        let Some(typedef) = typedef else {
            return Ok(None);
        };
        let unexpected = || {
            let name = tracepoint.prototype();
            Error::invalid_data(format!("BTF type `{name}` is no pointer to a function"))
        };
        let Some(Type::Ptr(pointer)) = self.target(&typedef)? else {
            return Err(unexpected());
        };
        let Some(Type::FuncProto(prototype)) = self.target(&pointer)? else {
            return Err(unexpected());
        };
        // The first parameter is the probe's own data, which no program sees.
        let parameters = prototype.parameters.iter().skip(1);
        let arguments = parameters.map(|parameter| {
            Ok(match self.target(parameter)? {
                Some(Type::Enum(ty)) => match &*self.name(&ty)? {
                    "skb_drop_reason" => Argument::Reason,
                    "qdisc_drop_reason" => Argument::QdiscReason,
                    _ => Argument::Other,
                },
                Some(Type::Ptr(pointer)) => match self.target(&pointer)? {
                    None => Argument::Location,
                    Some(Type::Fwd(ty)) => self.structure_argument(&self.name(&ty)?),
                    Some(Type::Struct(ty)) => self.structure_argument(&self.name(&ty)?),
                    _ => Argument::Other,
                },
                _ => Argument::Other,
            })
        });
        arguments.collect::<Result<_>>().map(Some)
    }

    fn structure_argument(&self, name: &str) -> Argument {
        match name {
            "sk_buff" => Argument::Skb,
            "sock" => Argument::Socket,
            "Qdisc" => Argument::Qdisc,
            _ => Argument::Other,
        }
    }

    /// Offset in bytes of a member: `path` leads through structures inside the structure, and
    /// anonymous ones are looked through. `None` if the kernel has no such member, or has it
    /// as a bit field.
    #[cfg_attr(not(any(feature = "ebpf", fuzzing, test)), expect(dead_code))]
    pub(crate) fn offset(&self, structure: &str, path: &[&str]) -> Result<Option<u32>> {
        let place = self.place(structure, path)?;
        Ok(place
            .filter(|place| place.width == 0 && place.at.is_multiple_of(8))
            .map(|place| place.at / 8))
    }

    /// Where a bit field is. `None` if the kernel has no such member, or not as a bit field inside one byte.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code))]
    pub(crate) fn bits(&self, structure: &str, path: &[&str]) -> Result<Option<Bits>> {
        let place = self.place(structure, path)?;
        let place = place.filter(|place| place.width != 0 && place.at % 8 + place.width <= 8);
        Ok(place.map(|Bits { at, width }| Bits {
            // Compilers for big-endian machines count from the other end.
            at: match self.is_big_endian {
                true => at / 8 * 8 + (8 - at % 8 - width),
                false => at,
            },
            width,
        }))
    }

    fn place(&self, structure: &str, path: &[&str]) -> Result<Option<Bits>> {
        let types = self
            .btf
            .resolve_types_by_name(structure)
            .map_err(btf_error)?;
        let mut ty = types.into_iter().find(|ty| matches!(ty, Type::Struct(_)));
        let mut place = Bits { at: 0, width: 0 };
        for name in path {
            let Some(inner) = ty else { return Ok(None) };
            let Some((offset, member)) = self.member(&inner, name, &mut HashSet::new(), 0)? else {
                return Ok(None);
            };
            let Some(at) = place.at.checked_add(offset) else {
                return Ok(None);
            };
            place.at = at;
            place.width = member.bitfield_size().unwrap_or(0);
            ty = self.target(&member)?;
        }
        Ok(Some(place))
    }

    /// Finds a member by name in a structure and the anonymous ones inside it, but for those that were
    /// `searched` in vain.
    fn member(
        &self,
        ty: &Type,
        name: &str,
        searched: &mut HashSet<u32>,
        depth: usize,
    ) -> Result<Option<(u32, Member)>> {
        let (Type::Struct(structure) | Type::Union(structure)) = ty else {
            return Ok(None);
        };
        if depth > MAX_CHAIN {
            return Err(Error::invalid_data("BTF structures are nested too deeply"));
        }
        for member in &structure.members {
            let member_name = self.name(member)?;
            if member_name == name {
                return Ok(Some((member.bit_offset(), member.clone())));
            }
            // A corrupt BTF can have the same ones on each of many levels.
            let again = member.get_type_id().is_some_and(|id| !searched.insert(id));
            if !member_name.is_empty() || again {
                continue;
            }
            let Some(inner) = self.target(member)? else {
                continue;
            };
            if let Some((offset, found)) = self.member(&inner, name, searched, depth + 1)? {
                return Ok(member
                    .bit_offset()
                    .checked_add(offset)
                    .map(|sum| (sum, found)));
            }
        }
        Ok(None)
    }

    /// The type that `ty` refers to, past typedefs and qualifiers; `None` for `void`.
    fn target(&self, ty: &dyn BtfType) -> Result<Option<Type>> {
        if ty.get_type_id() == Some(0) {
            return Ok(None);
        }
        let mut target = self.btf.resolve_chained_type(ty).map_err(btf_error)?;
        for _ in 0..MAX_CHAIN {
            let next = match &target {
                Type::Void => return Ok(None),
                Type::Typedef(ty) => self.btf.resolve_chained_type(ty),
                Type::Volatile(ty) | Type::Const(ty) | Type::Restrict(ty) => {
                    self.btf.resolve_chained_type(ty)
                }
                Type::TypeTag(ty) => self.btf.resolve_chained_type(ty),
                _ => return Ok(Some(target)),
            };
            target = next.map_err(btf_error)?;
        }
        Err(Error::invalid_data("BTF has a circle of typedefs"))
    }

    fn name(&self, ty: &dyn BtfType) -> Result<String> {
        self.btf.resolve_name(ty).map_err(btf_error)
    }
}

fn btf_error(error: btf_rs::Error) -> Error {
    Error::invalid_data("cannot read BTF").caused_by(error)
}
