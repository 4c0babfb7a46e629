//! [`Prefix`] and [`Ports`]: what addresses and ports are compared with.

use super::excerpt::around;
use crate::{Error, ErrorKind, Result};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

/// An address, or all addresses that begin alike: `192.0.2.0/24`, `2001:db8::/32`.
///
/// IPv4 and IPv6 are apart: `::ffff:192.0.2.1` is no IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// From the first address and the number of bits that count.
    ///
    /// # Errors
    ///
    /// More bits than an address has, or bits set beyond those that count.
    pub fn new(address: IpAddr, length: u8) -> Result<Self> {
        let most = width(address);
        if length > most {
            let text = format!("the prefix `{address}/{length}` is too long (at most {most} bits)");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let first = first_of(address, length);
        if first != address {
            let text = format!(
                "the prefix `{address}/{length}` has bits set beyond its length (write `{first}/{length}`)"
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self { address, length })
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && first_of(address, self.length) == self.address
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first address that has the same `length` bits in front.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    let beyond = u32::from(width(address) - length.min(width(address)));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

impl<A: Into<IpAddr>> From<A> for Prefix {
    /// That address alone.
    fn from(address: A) -> Self {
        let address = address.into();
        Self {
            address,
            length: width(address),
        }
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let text = around(text, 0);
            let text = format!("`{text}` is no address and no prefix (like 192.0.2.0/24)");
            Error::new(ErrorKind::InvalidInput, text)
        };
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        match length {
            None => Ok(address.into()),
            Some(length) => Self::new(address, length.parse().map_err(|_| bad())?),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == width(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

/// A port, or all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl From<RangeInclusive<u16>> for Ports {
    /// The two ends may come in any order.
    fn from(ports: RangeInclusive<u16>) -> Self {
        let (first, last) = ports.into_inner();
        Self {
            first: first.min(last),
            last: first.max(last),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_what_begins_alike() {
        for (prefix, yes, no) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("fd00::1/128", "fd00::1", "fd00::2"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "0.0.0.0"),
        ] {
            let prefix: Prefix = prefix.parse().expect("a prefix");
            assert!(
                prefix.contains(yes.parse().expect("an address")),
                "{prefix}"
            );
            assert!(
                !prefix.contains(no.parse().expect("an address")),
                "{prefix}"
            );
            assert_eq!(prefix.to_string().parse::<Prefix>().expect("again"), prefix);
        }
        for bad in [
            "",
            "x",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "::/129",
            "1.2.3",
            "::/x",
            "1.2.3.4/",
        ] {
            let error = bad.parse::<Prefix>().expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
}
