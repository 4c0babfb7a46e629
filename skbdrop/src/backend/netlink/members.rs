//! Who else listens to drop_monitor: the members of its netlink group.

use crate::{Error, Result};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    sync::Mutex,
};

/// Sockets of the calling thread's network namespace. The file, once open, stays with that namespace,
/// wherever the thread that reads it is.
const SOCKETS: &str = "/proc/thread-self/net/netlink";
/// `NETLINK_GENERIC`.
const GENERIC: u32 = 16;

/// The list of netlink sockets of the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Members {
    file: Mutex<File>,
    group: u32,
}

impl Members {
    pub(super) fn open(group: u32) -> Result<Self> {
        let file = File::open(SOCKETS)
            .map_err(|e| Error::io(format!("cannot read the netlink sockets `{SOCKETS}`"), e))?;
        Ok(Self {
            file: Mutex::new(file),
            group,
        })
    }

    /// How many sockets are in the group.
    pub(super) fn count(&self) -> Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(|e| Error::io(format!("cannot read the netlink sockets `{SOCKETS}`"), e))?;
        Ok(count(&text, self.group))
    }
}

/// The columns are: address, protocol, port, the first 32 groups as a mask, and others. The group is
/// among those: the kernel gives drop_monitor's a fixed number, which is 1.
pub(super) fn count(text: &str, group: u32) -> usize {
    let Some(bit) = group.checked_sub(1).and_then(|at| 1u32.checked_shl(at)) else {
        return 0;
    };
    let is_member = |line: &&str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let protocol = columns.next().and_then(|text| text.parse().ok());
        let groups = columns
            .nth(1)
            .and_then(|text| u32::from_str_radix(text, 16).ok());
        protocol == Some(GENERIC) && groups.is_some_and(|groups| groups & bit != 0)
    };
    text.lines().filter(is_member).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted() {
        let text = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 0   0          00000001 0        0        0     2        0        4
0000000005d083ae 16  3628073059 00000001 0        0        0     2        7        5891
0000000000000000 16  4294963151 00000003 0        0        0     2        0        5892
0000000000000000 16  512        00000002 0        0        0     2        0        5893
00000000a0e874ee 16  0          00000000 0        0        0     2        0        5
";
        assert_eq!(count(text, 1), 2);
        assert_eq!(count(text, 2), 2);
        assert_eq!(count(text, 32), 0);
        for (text, group) in [(text, 0), (text, 33), ("", 1), ("a b\n16\n", 1)] {
            assert_eq!(count(text, group), 0);
        }
    }
}
