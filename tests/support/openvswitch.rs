//! A datapath of openvswitch that drops what one flow matches, driven over the module's own netlink.

use crate::{
    frames,
    genl::{family, push, request},
    netns::NetNs,
    run,
};
use skbdrop::DropEvent;

/// The kernel's numbers (`include/uapi/linux/openvswitch.h`): commands, and attributes of datapaths, ports and
/// flows, in that order.
const NEW: u8 = 1;
const DEL: u8 = 2;
const DP_NAME: u16 = 1;
const DP_UPCALL_PID: u16 = 2;
const PORT_TYPE: u16 = 2;
const PORT_NAME: u16 = 3;
const PORT_UPCALL_PID: u16 = 5;
const PORT_TYPE_NETDEV: u32 = 1;
const FLOW_KEY: u16 = 1;
const FLOW_ACTIONS: u16 = 2;
const KEY_IN_PORT: u16 = 3;
const KEY_ETHERNET: u16 = 4;
const KEY_ETHERTYPE: u16 = 6;
/// Set on attributes that hold others.
const NESTED: u16 = 1 << 15;
/// Versions of the families.
const DATAPATH_VERSION: u8 = 2;
const VERSION: u8 = 1;
/// The first port after the datapath's own.
const FIRST_PORT: u32 = 1;

/// The EtherType of the frames that a [`Lane`] drops: one that is free for experiments.
const ETHERTYPE: u16 = 0x88b5;
/// Their addresses.
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The lane's ends: the sender's, and the datapath's port.
const OUT: &str = "out";
const IN: &str = "ovs-in";

/// A sender, and beyond a veth a datapath in our own namespace that drops what it sends. It is taken down
/// at the end.
pub struct Lane {
    sender: NetNs,
    datapath: Option<Datapath>,
}

impl Lane {
    /// Needs the module, and root.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the machine: not for a default"
    )]
    pub fn new() -> Self {
        let sender = NetNs::new();
        let netns = sender.tid.to_string();
        let pair = ["type", "veth", "peer", "name", OUT, "netns", &netns];
        run("ip", &[&["link", "add", IN], pair.as_slice()].concat());
        run("ip", &["link", "set", IN, "up"]);
        sender.command(&format!("ip link set {OUT} up"));
        let datapath = Datapath::dropping("skbdrop-dp", IN, SOURCE, DESTINATION, ETHERTYPE);
        Self {
            sender,
            datapath: Some(datapath),
        }
    }

    /// Sends frames, each of which is dropped as one for which there is nothing to do.
    pub fn send(&self, count: usize) {
        self.sender.run(move || {
            let mut frame = [DESTINATION, SOURCE].concat();
            frame.extend(ETHERTYPE.to_be_bytes());
            frame.resize(60, 0);
            for _ in 0..count {
                frames::send(OUT, &frame);
            }
        });
    }

    /// Whether an event is of such a frame, by what every backend can tell.
    #[must_use]
    pub fn dropped(event: &DropEvent) -> bool {
        event
            .protocol
            .is_some_and(|protocol| protocol.0 == ETHERTYPE)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.datapath = None;
        if !std::thread::panicking() {
            run("ip", &["link", "del", IN]);
        }
    }
}

/// A datapath, which is removed at the end.
struct Datapath {
    name: &'static str,
    index: u32,
}

impl Datapath {
    /// Makes one with the interface `port`, and a flow that matches frames from there with these
    /// addresses and EtherType and has no actions: what drops.
    fn dropping(
        name: &'static str,
        port: &str,
        source: [u8; 6],
        destination: [u8; 6],
        ethertype: u16,
    ) -> Self {
        let mut attributes = header(0);
        push(&mut attributes, DP_NAME, terminated(name).as_bytes());
        push(&mut attributes, DP_UPCALL_PID, &0u32.to_ne_bytes());
        let datapath = family("ovs_datapath", "openvswitch");
        request(datapath, NEW, DATAPATH_VERSION, &attributes).expect("a new datapath");
        let index = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))
            .expect("its own port");
        let this = Self {
            name,
            index: index.trim().parse().expect("a number"),
        };

        let mut attributes = header(this.index);
        push(&mut attributes, PORT_TYPE, &PORT_TYPE_NETDEV.to_ne_bytes());
        push(&mut attributes, PORT_NAME, terminated(port).as_bytes());
        push(&mut attributes, PORT_UPCALL_PID, &0u32.to_ne_bytes());
        request(
            family("ovs_vport", "openvswitch"),
            NEW,
            VERSION,
            &attributes,
        )
        .expect("a new port");

        let mut key = Vec::new();
        push(&mut key, KEY_IN_PORT, &FIRST_PORT.to_ne_bytes());
        push(&mut key, KEY_ETHERNET, &[source, destination].concat());
        push(&mut key, KEY_ETHERTYPE, &ethertype.to_be_bytes());
        let mut attributes = header(this.index);
        push(&mut attributes, FLOW_KEY | NESTED, &key);
        push(&mut attributes, FLOW_ACTIONS | NESTED, &[]);
        request(family("ovs_flow", "openvswitch"), NEW, VERSION, &attributes).expect("a new flow");
        this
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        let mut attributes = header(0);
        push(&mut attributes, DP_NAME, terminated(self.name).as_bytes());
        let removed = request(
            family("ovs_datapath", "openvswitch"),
            DEL,
            DATAPATH_VERSION,
            &attributes,
        );
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "datapath {}: {removed:?}",
            self.index
        );
    }
}

/// What comes before the attributes of every request: the datapath's number.
fn header(index: u32) -> Vec<u8> {
    index.to_ne_bytes().to_vec()
}

fn terminated(name: &str) -> String {
    format!("{name}\0")
}
