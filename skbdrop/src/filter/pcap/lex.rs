//! The words of a tcpdump expression.

use crate::filter::excerpt::around;
use std::net::Ipv6Addr;

/// How many words and symbols an expression may have.
const MAX_TOKENS: usize = 4096;

/// A word, and where in the text it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number(u32),
    /// Two to four numbers with dots between, in the upper bits, and how many bits that is.
    V4(u32, u8),
    V6(Ipv6Addr),
    Mac([u8; 6]),
    Word(String),
    /// A word after a backslash, which is no keyword.
    Escaped(String),
    Symbol(&'static str),
}

/// Longest first, as `<` begins `<=`.
const SYMBOLS: [&str; 25] = [
    "<<", "<=", ">>", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", "<", ">", "=", "!", "&",
    "|", "^", "+", "-", "*", "/", "%", ":",
];

/// Splits the text; an error is where, and what.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        let start = text.len() - trimmed.len();
        if trimmed.is_empty() {
            return Ok(tokens);
        }
        if tokens.len() == MAX_TOKENS {
            let what = format!(
                "it has more than {MAX_TOKENS} words and symbols (make several filters of it)"
            );
            return Err((start, what));
        }
        let (kind, len) = token(trimmed).map_err(|what| (start, what))?;
        at = start + len;
        tokens.push(Token {
            kind,
            start,
            end: at,
        });
    }
}

