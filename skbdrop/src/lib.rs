#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("skbdrop reads the Linux kernel's drops: it builds for Linux only");

pub mod backend;
mod btf;
mod clock;
#[cfg(feature = "ebpf")]
mod counters;
mod diagnostics;
mod error;
mod event;
mod explain;
mod filter;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod given_names;
pub mod headers;
mod monitor;
mod pipeline;
mod process;
#[cfg(test)]
mod promises;
mod reactor;
pub mod reason;
mod resolve;
#[cfg(feature = "source-lines")]
mod source_lines;
mod stats;
mod stream;
mod support;
mod symbols;
mod sys;
mod tracefs;

pub use backend::Backend;
pub use btf::{Pruned, prune as prune_btf, prune_module as prune_module_btf};
#[cfg(feature = "ebpf")]
pub use counters::{By, Count, Counters, CountersBuilder, Counts, Intervals, Tally};
pub use error::{Error, ErrorKind};
pub use event::{
    BackendKind, Checksum, Device, DropEvent, Endpoint, EtherType, Gso, IpProtocol, Layer,
    Location, Metadata, NetNs, Origin, Packet, PacketType, Socket, SocketRole, SocketState,
};
pub use explain::{Explanation, explain};
pub use filter::{Filter, Ports, Prefix};
pub use monitor::{Builder, Iter, Monitor};
pub use reason::{DropReason, Resolver, Subsystem};
#[cfg(feature = "source-lines")]
pub use source_lines::{SourceLine, SourceLines};
pub use stats::Stats;
pub use support::{Report, Support, support};
pub use symbols::{Symbol, Symbols};

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
