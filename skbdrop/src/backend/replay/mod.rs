//! Recorded events, played again: to test an agent without root and without a kernel.
//!
//! # The format, version 1
//!
//! Text, one JSON object a line. The first line says what it is:
//!
//! ```json
//! {"format":"skbdrop-events","version":1}
//! ```
//!
//! Each line after it is a [`DropEvent`](crate::DropEvent) as it serialises with the feature `serde`.
//! Only `timestamp_ns` must be there; what is missing or `null` is unknown, and unknown keys are passed
//! over. The last line may tell what was lost after the last event:
//!
//! ```json
//! {"lost":17}
//! ```
//!
//! Lines can be written by hand. A change that old readers would get wrong raises the version; a reader
//! refuses a version that it does not know.
//!
//! ```
//! use skbdrop::backend::replay::{Recorder, Replay};
//!
//! let text = r#"{"format":"skbdrop-events","version":1}
//! {"timestamp_ns":1000,"reason":{"name":"NO_SOCKET","raw":3,"subsystem":"CORE"},"ifname":"eth0"}
//! {"timestamp_ns":2000,"reason":{"name":"TCP_CSUM"},"dst":"192.0.2.1:443"}
//! "#;
//! let source = Replay::from_reader(text.as_bytes())?;
//! let mut monitor = skbdrop::Monitor::builder().source(source).build()?;
//! let events: Vec<_> = monitor.iter().collect::<Result<_, _>>()?;
//! assert_eq!(events[0].reason.as_ref().unwrap().name(), Some("NO_SOCKET"));
//! assert_eq!(events[1].dst.unwrap().to_string(), "192.0.2.1:443");
//!
//! // And back again.
//! let mut recorder = Recorder::new(Vec::new())?;
//! for event in &events {
//!     recorder.write(event)?;
//! }
//! let written = recorder.finish(0)?;
//! assert!(written.starts_with(b"{\"format\":\"skbdrop-events\""));
//! # Ok::<(), skbdrop::Error>(())
//! ```

mod decode;
mod recorder;
mod source;

pub use recorder::Recorder;
pub use source::Replay;

/// What the first line names.
const FORMAT: &str = "skbdrop-events";
/// The version that this crate writes, and the only one so far.
const VERSION: u64 = 1;
