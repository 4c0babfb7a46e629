//! What of the public types the compiler derives, and users build upon: a change of it would break them.

use crate::{
    Builder, DropEvent, DropReason, Error, Explanation, Monitor, NetNs, Report, Resolver, Result,
    Stats, Subsystem, Symbol, Symbols,
};
use std::collections::HashMap;

const fn send<T: Send>() {}
const fn send_and_sync<T: Send + Sync>() {}

const _: () = {
    // Has state that a call changes, so one thread at a time; any thread.
    send::<Monitor>();
    send::<Builder>();
    send_and_sync::<DropEvent>();
    send_and_sync::<DropReason>();
    send_and_sync::<Error>();
    send_and_sync::<Explanation>();
    send_and_sync::<NetNs>();
    send_and_sync::<Report>();
    send_and_sync::<Resolver>();
    send_and_sync::<Result<Stats>>();
    send_and_sync::<Subsystem>();
    send_and_sync::<Symbol>();
    send_and_sync::<Symbols>();
};

#[cfg(feature = "ebpf")]
const _: () = {
    use crate::{Count, Counters, CountersBuilder, Counts, Intervals};
    send::<Counters>();
    send::<Intervals>();
    send_and_sync::<CountersBuilder>();
    send_and_sync::<Counts>();
    send_and_sync::<Count>();
};

#[cfg(feature = "source-lines")]
const _: () = {
    use crate::{SourceLine, SourceLines};
    send::<SourceLines>();
    send_and_sync::<SourceLine>();
};

#[test]
fn a_reason_is_a_key_of_a_map() {
    let resolver = Resolver::from_format(
        "name: kfree_skb\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
         print fmt: \"reason: %s\", __print_symbolic(REC->reason, { 2, \"NOT_SPECIFIED\" }, { 3, \"NO_SOCKET\" })\n",
    )
    .unwrap();
    let mut counts = HashMap::<DropReason, u64>::new();
    for raw in [3, 2, 3, 99, 3] {
        *counts.entry(resolver.reason(raw)).or_default() += 1;
    }
    assert_eq!(counts.len(), 3);
    assert_eq!(counts[&resolver.reason(3)], 3);
    // One without a name is another reason than one with the same number and a name.
    assert_eq!(counts.get(&Resolver::empty().reason(3)), None);
}
