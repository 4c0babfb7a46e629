//! Capabilities that a monitor needs to be opened, and not any more: given up.

use crate::{BackendKind, Error, Result};
use rustix::{
    process::getpid,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};
use std::{fs, path::Path};

/// The threads of this process.
const THREADS: &str = "/proc/self/task";
/// So many bits the kernel's sets have; it has no more than 41 capabilities yet.
const BITS: u32 = u64::BITS;

/// What a backend needs once it is open. Who has `drop_monitor` on has to switch it off.
fn needed(backend: BackendKind) -> CapabilitySet {
    match backend {
        BackendKind::Netlink => CapabilitySet::NET_ADMIN,
        _ => CapabilitySet::empty(),
    }
}

/// Leaves the calling thread, and those that it starts from here on, no capability but what the backend needs to go on,
/// and what they execute none. Says which it cannot do that for.
pub(crate) fn give_up(backend: BackendKind) -> Result<Vec<Error>> {
    let kept = needed(backend);
    let failed = |e| Error::io("cannot give up capabilities", e);
    // Else user 0 would have them all again in the next program that it executes.
    set_no_new_privs(true).map_err(failed)?;
    for bit in 0..BITS {
        // Without CAP_SETPCAP the bounding set stays. It bounds what can be gained, and that is nothing now.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    let held = capabilities(None).map_err(failed)?;
    // The ambient set follows.
    let left = CapabilitySets {
        effective: held.effective.intersection(kept),
        permitted: held.permitted.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, left).map_err(failed)?;
    Ok(others_that_hold(kept).into_iter().collect())
}

/// The threads of this process that hold more: the kernel has capabilities by thread, and a thread can only give up its own.
fn others_that_hold(kept: CapabilitySet) -> Option<Error> {
    let threads = match fs::read_dir(THREADS) {
        Ok(threads) => threads,
        Err(e) => {
            let what =
                format!("cannot tell whether other threads hold capabilities: no `{THREADS}`");
            return Some(Error::io(what, e));
        }
    };
    let holding: Vec<String> = threads
        .flatten()
        // One that has ended meanwhile holds nothing.
        .filter_map(|thread| holder(&thread.path(), kept))
        .collect();
    if holding.is_empty() {
        return None;
    }
    Some(Error::not_supported(format!(
        "other threads of process {} keep their capabilities: {} (build the monitor before they are started)",
        getpid(),
        holding.join(", ")
    )))
}

/// Name and number of the thread, if it holds more than `kept`.
fn holder(thread: &Path, kept: CapabilitySet) -> Option<String> {
    let status = fs::read_to_string(thread.join("status")).ok()?;
    let field = |name| {
        Some(
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .trim(),
        )
    };
    let permitted = u64::from_str_radix(field("CapPrm:")?, 16).ok()?;
    let is_more = permitted & !kept.bits() != 0;
    is_more.then(|| {
        format!(
            "{} {}",
            field("Name:").unwrap_or_default(),
            field("Pid:").unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    #[test]
    fn a_thread_gives_up_its_own_and_tells_of_others() {
        let mine = capabilities(None).expect("capget works").permitted;
        let (end, wait) = mpsc::channel::<()>();
        let other = thread::Builder::new().name("keeps".to_owned());
        let (running, runs) = mpsc::channel();
        let other = other.spawn(move || {
            running.send(()).expect("somebody waits for it");
            wait.recv()
        });
        let other = other.expect("a thread");
        // It has its name only once it runs.
        runs.recv().expect("it runs");
        let alone = thread::spawn(|| {
            let left_over = give_up(BackendKind::Ebpf).expect("nobody is kept from giving up");
            (left_over, capabilities(None).expect("capget works"))
        });
        let (told, held) = alone.join().expect("no panic");
        assert!(held.permitted.is_empty() && held.effective.is_empty());
        assert!(held.inheritable.is_empty());
        // This one keeps what it has.
        assert_eq!(capabilities(None).expect("capget works").permitted, mine);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        if mine.is_empty() {
            assert!(told.is_empty(), "{told:?}");
        } else {
            assert!(told[0].contains("keeps "), "{told:?}");
            assert!(told[0].contains("build the monitor before"), "{told:?}");
        }
        drop(end);
        let _ = other.join();
    }

    #[test]
    fn netlink_alone_keeps_one() {
        assert_eq!(needed(BackendKind::Netlink), CapabilitySet::NET_ADMIN);
        for backend in [
            BackendKind::Ebpf,
            BackendKind::Perf,
            BackendKind::Other("mine"),
        ] {
            assert!(needed(backend).is_empty());
        }
    }
}
