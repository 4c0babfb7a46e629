#![doc = include_str!("../README.md")]
//!
//! # The data's way
//!
//! ```text
//!  the kernel drops a packet: tracepoint skb:kfree_skb                       a trap of hardware
//!     |                             |                     |                        |
//!  eBPF program:                 perf event            drop_monitor <--------------+
//!  filter, sample, limit         on each CPU              |
//!     |            |                |                     |            a recording, or a
//!  ring buffer   map of counts   perf's rings          netlink        source of your own
//! ====|============|================|=====================|=================|=======  bytes
//!     v            |                v                     v                 v
//!  decode: a Record, with numbers and addresses as the kernel has them
//!     |            |
//!     v            v
//!  resolve: reason by BTF of the kernel and its modules, else by tracefs;
//!           function by /proc/kallsyms; namespace and interface by their files
//!     |            |
//!     v            |
//!  filter, sample, limit, where the backend has not
//!     |            |
//!     v            v
//!  DropEvent     Count
//!     |            |
//!     v            v
//!  Monitor:      Counters:
//!  Stream, iter, snapshot, intervals
//!  next_batch
//! ```
//!
//! What is lost on this way is counted where it is lost: [`Stats`], [`DropEvent::lost_before`], [`Counts::missed`]
//! and [`Counts::overflow`].
//!
//! # In a program of your own
//!
//! * Events or numbers? [`Monitor`] tells of each drop and costs time for each; [`Counters`] count in the kernel and cost this
//!   process nothing. A program that always runs often wants counters, and a monitor with a [`Filter`], [`Builder::sample`] or
//!   [`Builder::limit_rate`] for a look at some.
//! * One task owns the monitor. It may move between threads, and `next` may be dropped half-way, as `select!` does: no event is
//!   in between. A consumer that is slow needs no queue of its own without bounds: the kernel's buffer ([`Builder::buffer_size`])
//!   fills, and what finds no room is counted.
//! * Privileges are for opening. [`Builder::drop_capabilities`] gives those of the calling thread up once everything is open, so
//!   build the monitor before there are other threads. Without them it cannot be built again.
//! * An error ends the stream. What failed after it had worked may be built again; what cannot be built at the start needs what
//!   its text says, and [`Error::kind`] is for deciding.
//! * To end without loss: [`Monitor::stop`], then read to the end, then [`Monitor::stats`], which has what was lost behind the last
//!   event. To drop a monitor leaves nothing in the kernel either way.
//! * Names of reasons are the same on all kernels, numbers are not: store and compare [`DropReason::name`].
//! * Tests need neither root nor drops: see [without a kernel](#without-a-kernel).
//!
//! `examples/agent` is such a program.
//!
//! # Known limits
//!
//! * A drop is what the kernel calls one: it frees a packet by `kfree_skb` and its kin. Packets that never were an `sk_buff` are
//!   not seen: those that a network card or its driver had no room for, and those that XDP drops in the driver (`ethtool -S`
//!   counts both). Hardware tells of its drops by devlink's traps alone, which few drivers have, and only to the backend `netlink`.
//! * Some drops are freed in silence: Linux 5.10 does so with what TCP drops of a connection. Others are freed as dropped and harm
//!   nobody: [`Filter::noise`] knows these.
//! * Where kernel code gives no reason of its own the kernel says `NOT_SPECIFIED`. Then the place says more than the reason does.
//! * An event is an `sk_buff`. One that stands for several segments of TCP or UDP is one event, with [`Metadata::gso`] to tell it.
//! * A packet's bytes are those of the linear part: the headers nearly always, payload not always.
//! * Process and thread are what the CPU was running, which often has nothing to do with the packet.
//! * It says where a packet ended, not which way it came: that is what a call stack ([`Builder::stacks`]) tells in part, and what
//!   tools that follow packets through the stack are for.
//! * Each backend tells what it can (`docs/fields.md`), the rest is `None`. `perf` watches the CPUs that are online when it starts.
//! * Kernels: 64-bit for eBPF. The live tests run on x86-64, from Linux 5.10 to the newest of Debian's backports; most of them, now and
//!   then, on arm64 (5.10 and the newest, with pages of 4 and 16 KiB), and a few on s390x, which is big-endian (6.12), both emulated. On no
//!   other architecture is it tested, though nothing in the sources is of one. The crate that
//!   `perf` is made with has bindings for x86-64, arm64 and riscv64.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("skbdrop reads the Linux kernel's drops: it builds for Linux only");

pub mod backend;
mod btf;
mod clock;
#[cfg(feature = "ebpf")]
mod counters;
mod decompress;
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
mod privileges;
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
    Location, Metadata, NetNs, Origin, Packet, PacketType, QdiscDrop, Socket, SocketRole,
    SocketState, TcHandle,
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
