//! From text to a filter.

use super::{
    Filter, Prefix,
    excerpt::around,
    prefix::Ports,
    text::{PROTOCOLS, TRANSPORTS, is_plain},
};
use crate::{Error, ErrorKind, EtherType, IpProtocol, Result};
use std::str::FromStr;

/// How deep parentheses and `not` may be nested: nobody means more.
const MAX_DEPTH: usize = 64;

pub(super) fn filter(text: &str) -> Result<Filter> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let filter = parser.either()?;
    match parser.word()? {
        None => Ok(filter),
        Some(word) => Err(parser.expected("`and`, `or` or the end", Some(word))),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// How much of it is read.
    at: usize,
    depth: usize,
}

/// A word, a parenthesis or a name in quotes, and where it begins.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    quoted: bool,
    start: usize,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Filter> {
        let mut filter = self.both()?;
        while self.take("or")? {
            filter = filter | self.both()?;
        }
        Ok(filter)
    }

    fn both(&mut self) -> Result<Filter> {
        let mut filter = self.one()?;
        while self.take("and")? {
            filter = filter & self.one()?;
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.bad(self.at, &format!("nested deeper than {MAX_DEPTH}")));
        }
        let filter = if self.take("not")? {
            !self.one()?
        } else if self.take("(")? {
            let filter = self.either()?;
            if !self.take(")")? {
                let found = self.word()?;
                return Err(self.expected("`)`", found));
            }
            filter
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn term(&mut self) -> Result<Filter> {
        let word = self.word()?;
        let keyword = word.as_ref().filter(|word| !word.quoted);
        Ok(match keyword.map_or("", |word| &word.text) {
            "all" => Filter::all(),
            "none" => Filter::none(),
            "noise" => Filter::noise(),
            "reason" => Filter::reason(self.name("a reason")?),
            "subsystem" => Filter::subsystem(self.name("a subsystem")?),
            "symbol" => Filter::symbol(self.name("a function of the kernel")?),
            "interface" => Filter::interface(self.name("an interface")?),
            "ifindex" => Filter::ifindex(self.number("an interface's index")?),
            "netns" => Filter::netns(self.number("an inode number")?),
            "mark" => {
                let (value, mask) = self.value("a mark, or one like 0x10/0xff", mark)?;
                Filter::mark_masked(value, mask)
            }
            "min-length" => Filter::min_length(self.number("a number of bytes")?),
            "protocol" => {
                let what = "ipv4, ipv6, arp, vlan, qinq or an EtherType like 0x88cc";
                Filter::protocol(self.value(what, |text| {
                    named(&PROTOCOLS, text).or_else(|| ethertype(text))
                })?)
            }
            "transport" => {
                let what = "tcp, udp, icmp, icmpv6, sctp, dccp, udp-lite or a protocol's number";
                Filter::transport(self.value(what, |text| {
                    named(&TRANSPORTS, text).or_else(|| text.parse().ok().map(IpProtocol))
                })?)
            }
            "address" => Filter::address(self.prefix()?),
            "port" => Filter::port(self.ports()?),
            end @ ("src" | "dst") => {
                let src = end == "src";
                if self.take("address")? {
                    let prefix = self.prefix()?;
                    if src {
                        Filter::src_address(prefix)
                    } else {
                        Filter::dst_address(prefix)
                    }
                } else if self.take("port")? {
                    let ports = self.ports()?;
                    if src {
                        Filter::src_port(ports)
                    } else {
                        Filter::dst_port(ports)
                    }
                } else {
                    let found = self.word()?;
                    return Err(self.expected("`address` or `port`", found));
                }
            }
            "pcap" => Filter::pcap(&self.name("a tcpdump expression in quotes")?)?,
            _ => {
                let what = "a term (`reason NAME`, `port NUMBER`, …), `not` or `(`";
                return Err(self.expected(what, word));
            }
        })
    }

    fn name(&mut self, what: &str) -> Result<String> {
        match self.word()? {
            Some(word) if word.quoted || !word.is("(") && !word.is(")") => Ok(word.text),
            found => Err(self.expected(what, found)),
        }
    }

    fn value<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
        let word = self.word()?;
        let value = word.as_ref().and_then(|word| parse(&word.text));
        value.ok_or_else(|| self.expected(what, word))
    }

    fn number(&mut self, what: &str) -> Result<u32> {
        self.value(what, hexadecimal)
    }

    fn prefix(&mut self) -> Result<Prefix> {
        let word = self.word()?;
        let Some(word) = word else {
            return Err(self.expected("an address or a prefix", None));
        };
        Prefix::from_str(&word.text).map_err(|e| self.bad(word.start, &e.to_string()))
    }

    fn ports(&mut self) -> Result<Ports> {
        self.value("a port, or two like 1024-2047", |text| {
            let Some((first, last)) = text.split_once('-') else {
                return Some(text.parse::<u16>().ok()?.into());
            };
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then(|| (first..=last).into())
        })
    }

    /// Reads the next word if it is this one.
    fn take(&mut self, keyword: &str) -> Result<bool> {
        let before = self.at;
        let taken = self.word()?.is_some_and(|word| word.is(keyword));
        if !taken {
            self.at = before;
        }
        Ok(taken)
    }

    fn word(&mut self) -> Result<Option<Word>> {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        let start = self.text.len() - trimmed.len();
        let Some(first) = trimmed.bytes().next() else {
            self.at = start;
            return Ok(None);
        };
        let (text, quoted, len) = match first {
            b'"' => {
                let (text, len) =
                    quoted(trimmed).ok_or_else(|| self.bad(start, "a quote that does not end"))?;
                (text, true, len)
            }
            b'(' | b')' => (trimmed[..1].to_owned(), false, 1),
            _ => {
                let len = trimmed
                    .bytes()
                    .position(|byte| !is_plain(byte))
                    .unwrap_or(trimmed.len());
                if len == 0 {
                    let found = trimmed.chars().next().unwrap_or(' ');
                    return Err(self.bad(start, &format!("unexpected `{found}`")));
                }
                (trimmed[..len].to_owned(), false, len)
            }
        };
        self.at = start + len;
        Ok(Some(Word {
            text,
            quoted,
            start,
        }))
    }

    fn expected(&self, what: &str, found: Option<Word>) -> Error {
        match found {
            Some(word) => {
                let found = around(&word.text, 0);
                self.bad(word.start, &format!("`{found}` instead of {what}"))
            }
            None => self.bad(self.text.len(), &format!("it ends where {what} should be")),
        }
    }

    fn bad(&self, at: usize, what: &str) -> Error {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "the filter `{}` is wrong at byte {at}: {what}",
                around(self.text, at)
            ),
        )
    }
}

