//! A filter's text, and tcpdump expressions.

use crate::{
    BackendKind, EtherType, Filter, Layer, Resolver,
    backend::{Record, Time},
    filter::Names,
    fuzz::delivered,
};

/// Reads the first line of `data` as a filter and as a tcpdump expression, and asks what is one of the rest, as a packet.
pub fn filter(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n');
    let (text, rest) = data.split_at(end.unwrap_or(data.len()));
    let packet = rest.get(1..).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    for filter in [text.parse::<Filter>(), Filter::pcap(&text)]
        .into_iter()
        .flatten()
    {
        check(&filter, packet);
    }
}

fn check(filter: &Filter, packet: &[u8]) {
    let text = filter.to_string();
    assert!(!text.contains('\n') || text.contains('"'), "{text:?}");
    let again = text.parse::<Filter>();
    assert_eq!(again.as_ref().ok(), Some(filter), "{text:?}: {again:?}");
    let resolver = Resolver::empty();
    let names = Names::new(&resolver, BackendKind::Replay, false);
    let plan = filter.plan(&names).expect("any name will do");
    let opposite = (!filter.clone()).plan(&names).expect("any name will do");
    for layer in [Layer::Ethernet, Layer::Network] {
        let mut record = Record::new(Time::Monotonic(0));
        record.packet = packet;
        record.layer = layer;
        record.protocol = Some(match packet.first() {
            Some(0x60..0x70) => EtherType::IPV6.0,
            _ => EtherType::IPV4.0,
        });
        record.original_length = u32::try_from(packet.len()).ok();
        for event in delivered(vec![record], BackendKind::Replay) {
            assert_ne!(plan.passes(&event), opposite.passes(&event), "{text}");
        }
    }
    // What the kernel would be given, or that it is too large for that.
    #[cfg(feature = "ebpf")]
    crate::backend::fuzz::filter(&plan);
}
