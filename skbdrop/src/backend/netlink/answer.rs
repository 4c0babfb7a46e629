//! What the kernel answers with: success, an error with its text, the family that was asked for.

use super::{
    message::{Message, attributes, u16_of, u32_of},
    refusal::Refusal,
};
use crate::{Error, Result};
use netlink_packet_core::NLM_F_ACK_TLVS;

/// Attributes of a family in the controller's list.
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;

/// The names of drop_monitor's family and of its group.
const FAMILY: &[u8] = b"NET_DM\0";
const GROUP: &[u8] = b"events\0";

/// Netlink's own messages (`NLMSG_ERROR`, `NLMSG_DONE`), and the attribute of the former that holds text.
pub(super) const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
const ERROR_TEXT: u16 = 1;
/// The request's header within an error, which the text comes after.
const ECHO_LEN: usize = 16;

/// drop_monitor as the kernel has registered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) id: u16,
    /// The group that alerts are sent to.
    pub(super) group: u32,
}
/// What the last message of an answer says.
pub(super) fn outcome(message: &Message<'_>) -> Result<(), Refusal> {
    let Some((number, rest)) = message.payload.split_first_chunk() else {
        // The end of a list may come without a number.
        return match message.kind {
            DONE => Ok(()),
            _ => Err(Error::invalid_data("an error of netlink is truncated").into()),
        };
    };
    let number = i32::from_ne_bytes(*number);
    if number >= 0 {
        return Ok(());
    }
    let text = (message.kind == ERROR && message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| rest.get(ECHO_LEN..))
        .flatten()
        .and_then(|rest| {
            let text = attributes(rest)
                .map_while(Result::ok)
                .find(|&(kind, _)| kind == ERROR_TEXT)?
                .1;
            let text = String::from_utf8_lossy(text);
            Some(text.trim_end_matches('\0').to_owned())
        });
    Err(Refusal {
        number: Some(number.wrapping_neg()),
        text,
        cause: Error::not_supported("the kernel refused"),
    })
}

/// drop_monitor's family, if these attributes of a family are its.
pub(super) fn family(bytes: &[u8]) -> Result<Option<Family>> {
    let (mut id, mut ours, mut group) = (None, false, None);
    for attribute in attributes(bytes) {
        match attribute? {
            (CTRL_ATTR_FAMILY_ID, value) => id = Some(u16_of(value)?),
            (CTRL_ATTR_FAMILY_NAME, value) => ours = value == FAMILY,
            (CTRL_ATTR_MCAST_GROUPS, groups) => {
                for described in attributes(groups) {
                    let (mut number, mut alerts) = (None, false);
                    for attribute in attributes(described?.1) {
                        match attribute? {
                            (CTRL_ATTR_MCAST_GRP_ID, value) => number = Some(u32_of(value)?),
                            (CTRL_ATTR_MCAST_GRP_NAME, value) => alerts = value == GROUP,
                            _ => {}
                        }
                    }
                    if alerts {
                        group = number;
                    }
                }
            }
            _ => {}
        }
    }
    match (ours, id, group) {
        (false, ..) => Ok(None),
        (true, Some(id), Some(group)) => Ok(Some(Family { id, group })),
        (true, ..) => Err(Error::invalid_data(
            "the kernel lists `NET_DM` without its number or its group `events`",
        )),
    }
}
