//! The grammar of tcpdump expressions.

use super::{
    lex::{Kind, Token, tokens},
    primitive::{Arithmetic, Direction, Family, Headers, Protocol, Test, length},
    program::{Op, Program, Relation, Value},
};
use crate::{Error, ErrorKind, Result, filter::excerpt::around};

/// How deep parentheses, brackets, `not`, and what `%` and `^` take to their right may be nested.
const MAX_DEPTH: usize = 32;
/// How deep the result may be nested, in tests and in values each: all that is done with it descends on the stack.
const MAX_BUILT: usize = 256;

/// Protocols by their keywords.
const PROTOCOLS: [(&str, Protocol); 19] = [
    ("ether", Protocol::Link),
    ("link", Protocol::Link),
    ("ip", Protocol::Ip),
    ("ip6", Protocol::Ip6),
    ("arp", Protocol::Arp),
    ("rarp", Protocol::Rarp),
    ("tcp", Protocol::Over(Family::Both, 6)),
    ("udp", Protocol::Over(Family::Both, 17)),
    ("sctp", Protocol::Over(Family::Both, 132)),
    ("icmp", Protocol::Over(Family::V4, 1)),
    ("icmp6", Protocol::Over(Family::V6, 58)),
    ("igmp", Protocol::Over(Family::V4, 2)),
    ("igrp", Protocol::Over(Family::V4, 9)),
    ("pim", Protocol::Over(Family::Both, 103)),
    ("ah", Protocol::Over(Family::Both, 51)),
    ("esp", Protocol::Over(Family::Both, 50)),
    ("vrrp", Protocol::Over(Family::V4, 112)),
    ("carp", Protocol::Over(Family::V4, 112)),
    ("icmpv6", Protocol::Over(Family::V6, 58)),
];

/// What `ip proto` knows by name.
const TRANSPORTS: [(&str, u32); 9] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("pim", 103),
    ("sctp", 132),
];

/// What `ether proto` knows by name.
const ETHERTYPES: [(&str, u32); 4] = [
    ("ip", 0x0800),
    ("arp", 0x0806),
    ("rarp", 0x8035),
    ("ip6", 0x86dd),
];

/// Below are lengths of 802.3 frames, which are told by other bytes.
const FIRST_ETHERTYPE: u32 = 0x0600;
/// AppleTalk and its address resolution, which libpcap looks for in 802.3 frames, too.
const APPLETALK: [u32; 2] = [0x809b, 0x80f3];

