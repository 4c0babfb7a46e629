//! What holds of every event, whichever record it is made of.

use crate::{
    BackendKind, DropEvent, Origin, Resolver,
    backend::{Reason, Record},
    pipeline::Pipeline,
    symbols::Locations,
};
use std::cell::RefCell;

/// More than an event's line has besides its texts: numbers, addresses, punctuation.
const MAX_LINE: usize = 800;
/// A control character is shown as `\u{10ffff}` at the longest.
const MAX_ESCAPE: usize = 10;

thread_local! {
    /// One for all inputs: its memory for packets takes longer to get than an event to make.
    static PIPELINE: RefCell<Pipeline> =
        RefCell::new(Pipeline::new(Resolver::empty(), Locations::new(false)));
}

/// Makes an event of each record, as a monitor does that knows no name of any reason.
pub(crate) fn delivered(records: Vec<Record<'_>>, backend: BackendKind) -> Vec<DropEvent> {
    PIPELINE.with_borrow_mut(|pipeline| {
        pipeline.begin_batch();
        let event = |record: Record<'_>| {
            let event = pipeline.event(&record, backend);
            check(&event, &record);
            event
        };
        records.into_iter().map(event).collect()
    })
}

fn check(event: &DropEvent, record: &Record<'_>) {
    // Delivered or counted, as often as the backend said.
    assert_eq!(event.count, record.count);
    assert_eq!(event.lost_before, record.lost_before);
    // Nothing is invented.
    assert_eq!(&event.packet.bytes[..], record.packet);
    assert_eq!(event.packet.layer, record.layer);
    assert_eq!(event.location.address, record.location);
    assert_eq!(event.length, record.original_length);
    assert_eq!((event.iif, event.socket), (record.iif, record.socket));
    assert_eq!(event.metadata, record.metadata);
    assert_eq!(event.stack, record.stack);
    let qdisc = event.qdisc.as_ref();
    assert_eq!(
        qdisc.map(|it| (it.handle.0, it.parent.0)),
        record.qdisc.map(|told| (told.handle, told.parent))
    );
    assert_eq!(event.reason.is_some(), record.reason.is_some());
    let name = event.reason.as_ref().and_then(|reason| reason.name());
    match record.reason {
        Some(Reason::Name(known)) => assert_eq!(name, Some(known)),
        Some(Reason::Known { name: known, .. }) => assert_eq!(name, known),
        Some(Reason::Number(raw)) => {
            assert_eq!(name, None, "a name that no kernel gave");
            assert_eq!(
                event.reason.as_ref().and_then(|reason| reason.raw()),
                Some(raw)
            );
        }
        None => {}
    }
    let line = event.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(
        line.len() <= MAX_LINE + MAX_ESCAPE * texts(event),
        "{line:?}"
    );
}

/// Bytes of all texts of the event.
fn texts(event: &DropEvent) -> usize {
    let symbol = event.location.symbol.as_ref();
    let (trap, group) = match &event.origin {
        Origin::Hardware { trap, group } => (Some(trap), group.as_ref()),
        Origin::Software => (None, None),
    };
    let texts = [
        symbol.map(|symbol| &symbol.name),
        symbol.and_then(|symbol| symbol.module.as_ref()),
        event.ifname.as_ref(),
        event.comm.as_ref(),
        event.netns.as_ref().and_then(|netns| netns.name.as_ref()),
        event.qdisc.as_ref().map(|it| &it.kind),
        trap,
        group,
    ];
    let reasons = [
        event.reason.as_ref(),
        event.qdisc.as_ref().map(|it| &it.reason),
    ];
    let reasons = reasons.into_iter().flatten();
    let named: usize = reasons.filter_map(|it| it.name()).map(str::len).sum();
    texts
        .into_iter()
        .flatten()
        .map(|text| text.len())
        .sum::<usize>()
        + named
}
