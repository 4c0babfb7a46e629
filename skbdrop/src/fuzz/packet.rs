//! A packet's bytes.

use crate::{Endpoint, EtherType, Layer, event::Headers};
use std::net::IpAddr;

/// Parses what follows the first four bytes as a packet: they say the layer, the network header's
/// offset and the EtherType.
pub fn packet(data: &[u8]) {
    let Some((&[layer, offset, protocol @ ..], bytes)) = data.split_first_chunk::<4>() else {
        return;
    };
    let layer = match layer % 4 {
        0 => Layer::Ethernet,
        1 => Layer::Link,
        2 => Layer::Network,
        _ => Layer::Data,
    };
    let offset = (offset != u8::MAX).then_some(usize::from(offset));
    let protocol = u16::from_be_bytes(protocol);
    let protocol = (protocol != 0).then_some(EtherType(protocol));
    let headers = Headers::parse(bytes, layer, offset, protocol);
    let ends = (headers.src, headers.dst, headers.transport);
    match ends {
        (Some(src), Some(dst), transport) => {
            assert_ne!(layer, Layer::Data);
            assert!(is_in(src, bytes) && is_in(dst, bytes));
            assert!(transport.is_none_or(|transport| bytes.contains(&transport.0)));
            assert!(transport.is_some() || src.port.is_none());
            assert_eq!(src.port.is_some(), dst.port.is_some());
            assert_eq!(src.address.is_ipv4(), dst.address.is_ipv4());
        }
        (None, None, None) => {}
        _ => panic!("half of what an IP header says: {headers:?}"),
    }
    if let (Layer::Network, None) = (layer, protocol) {
        assert_eq!(ends, (None, None, None));
    }
    agrees(
        &crate::headers::Headers::parse(bytes, layer, offset, protocol),
        &headers,
    );
}

/// All headers say of addresses and ports what these few say, and have a line.
fn agrees(all: &crate::headers::Headers<'_>, few: &Headers) {
    let addresses = all.network.and_then(|network| network.addresses());
    let ends = few.src.zip(few.dst);
    assert_eq!(addresses, ends.map(|(src, dst)| (src.address, dst.address)));
    let ports = all.transport.and_then(|transport| transport.ports());
    let known = ends.and_then(|(src, dst)| src.port.zip(dst.port));
    assert_eq!(ports, known);
    let line = all.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let mut inner = all.tunnel.and_then(|tunnel| tunnel.inner());
    let mut depth = 0;
    while let Some(headers) = inner {
        depth += 1;
        assert!(depth < 20, "packets in packets do not end");
        inner = headers.tunnel.and_then(|tunnel| tunnel.inner());
    }
}

/// Whether the address, and the port if it has one, are among the bytes.
fn is_in(end: Endpoint, bytes: &[u8]) -> bool {
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let address = match end.address {
        IpAddr::V4(address) => holds(&address.octets()),
        IpAddr::V6(address) => holds(&address.octets()),
    };
    address && end.port.is_none_or(|port| holds(&port.to_be_bytes()))
}
