//! What each primitive looks at: the offsets, protocols and order of comparisons that libpcap has for them, so that
//! the verdict is the same on packets that are cut or odd, too.

use super::program::{Compare, Op, Relation, Value};
use crate::filter::Expr;
use std::net::Ipv6Addr;

pub(super) type Test = Expr<Compare>;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ARP: u32 = 0x0806;
const RARP: u32 = 0x8035;
/// EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the one that was used for outer tags before.
const VLAN: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const TCP: u32 = 6;
const UDP: u32 = 17;
const FRAGMENT: u32 = 44;
const ICMPV6: u32 = 58;
const SCTP: u32 = 132;

/// A protocol that stands before other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    /// Above IPv4, IPv6, or either.
    Over(Family, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Either,
    Src,
    Dst,
    Both,
}

impl Direction {
    /// What is said of the source, of the destination, or of both.
    fn of(self, src: impl FnOnce() -> Test, dst: impl FnOnce() -> Test) -> Test {
        match self {
            Self::Either => src().or(dst()),
            Self::Src => src(),
            Self::Dst => dst(),
            Self::Both => src().and(dst()),
        }
    }
}

/// Where the headers are, for packets of one kind.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    ethernet: bool,
    /// Where the EtherType is.
    ethertype: u32,
    /// Where the network header begins.
    network: u32,
}

/// A value, and what a packet must be to have it.
#[derive(Clone, Debug)]
pub(super) struct Arithmetic {
    pub(super) value: Value,
    pub(super) check: Option<Test>,
}

impl Headers {
    pub(super) fn ethernet() -> Self {
        Self {
            ethernet: true,
            ethertype: 12,
            network: 14,
        }
    }

    pub(super) fn network() -> Self {
        Self {
            ethernet: false,
            ethertype: 0,
            network: 0,
        }
    }

    fn is_ethertype(&self, ethertype: u32) -> Test {
        let value = if self.ethernet {
            load(self.ethertype, 2)
        } else {
            Value::Protocol
        };
        equal(value, ethertype)
    }

    /// `size` bytes at `at` of the network header.
    fn at_network(&self, at: u32, size: u8) -> Value {
        load(self.network + at, size)
    }

    /// `ip`, `tcp`, …
    pub(super) fn protocol(&self, protocol: Protocol) -> Option<Test> {
        Some(match protocol {
            Protocol::Link => return None,
            Protocol::Ip => self.is_ethertype(IPV4),
            Protocol::Ip6 => self.is_ethertype(IPV6),
            Protocol::Arp => self.is_ethertype(ARP),
            Protocol::Rarp => self.is_ethertype(RARP),
            Protocol::Over(family, number) => self.transport(family, number),
        })
    }

    /// `ip proto 6` and the like. In IPv6 behind a fragment header too, but behind no other.
    pub(super) fn transport(&self, family: Family, number: u32) -> Test {
        let v4 = || {
            self.is_ethertype(IPV4)
                .and(equal(self.at_network(9, 1), number))
        };
        let v6 = || {
            let fragment =
                equal(self.at_network(6, 1), FRAGMENT).and(equal(self.at_network(40, 1), number));
            let next = equal(self.at_network(6, 1), number);
            self.is_ethertype(IPV6).and(next.or(fragment))
        };
        match family {
            Family::V4 => v4(),
            Family::V6 => v6(),
            Family::Both => v4().or(v6()),
        }
    }

    /// `ether proto`. Below 0x600 it would be a length, and the packet of another kind.
    pub(super) fn ether_proto(&self, ethertype: u32) -> Test {
        self.is_ethertype(ethertype)
    }

    /// `host` and `net`. An ARP packet has IPv4 addresses as well.
    pub(super) fn host(
        &self,
        protocol: Option<Protocol>,
        address: u32,
        mask: u32,
        direction: Direction,
    ) -> Option<Test> {
        let ends = |ethertype: u32, src: u32, dst: u32| {
            let is = |at: u32| masked(self.at_network(at, 4), mask, address);
            self.is_ethertype(ethertype)
                .and(direction.of(|| is(src), || is(dst)))
        };
        let (ip, arp, rarp) = (
            || ends(IPV4, 12, 16),
            || ends(ARP, 14, 24),
            || ends(RARP, 14, 24),
        );
        Some(match protocol {
            None => ip().or(arp()).or(rarp()),
            Some(Protocol::Ip) => ip(),
            Some(Protocol::Arp) => arp(),
            Some(Protocol::Rarp) => rarp(),
            Some(_) => return None,
        })
    }

