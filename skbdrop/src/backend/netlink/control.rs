//! The requests to drop_monitor, each with its answer, over a socket of their own: replies must not
//! compete with alerts for room.

use super::{
    answer::{DONE, ERROR, Family, family, outcome},
    config::{Config, Mode, Traced},
    message::{Message, attributes, request, u8_of, u32_of, u64_of},
    refusal::{self, Refusal},
};
use crate::{Error, Result};
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::{cell::Cell, fmt, io, os::fd::AsFd as _, time::Duration};

/// The controller of generic netlink: its number is fixed (`GENL_ID_CTRL`), as is its version.
const CTRL: u16 = 16;
const CTRL_VERSION: u8 = 2;
const CTRL_CMD_GETFAMILY: u8 = 3;
/// drop_monitor's version, commands and attributes (`include/uapi/linux/net_dropmon.h`).
const VERSION: u8 = 2;
const CMD_CONFIG: u8 = 2;
const CMD_START: u8 = 3;
const CMD_STOP: u8 = 4;
const CMD_CONFIG_GET: u8 = 6;
const CMD_STATS_GET: u8 = 8;
const ATTR_ALERT_MODE: u16 = 1;
const ATTR_TRUNC_LEN: u16 = 9;
const ATTR_QUEUE_LEN: u16 = 11;
const ATTR_STATS: u16 = 12;
const ATTR_HW_STATS: u16 = 13;
/// Within the nested statistics, whose numbers begin at 0.
const STATS_DROPPED: u16 = 0;

/// More than a part of the list of families takes (32 KiB).
const REPLY_LEN: usize = 64 * 1024;
/// The kernel answers before the request's system call returns. This is in case it does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Packets that found no room in the CPUs' queues since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueDrops {
    pub(super) software: u64,
    pub(super) hardware: u64,
}

/// The control socket.
pub(super) struct Control {
    socket: Socket,
    family: Family,
    sequence: Cell<u32>,
}

impl Control {
    /// Finds drop_monitor. Nothing is changed by it, and no module loaded: the families that
    /// there are get listed, since to ask for one by its name makes the kernel load it.
    pub(super) fn open() -> Result<Self> {
        let failed = |e| Error::io("cannot open a generic netlink socket", e);
        let socket = Socket::new(NETLINK_GENERIC).map_err(failed)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(|e| failed(e.into()))?;
        // For the kernel's own words; without them the error's number has to do.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let mut control = Self {
            socket,
            family: Family { id: 0, group: 0 },
            sequence: Cell::new(0),
        };
        control.family = control.find()?;
        Ok(control)
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Whether it is on, for software or hardware: a configuration that sets nothing is refused then.
    pub(super) fn is_running(&self) -> Result<bool, Refusal> {
        match self.command(CMD_CONFIG, &[]) {
            Ok(()) => Ok(false),
            Err(refusal) if refusal.number == Some(libc::EBUSY) => Ok(true),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn config(&self) -> Result<Config> {
        let mut config = Config {
            mode: Mode::Summary,
            trunc_len: 0,
            queue_len: 0,
        };
        let read = self.get(CMD_CONFIG_GET, &mut |kind, value| {
            match kind {
                ATTR_ALERT_MODE => config.mode = Mode::of(u8_of(value)?),
                ATTR_TRUNC_LEN => config.trunc_len = u32_of(value)?,
                ATTR_QUEUE_LEN => config.queue_len = u32_of(value)?,
                _ => {}
            }
            Ok(())
        });
        read.map_err(|e| e.when("cannot read the configuration of `drop_monitor`"))?;
        Ok(config)
    }

    pub(super) fn set_config(&self, config: Config) -> Result<(), Refusal> {
        let attributes = [
            DefaultNla::new(ATTR_ALERT_MODE, vec![config.mode.number()]),
            DefaultNla::new(ATTR_TRUNC_LEN, config.trunc_len.to_ne_bytes().to_vec()),
            DefaultNla::new(ATTR_QUEUE_LEN, config.queue_len.to_ne_bytes().to_vec()),
        ];
        self.command(CMD_CONFIG, &attributes)
    }

    pub(super) fn start(&self, traced: Traced) -> Result<(), Refusal> {
        self.command(CMD_START, &traced.attributes())
    }

    pub(super) fn stop(&self, traced: Traced) -> Result<(), Refusal> {
        self.command(CMD_STOP, &traced.attributes())
    }

    pub(super) fn queue_drops(&self) -> Result<QueueDrops> {
        let mut drops = QueueDrops::default();
        let read = self.get(CMD_STATS_GET, &mut |kind, nested| {
            let counter = match kind {
                ATTR_STATS => &mut drops.software,
                ATTR_HW_STATS => &mut drops.hardware,
                _ => return Ok(()),
            };
            for attribute in attributes(nested) {
                if let (STATS_DROPPED, value) = attribute? {
                    *counter = u64_of(value)?;
                }
            }
            Ok(())
        });
        read.map_err(|e| e.when("cannot read the counters of `drop_monitor`"))?;
        Ok(drops)
    }

    fn find(&self) -> Result<Family> {
        let mut found = None;
        let listed = self.transact(
            CTRL,
            NLM_F_DUMP,
            (CTRL_CMD_GETFAMILY, CTRL_VERSION),
            &[],
            &mut |message| {
                if let Some(family) = family(message.generic()?.1)? {
                    found = Some(family);
                }
                Ok(())
            },
        );
        listed.map_err(|e| e.when("cannot list the families of generic netlink"))?;
        found.ok_or_else(|| refusal::no_family(self.socket.as_fd()))
    }

    /// A command of drop_monitor that answers with success or an error.
    fn command(&self, command: u8, attributes: &[DefaultNla]) -> Result<(), Refusal> {
        let command = (command, VERSION);
        self.transact(self.family.id, NLM_F_ACK, command, attributes, &mut |_| {
            Ok(())
        })
    }

    /// A command of drop_monitor that answers with attributes.
    fn get(
        &self,
        command: u8,
        each: &mut dyn FnMut(u16, &[u8]) -> Result<()>,
    ) -> Result<(), Refusal> {
        let command = (command, VERSION);
        self.transact(self.family.id, NLM_F_ACK, command, &[], &mut |message| {
            for attribute in attributes(message.generic()?.1) {
                let (kind, value) = attribute?;
                each(kind, value)?;
            }
            Ok(())
        })
    }

    /// Sends a request and takes all that answers it, up to its end.
    fn transact(
        &self,
        family: u16,
        flags: u16,
        command: (u8, u8),
        attributes: &[DefaultNla],
        each: &mut dyn FnMut(&Message<'_>) -> Result<()>,
    ) -> Result<(), Refusal> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let bytes = request(family, NLM_F_REQUEST | flags, sequence, command, attributes);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&bytes, &kernel, 0)?;
        let mut reply = Vec::with_capacity(REPLY_LEN);
        loop {
            reply.clear();
            let received = self.socket.recv_from(&mut reply, 0);
            if received
                .as_ref()
                .is_err_and(|e| e.kind() == io::ErrorKind::Interrupted)
            {
                continue;
            }
            let (_, sender) = received?;
            if sender.port_number() != 0 {
                continue;
            }
            let mut rest = &reply[..];
            while !rest.is_empty() {
                let (message, next) = Message::parse(rest)?;
                rest = next;
                match message.kind {
                    // Left over from a request whose answer was given up on.
                    _ if message.sequence != sequence => {}
                    ERROR | DONE => return outcome(&message),
                    _ => each(&message)?,
                }
            }
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}
