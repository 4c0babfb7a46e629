//! How the parts of an event serialise where the derived way would not do.

use super::{Endpoint, Location, Packet};
use crate::{BackendKind, DropReason, clock::sayable};
use bytes::Bytes;
use serde::{
    Serialize,
    ser::{SerializeStruct as _, Serializer},
};
use std::{fmt, time::SystemTime};

/// RFC 3339 in UTC with nanoseconds.
pub(super) fn wall_time<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_nanos(sayable(*time)))
}

/// Hexadecimal text: readers of JSON that hold numbers as doubles would round it.
pub(super) fn address<S: Serializer>(
    address: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(&format_args!("{address:#x}")),
        None => serializer.serialize_none(),
    }
}

/// Hexadecimal text, one for each.
pub(super) fn addresses<S: Serializer>(
    addresses: &[u64],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(|address| format!("{address:#x}")))
}

/// An address as hexadecimal text, in both directions.
pub(super) mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        address: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{address:#x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hex = text.strip_prefix("0x");
        hex.and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .ok_or_else(|| D::Error::custom(format_args!("no hexadecimal number: `{text}`")))
    }
}

/// Hexadecimal text.
pub(super) fn bytes<S: Serializer>(
    bytes: &Option<Bytes>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => Hex(bytes).serialize(serializer),
        None => serializer.serialize_none(),
    }
}

impl Serialize for BackendKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for DropReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subsystem = self.subsystem();
        let mut fields = serializer.serialize_struct("DropReason", 3)?;
        fields.serialize_field("name", &self.name())?;
        fields.serialize_field("raw", &self.raw())?;
        fields.serialize_field(
            "subsystem",
            &subsystem.and_then(|known| known.name.as_deref()),
        )?;
        fields.end()
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let symbol = self.symbol.as_deref();
        let mut fields = serializer.serialize_struct("Location", 4)?;
        fields.serialize_field(
            "address",
            &self.address.map(|address| format!("{address:#x}")),
        )?;
        fields.serialize_field("symbol", &symbol.map(|symbol| &*symbol.name))?;
        fields.serialize_field("offset", &symbol.map(|symbol| symbol.offset))?;
        fields.serialize_field(
            "module",
            &symbol.and_then(|symbol| symbol.module.as_deref()),
        )?;
        fields.end()
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As [`Display`](fmt::Display) writes it.
impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Packet", 3)?;
        fields.serialize_field("layer", &self.layer)?;
        fields.serialize_field("network_offset", &self.network_offset)?;
        fields.serialize_field("bytes", &Hex(&self.bytes))?;
        fields.end()
    }
}

/// Bytes as lower-case hexadecimal text.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
