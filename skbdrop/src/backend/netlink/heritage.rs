//! What was configured before us, told from process to process.
//!
//! The mark in drop_monitor's configuration has no room for lengths that are not the kernel's own. A
//! process that knows them says so by the name of a listening socket, which is abstract: it is no file,
//! goes with the process, and is seen in the network namespace that drop_monitor is for.

use super::config::{Config, Mode};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    sockopt::socket_peercred,
};
use rustix::process::{Uid, geteuid, getpid};
use std::{fs, os::fd::OwnedFd};

/// Sockets of the calling thread's network namespace.
const SOCKETS: &str = "/proc/thread-self/net/unix";
/// What the names begin with. Mode, lengths and the process's number come after it.
const PREFIX: &str = "skbdrop/drop_monitor/before/";
/// Those who ask are never answered: that they can connect shows them whose name it is.
const BACKLOG: i32 = 64;

/// Tells others, for as long as it is held.
#[derive(Debug)]
pub(super) struct Published(#[expect(dead_code, reason = "it is for others")] OwnedFd);

/// Says what was configured before. Without it others put back the kernel's defaults.
pub(super) fn publish(before: Config) -> Option<Published> {
    let process = getpid().as_raw_nonzero();
    let name = format!("{PREFIX}{}/{process}", write(before));
    let socket = socket(SocketFlags::CLOEXEC)?;
    bind(
        &socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?,
    )
    .ok()?;
    listen(&socket, BACKLOG).ok()?;
    Some(Published(socket))
}

/// What another process says. Anyone can take such a name, so only root and the same user are
/// believed.
pub(super) fn told() -> Option<Config> {
    let sockets = fs::read(SOCKETS).ok()?;
    names(&String::from_utf8_lossy(&sockets)).find_map(|name| {
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?;
        let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        connect(&socket, &address).ok()?;
        let owner = socket_peercred(&socket).ok()?.uid;
        (owner == Uid::ROOT || owner == geteuid()).then_some(())?;
        read(name)
    })
}

fn socket(flags: SocketFlags) -> Option<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()
}

/// The names in the kernel's list, where abstract ones begin with `@`.
pub(super) fn names(sockets: &str) -> impl Iterator<Item = &str> {
    sockets.lines().filter_map(|line| {
        let name = line.split_ascii_whitespace().nth(7)?.strip_prefix('@')?;
        name.starts_with(PREFIX).then_some(name)
    })
}

fn write(config: Config) -> String {
    let mode = match config.mode {
        Mode::Summary => "summary",
        Mode::Packet => "packet",
    };
    format!("{mode}/{}/{}", config.trunc_len, config.queue_len)
}

pub(super) fn read(name: &str) -> Option<Config> {
    let mut parts = name.strip_prefix(PREFIX)?.split('/');
    Some(Config {
        mode: match parts.next()? {
            "summary" => Mode::Summary,
            "packet" => Mode::Packet,
            _ => return None,
        },
        trunc_len: parts.next()?.parse().ok()?,
        queue_len: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Config = Config {
        mode: Mode::Packet,
        trunc_len: 77,
        queue_len: 333,
    };

    #[test]
    fn names_are_found_and_read() {
        let list = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/skbdrop/drop_monitor/before/
0000000000000000: 00000003 00000000 00000000 0001 03 101
0000000000000000: 00000002 00000000 00010000 0001 01 102 @skbdrop/drop_monitor/before/packet/77/333/42
0000000000000000: 00000002 00000000 00010000 0001 01 103 @other
";
        let found: Vec<_> = names(list).collect();
        assert_eq!(found, ["skbdrop/drop_monitor/before/packet/77/333/42"]);
        assert_eq!(read(found[0]), Some(BEFORE));
        for bad in [
            "",
            "packet",
            "packet/1",
            "packet/1/x/2",
            "all/1/2/3",
            "packet/-1/2/3",
        ] {
            assert_eq!(read(&format!("{PREFIX}{bad}")), None, "{bad}");
        }
    }

    #[test]
    fn what_is_published_is_told() {
        let published = publish(BEFORE).expect("an abstract name");
        assert!(publish(BEFORE).is_none(), "one name a process");
        assert_eq!(told(), Some(BEFORE));
        drop(published);
        assert!(publish(BEFORE).is_some());
    }
}
