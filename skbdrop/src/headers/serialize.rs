//! How headers serialise where the derived way would not do.

use super::{Extensions, Icmp, MacAddress, TcpFlags, Tunnel, VlanTags};
use serde::{
    Serialize,
    ser::{SerializeStruct as _, Serializer},
};

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for VlanTags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// As `Display` writes them.
impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Their kinds.
impl Serialize for Extensions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.map(|(kind, _)| kind))
    }
}

impl Serialize for Icmp<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Icmp", 6)?;
        fields.serialize_field("version", &self.version)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("echo", &self.echo)?;
        fields.serialize_field("mtu", &self.mtu)?;
        fields.serialize_field("quoted", &self.quoted())?;
        fields.end()
    }
}

impl Serialize for Tunnel<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Tunnel", 3)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.serialize_field("protocol", &self.protocol)?;
        fields.serialize_field("inner", &self.inner())?;
        fields.end()
    }
}
