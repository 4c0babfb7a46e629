//! Names that people gave: of network namespaces, and of interfaces that an event has only the index of.

use rustix::{
    fs::{Dir, Mode, OFlags, stat},
    net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with},
};
use std::{
    collections::HashMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Where `ip netns` and others bind namespaces that have a name.
const NAMED: &str = "/run/netns";
/// The namespace of this thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// Names are read again at most so often: when an event asks for one. An inode number may be another namespace's
/// by then.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Names by the namespaces' inode numbers, and of the own namespace's interfaces by index. Read when
/// asked, and again when they are older than a second. Nothing is mounted or opened for long.
#[derive(Debug)]
pub(crate) struct GivenNames {
    folder: PathBuf,
    read: Option<Instant>,
    is_due: bool,
    namespaces: HashMap<u32, Arc<str>>,
    /// The last that was asked for: drops come many in one namespace.
    last: Option<(u32, Option<Arc<str>>)>,
    /// Inode number of the own namespace.
    own: Option<u32>,
    interfaces: HashMap<u32, Option<Arc<str>>>,
}

impl GivenNames {
    pub(crate) fn new() -> Self {
        Self::of(Path::new(NAMED))
    }

    fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            read: None,
            is_due: true,
            namespaces: HashMap::new(),
            last: None,
            own: None,
            interfaces: HashMap::new(),
        }
    }

    /// To be called before each batch: to look at the clock for each event would cost as much as the rest.
    pub(crate) fn begin_batch(&mut self) {
        self.is_due = self.read.is_none_or(|read| read.elapsed() >= MAX_AGE);
    }

    /// The name under which `ip netns` knows the namespace; `None` if it has none, or this process may not see it.
    pub(crate) fn namespace(&mut self, inode: u32) -> Option<Arc<str>> {
        self.refresh();
        if let Some((last, name)) = &self.last
            && *last == inode
        {
            return name.clone();
        }
        let name = self.namespaces.get(&inode).cloned();
        self.last = Some((inode, name.clone()));
        name
    }

    /// The name of an interface, if the namespace is this process's own.
    pub(crate) fn interface(&mut self, index: u32, namespace: u32) -> Option<Arc<str>> {
        self.refresh();
        if self.own != Some(namespace) {
            return None;
        }
        self.interfaces
            .entry(index)
            .or_insert_with(|| interface_name(index))
            .clone()
    }

    fn refresh(&mut self) {
        if !self.is_due {
            return;
        }
        self.is_due = false;
        self.read = Some(Instant::now());
        self.interfaces.clear();
        self.namespaces.clear();
        self.last = None;
        let Ok(own) = stat(OWN) else {
            self.own = None;
            return;
        };
        self.own = u32::try_from(own.st_ino).ok();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.folder, flags, Mode::empty());
        let Ok(entries) = folder.and_then(Dir::new) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = self
                .folder
                .join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            // What is no namespace is on another file system: a name that is being made, for example.
            if let Ok(found) = stat(&path)
                && found.st_dev == own.st_dev
                && let Ok(inode) = u32::try_from(found.st_ino)
            {
                self.namespaces
                    .insert(inode, String::from_utf8_lossy(name.to_bytes()).into());
            }
        }
    }
}

/// By any socket: it is only asked.
fn interface_name(index: u32) -> Option<Arc<str>> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    netdevice::index_to_name(socket, index).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_has_no_name() {
        let own = stat(OWN).expect("/proc").st_ino as u32;
        // A folder of namespaces: this process's, of which there is only one of the network.
        let mut names = GivenNames::of(Path::new("/proc/thread-self/ns"));
        assert_eq!(names.namespace(own).as_deref(), Some("net"));
        let mut names = GivenNames::of(Path::new("/proc/self"));
        assert_eq!(names.namespace(own), None);
        let mut names = GivenNames::of(Path::new("/nowhere"));
        assert_eq!(names.namespace(own), None);
        assert_eq!(names.interface(1, own).as_deref(), Some("lo"));
        assert_eq!(names.interface(1, own.wrapping_add(1)), None);
        assert_eq!(names.interface(u32::MAX, own), None);
    }
}
