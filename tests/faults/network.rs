//! Namespaces and interfaces that go while events of theirs are queued.

use crate::{Watched, each};
use skbdrop::DropEvent;
use support::{
    account::Count,
    drain,
    drops::CLOSED,
    frames::{self, Way},
    is_flood,
    netns::NetNs,
};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_goes_while_its_events_are_queued() {
    each(|builder| {
        let mut watched = Watched::new(builder);
        watched.burst();
        let inode = watched.netns.inode;
        drop(watched.netns);
        let mut count = Count::default();
        for event in watched.monitor.next_batch(watched.generated).unwrap() {
            count.add(&event, inode);
            // Nobody named it, and another that is there by now is not it.
            let netns = event.netns.as_ref().filter(|netns| netns.inode == inode);
            assert!(netns.is_none_or(|netns| netns.name.is_none()), "{event:?}");
        }
        let lost = count.settle(watched.monitor, inode, watched.generated)?;
        assert_eq!(lost, 0, "the buffer has room for all");
        Some(())
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_is_renamed_and_goes_while_its_events_are_queued() {
    /// Frames that it drops.
    const FRAMES: usize = 50;
    each(|builder| {
        // The monitor runs in the interface's own namespace: where it looks names up by itself.
        let netns = NetNs::new();
        let inode = netns.inode;
        netns.command("ip link add first type veth peer name sends");
        netns.command("ip link set first addrgenmode none up");
        netns.command("ip link set sends addrgenmode none up");
        netns.command("ip addr add 10.9.0.1/24 dev first");
        let index = netns.run(|| index_of("first"));
        let mac = [2, 0, 0, 0, 9, 1];
        netns.command("ip link set first address 02:00:00:00:09:01");
        let mut monitor = netns.run(move || {
            let monitor = builder.build().unwrap();
            let way = Way {
                mac: ([2, 0, 0, 0, 9, 2], mac),
                ip: ([10, 9, 0, 2], [10, 9, 0, 1]),
            };
            for _ in 0..FRAMES {
                frames::send("sends", &frames::udp(way, CLOSED, 64, b"queued"));
            }
            monitor
        });
        netns.command("ip link set first name second");
        netns.command("ip link del second");
        // Another takes its number.
        netns.command(&format!(
            "ip link add third index {index} type veth peer name fourth"
        ));
        let (events, stats) = netns.run(move || (drain(&mut monitor), monitor.stats().unwrap()));
        let of_it = |event: &&DropEvent| is_flood(event, inode);
        let of_it: Vec<_> = events.iter().filter(of_it).collect();
        // The machine dropped others, which cannot be told from these in the count.
        if stats.lost > 0 || of_it.len() > FRAMES {
            return None;
        }
        assert_eq!(of_it.len(), FRAMES);
        for event in of_it {
            assert!(
                event.ifname.as_deref().is_none_or(|name| name == "first"),
                "{event:?}"
            );
            assert!(event.ifindex.is_none_or(|it| it == index), "{event:?}");
        }
        Some(())
    });
}

/// The number of an interface of the calling thread's namespace.
fn index_of(name: &str) -> u32 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rustix::net::netdevice::name_to_index(socket, name).unwrap()
}
