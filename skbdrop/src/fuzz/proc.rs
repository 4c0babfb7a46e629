//! Files of `/proc`.

use crate::{clock, tracefs};

/// Reads `data` as each of the files of `/proc` that the library reads.
pub fn proc(data: &[u8]) {
    for mount in tracefs::mounts(data) {
        assert!(mount.as_os_str().len() <= data.len());
    }
    let text = String::from_utf8_lossy(data);
    let added = clock::added(&text);
    let most = (i128::from(u64::MAX) + 1) * 1_000_000_000;
    assert!((-most..=most).contains(&added), "{added}");
    #[cfg(feature = "netlink")]
    crate::backend::fuzz::sockets(&text);
}