/// What is in the quotes that `text` begins with, and how many bytes they take.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((inner, at + 1)),
            '\\' => inner.push(chars.next()?.1),
            _ => inner.push(c),
        }
    }
    None
}

fn named<T: Copy>(names: &[(&str, T)], text: &str) -> Option<T> {
    names
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
}

fn ethertype(text: &str) -> Option<EtherType> {
    let number = u16::try_from(hexadecimal(text)?).ok()?;
    Some(EtherType(number))
}

/// A mark and which of its bits count.
fn mark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => {
            let (value, mask) = (hexadecimal(value)?, hexadecimal(mask)?);
            // A bit that does not count can never be what is asked for.
            (value & !mask == 0).then_some((value, mask))
        }
        None => Some((hexadecimal(text)?, u32::MAX)),
    }
}

/// A number, decimal, or hexadecimal after `0x`.
fn hexadecimal(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        // A sign would be taken as well.
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Filter {
        text.parse().expect(text)
    }

    #[test]
    fn text_and_builders_say_the_same() {
        let dns = Filter::transport(IpProtocol::UDP) & Filter::port(53);
        for (text, filter) in [
            ("all", Filter::all()),
            ("not all", Filter::none()),
            (
                "reason TCP_* and subsystem CORE",
                Filter::reason("TCP_*") & Filter::subsystem("CORE"),
            ),
            ("not (transport udp and port 53)", !dns.clone()),
            (
                "symbol a.b or not noise and ifindex 3",
                Filter::symbol("a.b") | (!Filter::noise() & Filter::ifindex(3)),
            ),
            (
                "(netns 5 or min-length 9) and interface \"a(\\\"b\"",
                (Filter::netns(5) | Filter::min_length(9)) & Filter::interface("a(\"b"),
            ),
            (
                "src address 10.0.0.0/8 and dst address ::1 and address 192.0.2.1",
                Filter::src_address("10.0.0.0/8".parse::<Prefix>().expect("a prefix"))
                    & Filter::dst_address(std::net::Ipv6Addr::LOCALHOST)
                    & Filter::address([192, 0, 2, 1]),
            ),
            (
                "src port 1-3 or dst port 4",
                Filter::src_port(1..=3) | Filter::dst_port(4),
            ),
            (
                "protocol ipv6 or protocol 0x88cc or transport 99",
                Filter::protocol(EtherType::IPV6)
                    | Filter::protocol(EtherType(0x88cc))
                    | Filter::transport(IpProtocol(99)),
            ),
            (
                "mark 16 or mark 0xab/0xff",
                Filter::mark(0x10) | Filter::mark_masked(0xab, 0xff),
            ),
            (
                "netns 0xf0000000 or ifindex 0x1f or min-length 0x40",
                Filter::netns(0xf000_0000) | Filter::ifindex(31) | Filter::min_length(64),
            ),
            (
                "pcap \"udp port 53\"",
                Filter::pcap("udp port 53").expect("an expression"),
            ),
        ] {
            assert_eq!(parse(text), filter, "{text}");
            assert_eq!(parse(&filter.to_string()), filter, "{filter}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (text, part) in [
            ("", "ends where a term"),
            ("reason", "ends where a reason"),
            ("reason )", "byte 7: `)` instead of a reason"),
            ("port 70000", "`70000` instead of a port"),
            ("port 5-3", "instead of a port"),
            ("reason A reason B", "byte 9: `reason` instead of `and`"),
            ("(reason A", "ends where `)`"),
            ("src reason A", "instead of `address` or `port`"),
            ("address 10.0.0.1/8", "write `10.0.0.0/8`"),
            ("reason \"A", "a quote that does not end"),
            ("reason A & reason B", "unexpected `&`"),
            ("protocol ipv5", "instead of ipv4"),
            ("transport 256", "instead of tcp"),
            ("protocol 0x+1", "instead of ipv4"),
            ("mark 0x100000000", "instead of a mark"),
            ("mark 1/", "instead of a mark"),
            ("netns f0000000", "`f0000000` instead of an inode number"),
            ("netns 0x1f0000000", "instead of an inode number"),
            ("ifindex 0x", "instead of an interface's index"),
            ("mark 0x1ff/0xff", "instead of a mark"),
            ("pcap \"udp prt 53\"", "udp prt 53"),
            ("é", "unexpected `é`"),
        ] {
            let error = text.parse::<Filter>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let long = "port 53 or ".repeat(500);
        for text in [
            format!("{long}port x or {long}all"),
            format!("pcap \"{long}port x or {long}port 1\""),
        ] {
            let error = text.parse::<Filter>().expect_err("no port").to_string();
            assert!(error.len() < 400, "{error}");
            assert!(error.contains("port 53 or port x or port 53"), "{error}");
        }
        for word in [
            "x".repeat(10_000),
            format!("address {}", "1".repeat(10_000)),
            format!("pcap \"{}\"", "1".repeat(10_000)),
            format!("pcap \"{}\"", "x".repeat(10_000)),
            format!("pcap \"{}\"", "1:".repeat(10_000)),
        ] {
            let error = word.parse::<Filter>().expect_err("no filter").to_string();
            assert!(error.len() < 600, "{error}");
        }
        let deep = "not ".repeat(5000) + "all";
        assert!(deep.parse::<Filter>().is_err());
        let deep = "(".repeat(5000);
        assert!(deep.parse::<Filter>().is_err());
    }
}