fn token(text: &str) -> Result<(Kind, usize), String> {
    let run = |is: fn(u8) -> bool| {
        text.bytes()
            .position(|byte| !is(byte))
            .unwrap_or(text.len())
    };
    let colons = run(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    if text[..colons].matches(':').count() >= 2 {
        let text = &text[..colons];
        if let Some(mac) = mac(text) {
            return Ok((Kind::Mac(mac), colons));
        }
        return match text.parse() {
            Ok(address) => Ok((Kind::V6(address), colons)),
            Err(_) => Err(format!("`{}` is no address", around(text, 0))),
        };
    }
    let len = run(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let whole = text[..len].trim_end_matches(['-', '_']);
    if let Some(mac) = mac(whole) {
        return Ok((Kind::Mac(mac), whole.len()));
    }
    let first = text.as_bytes()[0];
    if first.is_ascii_digit() {
        let len = run(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        let number = &text[..len];
        let bad = || format!("`{}` is no number and no address", around(number, 0));
        let kind = if number.contains('.') {
            dotted(number)
        } else {
            plain(number).map(Kind::Number)
        };
        return Ok((kind.ok_or_else(bad)?, len));
    }
    let word = |text: &str| {
        let len = text
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        len.unwrap_or(text.len())
    };
    if first.is_ascii_alphabetic() {
        let len = word(text);
        return Ok((Kind::Word(text[..len].to_owned()), len));
    }
    if first == b'\\' {
        let len = word(&text[1..]);
        return Ok((Kind::Escaped(text[1..=len].to_owned()), len + 1));
    }
    let symbol = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol));
    match symbol {
        Some(symbol) => Ok((Kind::Symbol(symbol), symbol.len())),
        None => Err(format!(
            "unexpected `{}`",
            text.chars().next().unwrap_or(' ')
        )),
    }
}

/// Decimal, octal after a 0, hexadecimal after 0x.
fn plain(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    u32::from_str_radix(digits, radix).ok()
}

fn dotted(text: &str) -> Option<Kind> {
    let (mut value, mut bits) = (0, 0);
    for part in text.split('.') {
        if bits == 32 || part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        value = value << 8 | u32::from(part.parse::<u8>().ok()?);
        bits += 8;
    }
    // A single number has no dot.
    (bits >= 16).then(|| Kind::V4(value << (32 - u32::from(bits)), bits))
}

/// Six bytes with `:`, `-` or `.` between, three times two with `.` between, or twelve digits.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let two = |text: &str, bytes: &mut [u8]| {
        let number = u16::from_str_radix(text, 16).ok()?;
        bytes.copy_from_slice(&number.to_be_bytes());
        Some(())
    };
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b":-.".contains(&byte))
    {
        return None;
    }
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        for (at, bytes) in mac.chunks_exact_mut(2).enumerate() {
            two(&text[4 * at..4 * at + 4], bytes)?;
        }
        return Some(mac);
    }
    let separator = text.chars().find(|byte| !byte.is_ascii_hexdigit())?;
    let parts: Vec<&str> = text.split(separator).collect();
    match parts.len() {
        6 => {
            for (part, byte) in parts.iter().zip(&mut mac) {
                let part = Some(part).filter(|part| matches!(part.len(), 1 | 2))?;
                *byte = u8::from_str_radix(part, 16).ok()?;
            }
        }
        3 if separator == '.' => {
            for (part, bytes) in parts.iter().zip(mac.chunks_exact_mut(2)) {
                two(Some(part).filter(|part| part.len() == 4)?, bytes)?;
            }
        }
        _ => return None,
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_each_kind() {
        let kinds = |text: &str| {
            let tokens = tokens(text).expect(text);
            tokens
                .into_iter()
                .map(|token| token.kind)
                .collect::<Vec<_>>()
        };
        let word = |text: &str| Kind::Word(text.to_owned());
        assert_eq!(
            kinds("10 0x1f 017"),
            [Kind::Number(10), Kind::Number(31), Kind::Number(15)]
        );
        assert_eq!(kinds("10.1"), [Kind::V4(0x0a01_0000, 16)]);
        assert_eq!(kinds("10.1.2.3"), [Kind::V4(0x0a01_0203, 32)]);
        assert_eq!(kinds("::1"), [Kind::V6(Ipv6Addr::LOCALHOST)]);
        assert_eq!(kinds("fe80::1/64").len(), 3);
        assert_eq!(kinds("2:0:0:0:0:a1"), [Kind::Mac([2, 0, 0, 0, 0, 0xa1])]);
        for mac in [
            "0a:0b:c:d:0e:f1",
            "0a-0b-c-d-0e-f1",
            "0a.0b.c.d.0e.f1",
            "0a0b.0c0d.0ef1",
            "0a0b0c0d0ef1",
            "0A0B0C0D0EF1",
        ] {
            assert_eq!(kinds(mac), [Kind::Mac([0xa, 0xb, 0xc, 0xd, 0xe, 0xf1])]);
        }
        let digits = [1, 2, 3, 4, 5, 6];
        assert_eq!(kinds("010203040506"), [Kind::Mac(digits)]);
        assert_eq!(
            kinds("1.2.3.4.5.6-"),
            [Kind::Mac(digits), Kind::Symbol("-")]
        );
        for word in [
            "aabb-ccdd-eeff",
            "aa-bb-cc-dd-ee-ff-00",
            "aa-bb.cc-dd-ee-ff",
            "decade",
            "aabbccddeef",
        ] {
            assert_eq!(kinds(word), [Kind::Word(word.to_owned())]);
        }
        assert_eq!(
            kinds("tcp[0:2]&tcp-syn!=0"),
            [
                word("tcp"),
                Kind::Symbol("["),
                Kind::Number(0),
                Kind::Symbol(":"),
                Kind::Number(2),
                Kind::Symbol("]"),
                Kind::Symbol("&"),
                word("tcp-syn"),
                Kind::Symbol("!="),
                Kind::Number(0),
            ]
        );
        assert_eq!(kinds("\\tcp"), [Kind::Escaped("tcp".to_owned())]);
        for bad in [
            "1.2.3.4.5",
            "1.2.3.4.5.678",
            "1.2.3.4.5.6.7",
            "102.304.506",
            "256.1",
            "1:2:3:4",
            "08",
            "0xg",
            "1.",
            "4294967296",
            "é",
            "#",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }
}