    /// `host` and `net` of IPv6.
    pub(super) fn host6(
        &self,
        protocol: Option<Protocol>,
        address: Ipv6Addr,
        length: u32,
        direction: Direction,
    ) -> Option<Test> {
        if !matches!(protocol, None | Some(Protocol::Ip6)) {
            return None;
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        let is = |at: u32| {
            let words = (0..4u32).map(|n| {
                let word = |bits: u128| (bits >> (96 - 32 * n)) as u32;
                masked(
                    self.at_network(at + 4 * n, 4),
                    word(mask),
                    word(address.into()),
                )
            });
            words.reduce(Expr::and).unwrap_or(Expr::Always(true))
        };
        Some(
            self.is_ethertype(IPV6)
                .and(direction.of(|| is(8), || is(24))),
        )
    }

    /// `port` and `portrange`. In IPv6 behind no extension header.
    pub(super) fn ports(
        &self,
        protocol: Option<Protocol>,
        ports: (u32, u32),
        direction: Direction,
    ) -> Option<Test> {
        let protocols: &[u32] = match protocol {
            None => &[TCP, UDP, SCTP],
            Some(Protocol::Over(_, TCP)) => &[TCP],
            Some(Protocol::Over(_, UDP)) => &[UDP],
            Some(Protocol::Over(_, SCTP)) => &[SCTP],
            Some(_) => return None,
        };
        let (first, last) = (ports.0.min(ports.1), ports.0.max(ports.1));
        let within = |value: Value| {
            if first == last {
                return equal(value, first);
            }
            let least = compare(value.clone(), Relation::AtLeast, first);
            least.and(compare(value, Relation::Greater, last).negated())
        };
        let any = |one: &dyn Fn(u32) -> Test| {
            let any = protocols.iter().map(|&number| one(number));
            any.reduce(Expr::or).unwrap_or(Expr::Always(false))
        };
        let v6 = any(&|number| {
            let port = |at: u32| within(self.at_network(at, 2));
            equal(self.at_network(6, 1), number).and(direction.of(|| port(40), || port(42)))
        });
        let v4 = any(&|number| {
            let port = |at: u32| within(self.behind_ipv4(None, at, 2));
            let has_ports = equal(self.at_network(9, 1), number).and(self.is_first_fragment());
            has_ports.and(direction.of(|| port(0), || port(2)))
        });
        let (is_v6, is_v4) = (self.is_ethertype(IPV6), self.is_ethertype(IPV4));
        Some(is_v6.and(v6).or(is_v4.and(v4)))
    }

    fn is_first_fragment(&self) -> Test {
        compare(self.at_network(6, 2), Relation::AnyBit, 0x1fff).negated()
    }

    /// `size` bytes at `at` and `index` behind the IPv4 header.
    fn behind_ipv4(&self, index: Option<Value>, at: u32, size: u8) -> Value {
        let words = op(Op::And, self.at_network(0, 1), Value::Const(0xf));
        let mut base = op(Op::Left, words, Value::Const(2));
        if let Some(index) = index {
            base = op(Op::Add, base, index);
        }
        Value::Load {
            base: Some(Box::new(base)),
            at: self.network + at,
            size,
        }
    }

    /// `ether host`.
    pub(super) fn ether_host(&self, mac: [u8; 6], direction: Direction) -> Test {
        if !self.ethernet {
            return Expr::Always(false);
        }
        let [a, b, c, d, e, f] = mac;
        let is = |at: u32| {
            let end = equal(load(at + 2, 4), u32::from_be_bytes([c, d, e, f]));
            end.and(equal(load(at, 2), u32::from_be_bytes([0, 0, a, b])))
        };
        direction.of(|| is(6), || is(0))
    }

    /// `ether multicast`.
    pub(super) fn ether_multicast(&self) -> Test {
        if !self.ethernet {
            return Expr::Always(false);
        }
        compare(load(0, 1), Relation::AnyBit, 1)
    }

    /// `ip multicast` and `ip6 multicast`.
    pub(super) fn ip_multicast(&self) -> Test {
        let class_d = compare(self.at_network(16, 1), Relation::AtLeast, 224);
        self.is_ethertype(IPV4).and(class_d)
    }

    pub(super) fn ip6_multicast(&self) -> Test {
        self.is_ethertype(IPV6)
            .and(equal(self.at_network(24, 1), 255))
    }

    /// `vlan`: what stands behind it in the expression is about what is behind the tag.
    pub(super) fn vlan(&mut self, id: Option<u32>) -> Test {
        if !self.ethernet {
            return Expr::Always(false);
        }
        let tags = VLAN
            .into_iter()
            .map(|ethertype| self.is_ethertype(ethertype));
        let mut tag = tags.reduce(Expr::or).unwrap_or(Expr::Always(false));
        if let Some(id) = id {
            tag = tag.and(masked(self.at_network(0, 2), 0x0fff, id));
        }
        self.ethertype += 4;
        self.network += 4;
        tag
    }

    /// `proto[index:size]`.
    pub(super) fn bytes(&self, protocol: Protocol, index: Arithmetic, size: u8) -> Arithmetic {
        let (value, check) = match protocol {
            Protocol::Link => {
                let check = (!self.ethernet).then_some(Expr::Always(false));
                (indexed(index.value, 0, size), check)
            }
            Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp => (
                indexed(index.value, self.network, size),
                self.protocol(protocol),
            ),
            Protocol::Over(Family::V6, _) => {
                let check = self
                    .is_ethertype(IPV6)
                    .and(equal(self.at_network(6, 1), ICMPV6));
                (indexed(index.value, self.network + 40, size), Some(check))
            }
            Protocol::Over(family, number) => {
                let check = self.is_ethertype(IPV4).and(self.transport(family, number));
                let check = check.and(self.is_first_fragment());
                let index = (index.value != Value::Const(0)).then_some(index.value);
                (self.behind_ipv4(index, 0, size), Some(check))
            }
        };
        Arithmetic {
            value,
            check: both(index.check, check),
        }
    }
}

impl Arithmetic {
    pub(super) fn plain(value: Value) -> Self {
        Self { value, check: None }
    }

