//! [`Program`]: a compiled expression.

use crate::{Layer, filter::Expr};

/// What an expression comes to on a packet, by the layer that its bytes begin with.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) ethernet: Expr<Compare>,
    pub(crate) network: Expr<Compare>,
}

#[cfg(feature = "ebpf")]
impl Program {
    /// Whether what it comes to may be by the packet's whole length.
    pub(crate) fn asks_length(&self) -> bool {
        let mut asks = false;
        for expr in [&self.ethernet, &self.network] {
            expr.for_each(&mut |it| it.for_each(&mut |value| asks |= *value == Value::Length));
        }
        asks
    }
}

#[cfg(feature = "ebpf")]
impl Compare {
    /// Calls `visit` with each value in it.
    pub(crate) fn for_each(&self, visit: &mut impl FnMut(&Value)) {
        self.left.for_each(visit);
        self.right.for_each(visit);
    }
}

#[cfg(feature = "ebpf")]
impl Value {
    /// Calls `visit` with it and each value inside.
    fn for_each(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::Load {
                base: Some(base), ..
            } => base.for_each(visit),
            Self::Op(_, left, right) => {
                left.for_each(visit);
                right.for_each(visit);
            }
            Self::Const(_) | Self::Length | Self::Protocol | Self::Load { base: None, .. } => {}
        }
    }
}

/// A packet as an expression sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) layer: Layer,
    /// EtherType, if it is known.
    pub(crate) protocol: Option<u16>,
    /// The whole length, of which `bytes` may be a part.
    pub(crate) length: u32,
}

/// Two values compared. All values are of 32 bits without sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compare {
    pub(crate) left: Value,
    pub(crate) relation: Relation,
    pub(crate) right: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Greater,
    AtLeast,
    /// They have a bit in common.
    AnyBit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Const(u32),
    /// The packet's whole length.
    Length,
    /// The packet's EtherType as the kernel has it apart from the bytes; 0 if it has none.
    Protocol,
    /// `size` bytes, in network byte order, at `at` and what `base` comes to.
    Load {
        base: Option<Box<Self>>,
        at: u32,
        size: u8,
    },
    Op(Op, Box<Self>, Box<Self>),
}

/// Arithmetic, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    /// Shifts by 32 and more leave nothing.
    Left,
    Right,
}

/// The packet ends before what was asked for, or a divisor was 0: the expression does not hold.
#[derive(Clone, Copy, Debug)]
struct Rejected;

impl Program {
    /// Whether the expression accepts the packet.
    pub(crate) fn accepts(&self, packet: Packet<'_>) -> bool {
        let expr = match packet.layer {
            Layer::Ethernet => &self.ethernet,
            Layer::Network => &self.network,
            Layer::Link | Layer::Data => return false,
        };
        expr.evaluate(&|compare: &Compare| compare.holds(&packet))
            .unwrap_or(false)
    }
}

impl Compare {
    fn holds(&self, packet: &Packet<'_>) -> Result<bool, Rejected> {
        let (left, right) = (self.left.of(packet)?, self.right.of(packet)?);
        Ok(match self.relation {
            Relation::Equal => left == right,
            Relation::Greater => left > right,
            Relation::AtLeast => left >= right,
            Relation::AnyBit => left & right != 0,
        })
    }
}

impl Value {
    /// How many values are inside each other.
    pub(super) fn depth(&self) -> usize {
        let inner = match self {
            Self::Const(_) | Self::Length | Self::Protocol => 0,
            Self::Load { base, .. } => base.as_ref().map_or(0, |base| base.depth()),
            Self::Op(_, left, right) => left.depth().max(right.depth()),
        };
        inner + 1
    }

    fn of(&self, packet: &Packet<'_>) -> Result<u32, Rejected> {
        match self {
            Self::Const(value) => Ok(*value),
            Self::Length => Ok(packet.length),
            Self::Protocol => Ok(packet.protocol.unwrap_or(0).into()),
            Self::Load { base, at, size } => {
                let base = match base {
                    Some(base) => u64::from(base.of(packet)?),
                    None => 0,
                };
                let start = usize::try_from(base + u64::from(*at)).map_err(|_| Rejected)?;
                let end = start.checked_add(usize::from(*size)).ok_or(Rejected)?;
                let bytes = packet.bytes.get(start..end).ok_or(Rejected)?;
                Ok(bytes
                    .iter()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte)))
            }
            Self::Op(op, left, right) => op.of(left.of(packet)?, right.of(packet)?).ok_or(Rejected),
        }
    }
}

impl Op {
    /// `None` if `right` is a divisor and 0.
    pub(super) fn of(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Sub => left.wrapping_sub(right),
            Self::Mul => left.wrapping_mul(right),
            Self::Div => left.checked_div(right)?,
            Self::Mod => left.checked_rem(right)?,
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::Left => left.checked_shl(right).unwrap_or(0),
            Self::Right => left.checked_shr(right).unwrap_or(0),
        })
    }
}
