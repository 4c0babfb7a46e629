//! drop_monitor's configuration and its two switches, as values.

use netlink_packet_core::DefaultNla;

/// Attributes of START and STOP (`enum net_dm_attr` in `include/uapi/linux/net_dropmon.h`).
const ATTR_SW_DROPS: u16 = 20;
const ATTR_HW_DROPS: u16 = 21;

/// drop_monitor's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) mode: Mode,
    /// Bytes of each packet; 0 for no limit.
    pub(super) trunc_len: u32,
    /// Packets that may wait on each CPU.
    pub(super) queue_len: u32,
}

/// What an alert tells (`enum net_dm_alert_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Summary,
    Packet,
}

/// Which drops are traced: switches of their own in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traced {
    pub(super) software: bool,
    pub(super) hardware: bool,
}

impl Mode {
    pub(super) fn of(number: u8) -> Self {
        // There are these two.
        if number == 0 {
            Self::Summary
        } else {
            Self::Packet
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Summary => 0,
            Self::Packet => 1,
        }
    }
}

impl Traced {
    pub(super) const ALL: Self = Self {
        software: true,
        hardware: true,
    };
    pub(super) const SOFTWARE: Self = Self {
        software: true,
        hardware: false,
    };
    pub(super) const HARDWARE: Self = Self {
        software: false,
        hardware: true,
    };

    pub(super) fn any(self) -> bool {
        self.software || self.hardware
    }

    pub(super) fn attributes(self) -> Vec<DefaultNla> {
        let flags = [
            (self.software, ATTR_SW_DROPS),
            (self.hardware, ATTR_HW_DROPS),
        ];
        let wanted = flags.into_iter().filter(|(wanted, _)| *wanted);
        wanted
            .map(|(_, kind)| DefaultNla::new(kind, Vec::new()))
            .collect()
    }
}
