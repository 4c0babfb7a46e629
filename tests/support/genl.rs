//! Generic netlink by hand: requests and attributes, in the byte order of the machine.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The number of a family, which stays for as long as its module is loaded.
#[must_use]
pub fn family(name: &str, module: &str) -> u16 {
    let mut attributes = Vec::new();
    push(&mut attributes, 2, format!("{name}\0").as_bytes());
    let reply = request(16, 3, 2, &attributes);
    let reply =
        reply.unwrap_or_else(|e| panic!("no family {name} (error {e}): is {module} loaded?"));
    let id = attribute(&reply, 1).expect("the family's number");
    u16::from_ne_bytes([id[0], id[1]])
}

/// A request: what follows the header of the reply, or the error's number.
pub fn request(family: u16, command: u8, version: u8, attributes: &[u8]) -> Result<Vec<u8>, i32> {
    let mut message = Vec::new();
    message.extend((20 + attributes.len() as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(5u16.to_ne_bytes()); // a request that wants to be acknowledged
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([command, version, 0, 0]);
    message.extend(attributes);
    let socket = Socket::new(NETLINK_GENERIC).expect("a netlink socket");
    let sent = socket.send_to(&message, &SocketAddr::new(0, 0), 0);
    sent.expect("the kernel takes the request");
    let mut attributes = Vec::new();
    loop {
        let mut reply = Vec::with_capacity(1 << 16);
        socket.recv_from(&mut reply, 0).expect("an answer");
        if reply[4..6] != NLMSG_ERROR.to_ne_bytes() {
            attributes = reply[20..].to_vec();
            continue;
        }
        let error = i32::from_ne_bytes(reply[16..20].try_into().expect("four bytes"));
        return if error == 0 {
            Ok(attributes)
        } else {
            Err(-error)
        };
    }
}

/// Appends an attribute.
pub fn push(attributes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    attributes.extend((4 + value.len() as u16).to_ne_bytes());
    attributes.extend(kind.to_ne_bytes());
    attributes.extend(value);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of this kind.
#[must_use]
pub fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let number = |at: usize| u16::from_ne_bytes([attributes[at], attributes[at + 1]]);
        let (len, kind) = (usize::from(number(0)), number(2) & 0x3fff);
        if kind == wanted {
            return Some(&attributes[4..len]);
        }
        attributes = attributes
            .get(len.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

/// An answer that tells no more than whether it went well.
const NLMSG_ERROR: u16 = 2;