    /// Two values as one. The packet must be what the left one asks for; libpcap does not look at what the right one
    /// does. `None` for a division by what is always 0.
    pub(super) fn combine(self, operator: Op, other: Self) -> Option<Self> {
        let check = self.check;
        let value = match (&self.value, &other.value) {
            (Value::Const(left), Value::Const(right)) => Value::Const(operator.of(*left, *right)?),
            (_, Value::Const(0)) if matches!(operator, Op::Div | Op::Mod) => return None,
            _ => op(operator, self.value, other.value),
        };
        Some(Self { value, check })
    }

    /// Two values compared, or not equal and so on where `reversed`.
    pub(super) fn compare(self, relation: Relation, other: Self, reversed: bool) -> Test {
        let compared = Expr::Test(Compare {
            left: self.value,
            relation,
            right: other.value,
        });
        let compared = if reversed {
            compared.negated()
        } else {
            compared
        };
        match both(self.check, other.check) {
            Some(check) => check.and(compared),
            None => compared,
        }
    }
}

/// `less` and `greater`: at most, and at least.
pub(super) fn length(least: bool, bytes: u32) -> Test {
    if least {
        compare(Value::Length, Relation::AtLeast, bytes)
    } else {
        compare(Value::Length, Relation::Greater, bytes).negated()
    }
}

fn both(first: Option<Test>, second: Option<Test>) -> Option<Test> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.and(second)),
        (first, second) => first.or(second),
    }
}

fn load(at: u32, size: u8) -> Value {
    Value::Load {
        base: None,
        at,
        size,
    }
}

/// A load whose place is constant where it can be.
fn indexed(index: Value, at: u32, size: u8) -> Value {
    match index {
        Value::Const(index) if index.checked_add(at).is_some() => load(index + at, size),
        index => Value::Load {
            base: Some(Box::new(index)),
            at,
            size,
        },
    }
}

fn op(op: Op, left: Value, right: Value) -> Value {
    Value::Op(op, Box::new(left), Box::new(right))
}

fn compare(left: Value, relation: Relation, right: u32) -> Test {
    Expr::Test(Compare {
        left,
        relation,
        right: Value::Const(right),
    })
}

fn equal(value: Value, to: u32) -> Test {
    compare(value, Relation::Equal, to)
}

/// Equal in the bits of the mask.
fn masked(value: Value, mask: u32, to: u32) -> Test {
    match mask {
        u32::MAX => equal(value, to),
        mask => equal(op(Op::And, value, Value::Const(mask)), to & mask),
    }
}