/// Numbers by name.
const NUMBERS: [(&str, u32); 57] = [
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

/// Operators, those that bind least first.
const OPERATORS: [&[(&str, Op)]; 5] = [
    &[("|", Op::Or)],
    &[("&", Op::And)],
    &[("<<", Op::Left), (">>", Op::Right)],
    &[("+", Op::Add), ("-", Op::Sub)],
    &[("*", Op::Mul), ("/", Op::Div)],
];
/// These bind closest to what is before them, and have all that follows on their right: in libpcap's grammar they
/// have no precedence.
const GREEDY: [(&str, Op); 2] = [("%", Op::Mod), ("^", Op::Xor)];

/// Comparisons: what is compared, and whether it is then turned around.
const RELATIONS: [(&str, Relation, bool); 7] = [
    (">", Relation::Greater, false),
    (">=", Relation::AtLeast, false),
    ("=", Relation::Equal, false),
    ("==", Relation::Equal, false),
    ("<=", Relation::Greater, true),
    ("<", Relation::AtLeast, true),
    ("!=", Relation::Equal, true),
];

/// Compiles an expression for packets of each layer that it can be about.
pub(super) fn program(text: &str) -> Result<Program> {
    let compile = |headers| {
        Parser {
            tokens: &tokens(text)?,
            at: 0,
            depth: 0,
            headers,
            last: None,
        }
        .whole()
    };
    let both = compile(Headers::ethernet())
        .and_then(|ethernet| Ok((ethernet, compile(Headers::network())?)));
    let (ethernet, network) = both.map_err(|(at, what)| {
        let text = around(text, at);
        let text = format!("the tcpdump expression `{text}` is wrong at byte {at}: {what}");
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    Ok(Program { ethernet, network })
}

/// Where it is wrong, and how.
type Wrong = (usize, String);
type Parsed<T> = std::result::Result<T, Wrong>;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    headers: Headers,
    /// The words before the last address, port or number, which one that stands alone takes over.
    last: Option<Words>,
}

/// The words that may stand before an address, a port or a number.
#[derive(Clone, Copy, Debug)]
struct Words {
    protocol: Option<Protocol>,
    direction: Direction,
    kind: What,
}

/// What joins two terms.
#[derive(Clone, Copy, Debug)]
enum Link {
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl Parser<'_> {
    fn whole(mut self) -> Parsed<Test> {
        // No expression accepts all.
        if self.tokens.is_empty() {
            return Ok(Test::Always(true));
        }
        let test = self.expression()?;
        match self.kind() {
            None => Ok(test),
            Some(_) => Err(self.unexpected("`and`, `or` or the end")),
        }
    }

    /// Terms with `and` and `or` between, which bind equally, from left to right.
    fn expression(&mut self) -> Parsed<Test> {
        let mut test = self.term()?;
        loop {
            let Some(link) = self.take_link() else {
                return Ok(test);
            };
            let at = self.at - 1;
            let other = self.later_term()?;
            test = self.linked(test, link, other, at)?;
        }
    }

    fn take_link(&mut self) -> Option<Link> {
        if self.take_any(&["and", "&&"]) {
            Some(Link::And)
        } else if self.take_any(&["or", "||"]) {
            Some(Link::Or)
        } else {
            None
        }
    }

    /// Two tests as one, by the word at `at`. A chain of the same word is flat, and each change of word nests.
    fn linked(&self, test: Test, link: Link, other: Test, at: usize) -> Parsed<Test> {
        let flat = matches!(
            (link, &test),
            (Link::And, Test::All(_)) | (Link::Or, Test::Any(_))
        );
        let before = if flat { 0 } else { depth(&test) };
        if before.max(depth(&other)) >= MAX_BUILT {
            return Err(self.wrong_at(
                at,
                &format!(
                    "nested deeper than {MAX_BUILT}, as each change between `and` and `or` nests all before it \
                     (put what belongs together in parentheses)"
                ),
            ));
        }
        Ok(match link {
            Link::And => test.and(other),
            Link::Or => test.or(other),
        })
    }

    /// A term, or an address, a port or a number for which the words of the one before are meant.
    fn later_term(&mut self) -> Parsed<Test> {
        if let Some(words) = self.last
            && self.is_value()
            && !self.is_comparison()
        {
            return self.value(words);
        }
        if self.take_any(&["not", "!"]) {
            return self.deeper(Self::later_term).map(Test::negated);
        }
        self.term()
    }

    fn term(&mut self) -> Parsed<Test> {
        if self.take_any(&["not", "!"]) {
            return self.deeper(Self::term).map(Test::negated);
        }
        let number = matches!(self.kind(), Some(Kind::Number(_) | Kind::Symbol("-")));
        if number || self.is_comparison() {
            return self.comparison();
        }
        if self.take("(") {
            let test = self.deeper(Self::expression)?;
            return if self.take(")") {
                Ok(test)
            } else {
                Err(self.unexpected("`)`"))
            };
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Parsed<Test> {
        if self.take("vlan") {
            let id = self.take_number();
            if id.is_some_and(|id| id > 0x0fff) {
                return Err(self.wrong_before("a VLAN has at most number 4095"));
            }
            return Ok(self.headers.vlan(id));
        }
        for (word, least) in [("less", false), ("greater", true)] {
            if self.take(word) {
                return match self.take_number() {
                    Some(bytes) => Ok(length(least, bytes)),
                    None => Err(self.unexpected("a number of bytes")),
                };
            }
        }
        let start = self.at;
        let protocol = self.take_protocol();
        for (word, multicast) in [("broadcast", false), ("multicast", true)] {
            if self.take(word) {
                return self.cast(protocol, multicast);
            }
        }
        let direction = self.take_direction();
        let kind = self.take_kind()?;
        let words = Words {
            protocol,
            direction: direction.unwrap_or(Direction::Either),
            kind: kind.unwrap_or(What::Host),
        };
        if direction.is_some() || kind.is_some() {
            self.last = Some(words);
            return self.values(words);
        }
        let Some(protocol) = protocol else {
            return Err(self.unexpected("a primitive (`host`, `port`, `tcp`, …)"));
        };
        self.last = None;
        let test = self.headers.protocol(protocol);
        test.ok_or_else(|| {
            self.at = start;
            self.wrong("`ether` stands before `host`, `proto`, `broadcast`, `multicast` or `[`")
        })
    }

    fn cast(&mut self, protocol: Option<Protocol>, multicast: bool) -> Parsed<Test> {
        match (protocol, multicast) {
            (None | Some(Protocol::Link), true) => Ok(self.headers.ether_multicast()),
            (None | Some(Protocol::Link), false) => {
                Ok(self.headers.ether_host([0xff; 6], Direction::Dst))
            }
            (Some(Protocol::Ip), true) => Ok(self.headers.ip_multicast()),
            (Some(Protocol::Ip6), true) => Ok(self.headers.ip6_multicast()),
            (Some(Protocol::Ip), false) => Err(self.wrong_before(
                "`ip broadcast` needs the netmask of an interface, and drops are of all interfaces",
            )),
            _ => Err(self.wrong_before(
                "only `ether`, `ip` and `ip6` stand before `broadcast` and `multicast`",
            )),
        }
    }

    /// A value, or several in parentheses.
    fn values(&mut self, words: Words) -> Parsed<Test> {
        if self.take_any(&["not", "!"]) {
            return self
                .deeper(|parser| parser.values(words))
                .map(Test::negated);
        }
        if !self.take("(") {
            return self.value(words);
        }
        self.deeper(|parser| {
            let mut test = parser.values(words)?;
            loop {
                if let Some(link) = parser.take_link() {
                    let at = parser.at - 1;
                    let other = parser.values(words)?;
                    test = parser.linked(test, link, other, at)?;
                } else if parser.take(")") {
                    return Ok(test);
                } else {
                    return Err(parser.unexpected("`and`, `or` or `)`"));
                }
            }
        })
    }

    /// An address, a port or a number.
    fn value(&mut self, words: Words) -> Parsed<Test> {
        let what = match words.kind {
            What::Host => "an address",
            What::Net => "a network",
            What::Port => "a port's number",
            What::PortRange => "two ports' numbers like 1024-2047",
            What::Proto => "a protocol's number",
        };
        let Some(kind) = self.kind().cloned() else {
            return Err(self.unexpected(what));
        };
        let start = self.at;
        self.at += 1;
        let test = match (words.kind, kind) {
            (What::Port | What::PortRange, Kind::Number(first)) => self.ports(words, first)?,
            (What::Proto, kind) => self.proto(words, &kind)?,
            (What::Host | What::Net, Kind::Number(number)) => {
                let bits = if words.kind == What::Net {
                    significant(number)
                } else {
                    32
                };
                let shift = 32 - bits;
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                let address = number.checked_shl(shift).unwrap_or(0);
                self.headers
                    .host(words.protocol, address, mask, words.direction)
            }
            (What::Host | What::Net, Kind::V4(address, bits)) => {
                let mask = self.mask(words, address, bits)?;
                self.headers
                    .host(words.protocol, address, mask, words.direction)
            }
            (What::Host | What::Net, Kind::V6(address)) => {
                let length = self.length6(words, address.into())?;
                self.headers
                    .host6(words.protocol, address, length, words.direction)
            }
            (What::Host, Kind::Mac(mac)) => {
                let ether = words.protocol == Some(Protocol::Link);
                ether.then(|| self.headers.ether_host(mac, words.direction))
            }
            _ => {
                self.at = start;
                return Err(self.unexpected(what));
            }
        };
        test.ok_or_else(|| {
            self.at = start;
            self.wrong("this does not go with the protocol before it")
        })
    }

    fn ports(&mut self, words: Words, first: u32) -> Parsed<Option<Test>> {
        let mut last = first;
        if words.kind == What::PortRange && self.take("-") {
            let number = self.take_number();
            last = number.ok_or_else(|| self.unexpected("the last port"))?;
        }
        if first.max(last) > u32::from(u16::MAX) {
            return Err(self.wrong_before("a port has at most number 65535"));
        }
        Ok(self
            .headers
            .ports(words.protocol, (first, last), words.direction))
    }

    fn proto(&mut self, words: Words, kind: &Kind) -> Parsed<Option<Test>> {
        if words.direction != Direction::Either {
            return Err(self.wrong_before("a protocol has no direction"));
        }
        let names: &[(&str, u32)] = match words.protocol {
            Some(Protocol::Link) => &ETHERTYPES,
            _ => &TRANSPORTS,
        };
        let number = match kind {
            Kind::Number(number) => Some(*number),
            Kind::Escaped(name) | Kind::Word(name) => named(names, name),
            _ => None,
        };
        let Some(number) = number else {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            return Err(self.wrong_before(&format!(
                "a protocol is a number or one of {}",
                names.join(", ")
            )));
        };
        let most = if words.protocol == Some(Protocol::Link) {
            0xffff
        } else {
            0xff
        };
        if number > most {
            return Err(self.wrong_before("there is no such protocol"));
        }
        Ok(match words.protocol {
            None => Some(self.headers.transport(Family::Both, number)),
            Some(Protocol::Ip) => Some(self.headers.transport(Family::V4, number)),
            Some(Protocol::Ip6) => Some(self.headers.transport(Family::V6, number)),
            Some(Protocol::Link) if number < FIRST_ETHERTYPE || APPLETALK.contains(&number) => {
                return Err(self.wrong_before("frames of 802.3 are not supported"));
            }
            Some(Protocol::Link) => Some(self.headers.ether_proto(number)),
            Some(_) => None,
        })
    }

    /// The mask of an IPv4 address, by what follows it, or by how many numbers it has.
    fn mask(&mut self, words: Words, address: u32, bits: u8) -> Parsed<u32> {
        let mask = if self.take("/") {
            match self.take_number().filter(|&length| length <= 32) {
                Some(length) => u32::MAX.checked_shl(32 - length).unwrap_or(0),
                None => return Err(self.unexpected("a length of at most 32")),
            }
        } else if self.take("mask") {
            match self.kind() {
                Some(&Kind::V4(mask, _)) => {
                    self.at += 1;
                    mask
                }
                _ => return Err(self.unexpected("a netmask")),
            }
        } else {
            return Ok(u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0));
        };
        if words.kind != What::Net {
            return Err(self.wrong_before("only a `net` has a mask"));
        }
        if address & !mask != 0 {
            return Err(self.wrong_before("the network has bits set beyond its mask"));
        }
        Ok(mask)
    }

    fn length6(&mut self, words: Words, address: u128) -> Parsed<u32> {
        if !self.take("/") {
            return Ok(128);
        }
        let Some(length) = self.take_number().filter(|&length| length <= 128) else {
            return Err(self.unexpected("a length of at most 128"));
        };
        if words.kind != What::Net {
            return Err(self.wrong_before("only a `net` has a mask"));
        }
        if address & !u128::MAX.checked_shl(128 - length).unwrap_or(0) != 0 {
            return Err(self.wrong_before("the network has bits set beyond its mask"));
        }
        Ok(length)
    }

    fn take_protocol(&mut self) -> Option<Protocol> {
        let Some(Kind::Word(word)) = self.kind() else {
            return None;
        };
        let protocol = named(&PROTOCOLS, word)?;
        self.at += 1;
        Some(protocol)
    }

    /// `src`, `dst`, or both with `or` or `and` between.
    fn take_direction(&mut self) -> Option<Direction> {
        let mut direction = |word: &str, direction: Direction| self.take(word).then_some(direction);
        let first =
            direction("src", Direction::Src).or_else(|| direction("dst", Direction::Dst))?;
        let other = if first == Direction::Src {
            "dst"
        } else {
            "src"
        };
        for (words, both) in [
            (["or", "||"], Direction::Either),
            (["and", "&&"], Direction::Both),
        ] {
            let before = self.at;
            if self.take_any(&words) && self.take(other) {
                return Some(both);
            }
            self.at = before;
        }
        Some(first)
    }

    fn take_kind(&mut self) -> Parsed<Option<What>> {
        for (word, kind) in [
            ("host", What::Host),
            ("net", What::Net),
            ("port", What::Port),
            ("portrange", What::PortRange),
            ("proto", What::Proto),
        ] {
            if self.take(word) {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// Whether an address, a port or a number comes.
    fn is_value(&self) -> bool {
        matches!(
            self.kind(),
            Some(Kind::Number(_) | Kind::V4(..) | Kind::V6(_) | Kind::Mac(_))
        )
    }

    /// Whether what comes is two values compared. Parentheses may begin that as well as a term.
    fn is_comparison(&mut self) -> bool {
        let (at, depth) = (self.at, self.depth);
        let is = match self.kind() {
            Some(Kind::Number(_) | Kind::Symbol("(" | "-")) => {
                self.arithmetic(0).is_ok() && self.take_relation().is_some()
            }
            Some(Kind::Word(word)) => {
                let next = self.tokens.get(at + 1).map(|token| &token.kind);
                let bytes = named(&PROTOCOLS, word).is_some() && next == Some(&Kind::Symbol("["));
                bytes || word == "len" || named(&NUMBERS, word).is_some()
            }
            _ => false,
        };
        (self.at, self.depth) = (at, depth);
        is
    }

    fn comparison(&mut self) -> Parsed<Test> {
        let left = self.arithmetic(0)?;
        let Some((relation, reversed)) = self.take_relation() else {
            return Err(self.unexpected("a comparison (`=`, `!=`, `<`, …)"));
        };
        let right = self.arithmetic(0)?;
        self.last = None;
        Ok(left.compare(relation, right, reversed))
    }

    fn take_relation(&mut self) -> Option<(Relation, bool)> {
        let Some(Kind::Symbol(symbol)) = self.kind() else {
            return None;
        };
        let (_, relation, reversed) = RELATIONS.into_iter().find(|(known, ..)| known == symbol)?;
        self.at += 1;
        Some((relation, reversed))
    }

    /// Values with operators between that bind at least as close as `least`.
    fn arithmetic(&mut self, least: usize) -> Parsed<Arithmetic> {
        let mut left = self.operand()?;
        while let Some((operator, right)) = self.operator(least) {
            let at = self.at;
            self.at += 1;
            let right = match right {
                Some(right) => self.arithmetic(right)?,
                None => self.deeper(|parser| parser.arithmetic(0))?,
            };
            let left_depth = left.value.depth();
            if left_depth.max(right.value.depth()) >= MAX_BUILT {
                return Err(self.wrong_at(
                    at,
                    &format!(
                        "nested deeper than {MAX_BUILT}, as each operator nests what is before it (take fewer of them)"
                    ),
                ));
            }
            left = left
                .combine(operator, right)
                .ok_or_else(|| self.wrong_before("a division by 0"))?;
        }
        Ok(left)
    }

    /// The operator that comes, if it binds at least as close as `least`, and how close those to its right must bind;
    /// `None` if all that follows is its right side.
    fn operator(&self, least: usize) -> Option<(Op, Option<usize>)> {
        let Some(Kind::Symbol(symbol)) = self.kind() else {
            return None;
        };
        if let Some(operator) = named(&GREEDY, symbol) {
            return Some((operator, None));
        }
        let binding = |(closeness, operators): (usize, &&[(&str, Op)])| {
            named(operators, symbol).map(|operator| (operator, closeness))
        };
        let (operator, closeness) = OPERATORS.iter().enumerate().find_map(binding)?;
        (closeness >= least).then_some((operator, Some(closeness + 1)))
    }

    fn operand(&mut self) -> Parsed<Arithmetic> {
        if self.take("-") {
            // Only `%` and `^` come before the sign.
            let operand = self.deeper(|parser| parser.arithmetic(OPERATORS.len()))?;
            let zero = Arithmetic {
                value: Value::Const(0),
                check: operand.check.clone(),
            };
            return zero
                .combine(Op::Sub, operand)
                .ok_or_else(|| self.wrong("a division by 0"));
        }
        if self.take("(") {
            let inner = self.deeper(|parser| parser.arithmetic(0))?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err(self.unexpected("`)`"))
            };
        }
        if self.take("len") {
            return Ok(Arithmetic::plain(Value::Length));
        }
        if let Some(number) = self.take_number() {
            return Ok(Arithmetic::plain(Value::Const(number)));
        }
        if let Some(Kind::Word(word)) = self.kind()
            && let Some(number) = named(&NUMBERS, word)
        {
            self.at += 1;
            return Ok(Arithmetic::plain(Value::Const(number)));
        }
        let Some(protocol) = self.take_protocol() else {
            return Err(self.unexpected("a number, `len` or a protocol's bytes"));
        };
        if !self.take("[") {
            return Err(self.unexpected("`[`"));
        }
        let index = self.deeper(|parser| parser.arithmetic(0))?;
        let size = if self.take(":") {
            self.take_number().filter(|size| matches!(size, 1 | 2 | 4))
        } else {
            Some(1)
        };
        let Some(size) = size else {
            return Err(self.unexpected("1, 2 or 4 bytes"));
        };
        if !self.take("]") {
            return Err(self.unexpected("`]`"));
        }
        Ok(self.headers.bytes(protocol, index, size as u8))
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(&format!("nested deeper than {MAX_DEPTH}")));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn kind(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    /// Reads the next word or symbol if it is this one.
    fn take(&mut self, wanted: &str) -> bool {
        let is = match self.kind() {
            Some(Kind::Word(word)) => word == wanted,
            Some(Kind::Symbol(symbol)) => *symbol == wanted,
            _ => false,
        };
        self.at += usize::from(is);
        is
    }

    fn take_any(&mut self, wanted: &[&str]) -> bool {
        wanted.iter().any(|wanted| self.take(wanted))
    }

    fn take_number(&mut self) -> Option<u32> {
        let Some(&Kind::Number(number)) = self.kind() else {
            return None;
        };
        self.at += 1;
        Some(number)
    }

    fn unexpected(&self, what: &str) -> Wrong {
        match self.kind() {
            None => self.wrong(&format!("it ends where {what} should be")),
            Some(Kind::Word(word)) => {
                let word = around(word, 0);
                self.wrong(&format!("`{word}` is not supported here, only {what}"))
            }
            Some(_) => self.wrong(&format!("only {what} can be here")),
        }
    }

    /// Wrong at the next word.
    fn wrong(&self, what: &str) -> Wrong {
        let end = self.tokens.last().map_or(0, |token| token.end);
        let at = self.tokens.get(self.at).map_or(end, |token| token.start);
        (at, what.to_owned())
    }

    /// Wrong at the word that was read last.
    fn wrong_before(&self, what: &str) -> Wrong {
        self.wrong_at(self.at.saturating_sub(1), what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> Wrong {
        let start = self.tokens.get(at).map_or(0, |token| token.start);
        (start, what.to_owned())
    }
}

/// How many tests are inside each other, the innermost among them.
fn depth(test: &Test) -> usize {
    let inner = match test {
        Test::Always(_) | Test::Test(_) => 0,
        Test::Not(inner) => depth(inner),
        Test::All(inner) | Test::Any(inner) => inner.iter().map(depth).max().unwrap_or(0),
    };
    inner + 1
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// The bits of a network that is written as one number: `10` is 10.0.0.0/8.
fn significant(number: u32) -> u32 {
    match number {
        0 => 32,
        _ => 32 - number.leading_zeros() / 8 * 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, filter::pcap::Packet};

    /// What is taken must also be walked, and dropped, on the stack of a thread.
    fn refusal(text: &str) -> Option<String> {
        match program(text) {
            Ok(program) => {
                for layer in [Layer::Ethernet, Layer::Network] {
                    program.accepts(Packet {
                        bytes: &[0x45; 64],
                        layer,
                        protocol: Some(0x0800),
                        length: 64,
                    });
                }
                assert!(!format!("{program:?}").is_empty());
                None
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                Some(error.to_string())
            }
        }
    }

    #[test]
    fn nesting_is_limited_however_it_comes_about() {
        let changes = |pairs: usize| "ip and ip or ".repeat(pairs) + "ip";
        let values = |pairs: usize| format!("port ({}1)", "1 and 2 or ".repeat(pairs));
        let sum = |more: usize| format!("len{} = 1", "+len".repeat(more));
        let powers = |more: usize| format!("len{} = 1", "^len".repeat(more));
        let remainders = |more: usize| format!("len{} = 1", "%len".repeat(more));
        for taken in [
            changes(126),
            values(120),
            sum(255),
            powers(32),
            remainders(32),
            format!("{}tcp{}", "(".repeat(32), ")".repeat(32)),
            format!("len{} = 1", "+1".repeat(255)),
            format!("1{} = 1", "+1".repeat(2000)),
            "ip or ".repeat(2000) + "ip",
            format!("port ({}1)", "1 or ".repeat(2000)),
            "(ip and udp) or ".repeat(600) + "ip",
            format!(
                "{}{}",
                "(".repeat(32),
                sum(255).replace(" =", &format!("{} =", ")".repeat(32)))
            ),
            format!("{}len{} = 1", "ip[".repeat(32), "]".repeat(32)),
            format!(
                "{} = 1",
                (0..32).fold("len".to_owned(), |at, _| format!(
                    "ip[{at}{}]",
                    "+len".repeat(6)
                ))
            ),
            // A group counts for itself, wherever it stands.
            format!("({}) and ({})", changes(120), changes(120)),
        ] {
            assert_eq!(refusal(&taken), None);
            // Everything else that is done with a filter, the kernel's code included.
            #[cfg(feature = "replay")]
            crate::fuzz::filter(taken.as_bytes());
        }
        for (refused, part) in [
            (changes(130), "nested deeper than 256"),
            (changes(130), "in parentheses"),
            (values(130), "nested deeper than 256"),
            (sum(256), "nested deeper than 256"),
            (sum(256), "take fewer"),
            (powers(33), "nested deeper than 32"),
            (remainders(33), "nested deeper than 32"),
            (powers(2000), "nested deeper than 32"),
            (format!("({}", sum(2000)), "nested deeper than 256"),
            (changes(5000), "more than 4096 words and symbols"),
            (sum(100_000), "more than 4096 words and symbols"),
            ("(".repeat(4000), "nested deeper than 32"),
        ] {
            let error = refusal(&refused).expect(part);
            assert!(error.contains(part), "{error}");
        }
    }

    /// In libpcap's grammar these two operators have no precedence, so that its parser always reads on.
    #[test]
    fn remainder_and_exclusive_or_have_all_that_follows() {
        for (text, meant) in [
            ("len/4%7=2", "len/(4%7)=2"),
            ("len%4*7=2", "len%(4*7)=2"),
            ("len&3^1=2", "len&(3^1)=2"),
            ("len^3&1=2", "len^(3&1)=2"),
            ("len*2^3+len=2", "len*(2^(3+len))=2"),
            ("len*2+len^3 - len=2", "(len*2)+(len^(3 - len))=2"),
            ("len%len%len=2", "len%(len%len)=2"),
            ("(-len^3+len)=2", "(-(len^(3+len)))=2"),
            ("(-len+3)=2", "((-len)+3)=2"),
            ("len - len - len=2", "(len - len) - len=2"),
            (
                "len|len&len<<len+len*len=2",
                "len|(len&(len<<(len+(len*len))))=2",
            ),
        ] {
            let (text, meant) = (program(text).expect(text), program(meant).expect(meant));
            assert_eq!(text.ethernet, meant.ethernet);
            assert_eq!(text.network, meant.network);
        }
    }
}
