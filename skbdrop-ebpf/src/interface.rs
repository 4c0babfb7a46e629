//! Which interface and namespace a drop belongs to, as far as the skb can be trusted.

/// What was read through `skb->dev`, and may be a device.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// `ifindex`.
    pub index: u32,
    /// Inode number of its namespace.
    pub netns: u32,
}

/// The interface and the namespace; 0 where they cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Index of the interface.
    pub index: u32,
    /// Whether the device that was read is that interface, and so has its name.
    pub is_device: bool,
    /// Whether what was read is a device beyond doubt, be it that interface or another.
    pub is_sure: bool,
    /// Inode number of the namespace.
    pub netns: u32,
}

impl Interface {
    /// Neither pointer of the skb says by itself what it is. `skb->dev` is not always a device: TCP's
    /// queues and UDP's receive path overlay the field. `skb->sk` is the sender's socket until the
    /// network layer takes the packet in, in the sender's namespace. Together with the index that
    /// the packet came in by, which the skb holds apart, they can be told.
    ///
    /// `iif` is that index and `sk_netns` reads the socket's namespace, 0 where there is none; `received` says that the
    /// socket is the receiver's.
    #[inline(always)]
    #[must_use]
    pub fn tell(
        iif: u32,
        device: Option<Device>,
        sk_netns: impl FnOnce() -> u32,
        received: bool,
    ) -> Self {
        let Some(device) = device else {
            // Past the link layer: the socket is the receiver's by now.
            return Self {
                index: iif,
                is_device: false,
                is_sure: false,
                netns: sk_netns(),
            };
        };
        // The device that it came in by is the one that it is at.
        if iif == device.index {
            return Self {
                index: iif,
                is_device: true,
                is_sure: true,
                netns: if received { sk_netns() } else { device.netns },
            };
        }
        let sk_netns = sk_netns();
        let agreed = sk_netns == device.netns;
        let is_device = agreed && iif == 0;
        Self {
            index: if is_device { device.index } else { iif },
            is_device,
            is_sure: agreed,
            // Elsewhere than where it came in, with a socket of another namespace: cannot tell.
            netns: if received || agreed { sk_netns } else { 0 },
        }
    }
}
