//! Where drops are made: a network namespace of its own, so that none of the machine's rules is in the way.

use super::{binaries::Binaries, process::figure};
use crate::{Result, host};
use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
};

/// The namespace, which a process holds; both end with this value.
#[derive(Debug)]
pub(super) struct Ground {
    holder: Child,
    /// Inode number of the namespace.
    pub(super) netns: u64,
}

/// What a flood was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    pub(super) count: u64,
    pub(super) senders: u32,
    /// Datagrams a second; as fast as possible if `None`.
    pub(super) rate: Option<u64>,
    /// Bytes of a datagram behind its headers.
    pub(super) payload: u32,
}

impl Flood {
    /// One sender, as fast as it can, with datagrams of which 96 bytes are not the whole.
    pub(super) fn of(count: u64) -> Self {
        Self {
            count,
            senders: 1,
            rate: None,
            payload: 64,
        }
    }
}

impl Ground {
    pub(super) fn new() -> Result<Self> {
        let script = "ip link set lo up && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start `unshare`: {e}"))?;
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("it was asked to be piped");
        // It says nothing if it fails, and the error is on the terminal.
        let _ = BufReader::new(stdout).read_line(&mut line);
        if line != "ready\n" {
            let _ = holder.wait();
            return Err("cannot make a network namespace with `lo` up".to_owned());
        }
        let path = format!("/proc/{}/ns/net", holder.id());
        let netns = std::fs::metadata(&path)
            .map_err(|e| format!("cannot read `{path}`: {e}"))?
            .ino();
        Ok(Self { holder, netns })
    }

    /// Makes so many drops; gives the senders' rate, in datagrams a second.
    pub(super) fn flood(&self, binaries: &Binaries, flood: Flood) -> Result<f64> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .arg(binaries.path("flood"))
            .args(["--count", &flood.count.to_string()])
            .args(["--senders", &flood.senders.to_string()])
            .args(["--payload", &flood.payload.to_string()]);
        if let Some(rate) = flood.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let text = host::output(&mut command).ok_or("the flood failed")?;
        let (sent, ns) = (figure(&text, "sent"), figure(&text, "ns"));
        match (sent, ns) {
            (Some(sent), Some(ns)) if ns > 0 => Ok(sent as f64 * 1e9 / ns as f64),
            _ => Err(format!("the flood said `{}`", text.trim())),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
