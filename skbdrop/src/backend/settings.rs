//! What a backend is opened with.

use crate::{
    BackendKind, Filter, Resolver, Result,
    btf::{self, DropTypes},
    filter::{Names, Plan},
    gate::Limits,
};
use std::{cell::OnceCell, path::PathBuf, time::Duration};

/// The builder's settings, checked, and the kernel's types, read when first needed.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code))] // not every backend reads all
pub(crate) struct Settings {
    /// BTF to use instead of the kernel's own.
    pub(crate) btf_file: Option<PathBuf>,
    /// Bytes of each packet.
    pub(crate) snap_len: u32,
    /// Whether what the skb says of itself is told.
    pub(crate) metadata: bool,
    /// Whether sockets are told.
    pub(crate) sockets: bool,
    /// Whether queueing disciplines are told.
    pub(crate) qdiscs: bool,
    /// Whether call stacks are told.
    pub(crate) stacks: bool,
    /// Bytes of buffer; a power of two of at least a page.
    pub(crate) buffer_size: u32,
    /// How long a record may wait for others before the reader is woken.
    pub(crate) max_latency: Duration,
    /// How full the buffer may be, in per cent, before the reader is woken in any case.
    pub(crate) wakeup_fill: u32,
    pub(crate) types: OnceCell<DropTypes>,
    /// Names to use instead of those of the types.
    pub(crate) given: Option<Resolver>,
    pub(crate) filter: Option<Filter>,
    pub(crate) limits: Limits,
    /// What only the netlink backend can be asked for.
    #[cfg(feature = "netlink")]
    pub(crate) netlink: super::NetlinkOptions,
}

#[cfg_attr(not(feature = "ebpf"), allow(dead_code))]
impl Settings {
    /// Whether the types are numbered as the running kernel numbers them.
    pub(crate) fn has_kernel_btf(&self) -> bool {
        self.btf_file.is_none()
    }

    pub(crate) fn types(&self) -> Result<&DropTypes> {
        if let Some(types) = self.types.get() {
            return Ok(types);
        }
        let types = match &self.btf_file {
            Some(path) => btf::from_file(path)?,
            None => btf::from_kernel()?,
        };
        Ok(self.types.get_or_init(|| types))
    }

    /// The same, with all that the filter looks up.
    pub(crate) fn prepared_resolver(&self) -> Result<Resolver> {
        let mut resolver = self.resolver()?;
        if let Some(filter) = &self.filter {
            filter.prepare(&mut resolver);
        }
        Ok(resolver)
    }

    /// The filter, with its names looked up for a source that evaluates it by numbers of this kernel.
    pub(crate) fn plan(&self, resolver: &Resolver) -> Result<Option<Plan>> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let resolver = self.given.as_ref().unwrap_or(resolver);
        filter
            .plan(&Names::new(resolver, BackendKind::Ebpf, true))
            .map(Some)
    }

    /// Names from these types.
    pub(crate) fn resolver(&self) -> Result<Resolver> {
        let types = self.types()?;
        match &self.btf_file {
            Some(file) => Resolver::from_types(types, Some(file)),
            None => Resolver::from_kernel_types(types),
        }
    }
}
