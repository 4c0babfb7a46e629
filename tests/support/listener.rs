//! A monitor in a process of its own, which tests can kill: on the backend that the first argument names, by default
//! netlink.
//!
//! It prints `ready` once it is built. For each line on its standard input, a number, it takes as many
//! events of datagrams to the closed port and prints `took`. At the end of its input it ends in good order.

use skbdrop::{Backend, Monitor, backend::NetlinkOptions};
use std::io::stdin;
use support::drops::is_closed_port;

fn main() {
    let options = NetlinkOptions::new();
    let backend = std::env::args().nth(1);
    let backend = backend.map_or(Backend::Netlink, |name| name.parse().expect("a backend"));
    let builder = Monitor::builder().backend(backend).netlink(options);
    let mut monitor = builder.build().unwrap_or_else(|e| panic!("{e:#}"));
    println!("ready");
    for line in stdin().lines() {
        let line = line.expect("standard input can be read");
        let count = line.parse().expect("a number");
        support::collect(&mut monitor, count, is_closed_port);
        println!("took");
    }
}
