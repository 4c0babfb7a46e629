//! Drops in hardware: of netdevsim, which reports some for each of its traps several times a second.
//!
//! Needs the module netdevsim loaded, and runs in a guest of its own.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{
    Backend, DropEvent, Layer, Monitor, Origin,
    backend::{NetlinkOptions, WhenRunning},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::{Duration, SystemTime},
};
use support::{
    collect, drain,
    drop_monitor::{self, Config},
    drops::{flood, is_closed_port},
    dropwatch::{self, Alert, Dropwatch},
    run,
};

const TRAPS: [(&str, &str); 4] = [
    ("blackhole_route", "l3_drops"),
    ("fid_miss", "l2_drops"),
    ("ingress_flow_action_drop", "acl_drops"),
    ("ttl_value_is_too_small", "l3_exceptions"),
];
/// What whoever made the rule gave it, for the third of them.
const COOKIE: [u8; 4] = [0xc0, 0x0c, 0x1e, 0x55];
const DEVICE: &str = "netdevsim/netdevsim10";

/// The simulated device, with its port up.
struct Device;

impl Device {
    fn new() -> Self {
        drop_monitor::reset();
        fs::write("/sys/bus/netdevsim/new_device", "10 1").expect("the module netdevsim is loaded");
        let device = Self;
        run("ip", &["link", "set", "eth0", "up"]);
        if !fs::exists("/sys/kernel/debug/netdevsim").unwrap() {
            run("mount", &["-t", "debugfs", "none", "/sys/kernel/debug"]);
        }
        let cookie: String = COOKIE.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = "/sys/kernel/debug/netdevsim/netdevsim10/trap_flow_action_cookie";
        fs::write(path, cookie + "\n").unwrap();
        for trap in ["blackhole_route", "ingress_flow_action_drop"] {
            run(
                "devlink",
                &["trap", "set", DEVICE, "trap", trap, "action", "trap"],
            );
        }
        device
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        fs::write("/sys/bus/netdevsim/del_device", "10").unwrap();
    }
}

fn monitor(options: NetlinkOptions) -> Monitor {
    let builder = Monitor::builder().backend(Backend::Netlink);
    builder.netlink(options).build().unwrap()
}

fn trap(event: &DropEvent) -> Option<(&str, Option<&str>)> {
    match &event.origin {
        Origin::Hardware { trap, group } => Some((trap, group.as_deref())),
        _ => None,
    }
}

#[test]
#[ignore = "needs netdevsim and root: cargo xtask kernels"]
fn hardware_and_software_in_one_stream() {
    let _device = Device::new();
    let mut monitor = monitor(NetlinkOptions::new().hardware(true));
    flood(10);
    let mut traps: BTreeMap<String, usize> = BTreeMap::new();
    let mut software = 0;
    while software < 10 || traps.len() < TRAPS.len() {
        let event = collect(&mut monitor, 1, |_| true).remove(0);
        if is_closed_port(&event) {
            assert_eq!((&event.origin, event.ifname), (&Origin::Software, None));
            software += 1;
            continue;
        }
        let Some((name, group)) = trap(&event) else {
            continue;
        };
        assert!(TRAPS.contains(&(name, group.unwrap())), "{name} {group:?}");
        *traps.entry(name.to_owned()).or_default() += 1;
        assert_eq!(event.ifname.as_deref(), Some("eth0"));
        assert!(event.ifindex.is_some());
        assert_eq!(
            (event.reason.is_some(), event.location.address),
            (false, None)
        );
        assert_eq!(event.packet.layer, Layer::Ethernet);
        assert_eq!((event.length, event.packet.bytes.len()), (Some(142), 128));
        assert_eq!(event.dst.unwrap().address.to_string(), "198.51.100.1");
        let cookie = (name == "ingress_flow_action_drop").then_some(&COOKIE[..]);
        assert_eq!(event.flow_action_cookie.as_deref(), cookie);
        assert!(
            event.to_string().contains(&format!("by hardware: {name}")),
            "{event}"
        );
    }
    drop(monitor);
    assert_eq!(drop_monitor::state(), (Config::DEFAULT, false));
}

#[test]
#[ignore = "needs netdevsim and root: cargo xtask kernels"]
fn hardware_in_summaries() {
    let _device = Device::new();
    let mut monitor = monitor(NetlinkOptions::new().hardware(true).summary(true));
    flood(10);
    let (mut traps, mut software) = (BTreeMap::new(), 0);
    while software < 10 || traps.len() < TRAPS.len() {
        let event = collect(&mut monitor, 1, |_| true).remove(0);
        match trap(&event) {
            Some((name, group)) => {
                assert_eq!((group, event.location.address), (None, None));
                *traps.entry(name.to_owned()).or_insert(0) += event.count;
            }
            None => software += event.count,
        }
    }
    let names: Vec<&str> = traps.keys().map(String::as_str).collect();
    assert_eq!(names, TRAPS.map(|(name, _)| name));
    drop(monitor);
    assert_eq!(drop_monitor::state(), (Config::DEFAULT, false));
}

#[test]
#[ignore = "needs netdevsim and root: cargo xtask kernels"]
fn who_has_not_asked_for_hardware_gets_none() {
    let _device = Device::new();
    let mut without = monitor(NetlinkOptions::new());
    let mut with = monitor(NetlinkOptions::new().hardware(true));
    flood(10);
    collect(&mut with, 10, |event| trap(event).is_some());
    drop(with);
    // It stays on for whoever else may have asked for it.
    flood(10);
    let events = drain(&mut without);
    assert_eq!(events.len(), 20);
    assert!(events.iter().all(is_closed_port));
    assert_eq!(drop_monitor::state(), (Config::DEFAULT, false));
}

#[test]
#[ignore = "needs netdevsim and root: cargo xtask kernels"]
fn hardware_beside_tracing_of_another_is_switched_off_again() {
    let _device = Device::new();
    drop_monitor::configure(Config {
        mode: 1,
        ..Config::DEFAULT
    });
    drop_monitor::start();
    let mut monitor = monitor(NetlinkOptions::new().hardware(true));
    collect(&mut monitor, 10, |event| trap(event).is_some());
    drop(monitor);
    assert!(drop_monitor::state().1);
    // It was off: it can be switched on.
    drop_monitor::start_hardware();
    drop_monitor::reset();
}

/// Event by event, by the nanosecond that both tell.
#[test]
#[ignore = "needs netdevsim and root: cargo xtask kernels"]
fn dropwatch_prints_the_same() {
    let _device = Device::new();
    let dropwatch = Dropwatch::start(&["set hw true"]);
    let options = NetlinkOptions::new()
        .hardware(true)
        .when_running(WhenRunning::Listen);
    let mut monitor = monitor(options);
    flood(20);
    let mut events = collect(&mut monitor, 150, |_| true);
    flood(20);
    events.extend(drain(&mut monitor));
    std::thread::sleep(Duration::from_secs(1));
    let printed = dropwatch.stop();

    let alerts: HashMap<u32, Alert<'_>> = dropwatch::alerts(&printed)
        .map(|alert| (alert.time_of_day().subsec_nanos(), alert))
        .collect();
    for event in &events {
        let since = event.wall_time.duration_since(SystemTime::UNIX_EPOCH);
        let alert = alerts.get(&since.unwrap().subsec_nanos());
        let alert = alert.unwrap_or_else(|| panic!("not printed: {event}"));
        let is = |name, value: &str| {
            assert_eq!(alert.value(name), Some(value), "{alert:?} {event:?}");
        };
        is("original length", &event.length.unwrap().to_string());
        is("protocol", &format!("{:#x}", event.protocol.unwrap().0));
        match trap(event) {
            Some((name, group)) => {
                assert_eq!(alert.place(), format!("{name} ({})", group.unwrap()));
                is("origin", "hardware");
                is("input port name", "eth0");
            }
            None => {
                let symbol = event.location.symbol.as_ref().unwrap();
                let address = event.location.address.unwrap();
                let first = format!("{}+{:#x}/", symbol.name, symbol.offset);
                assert!(alert.place().starts_with(&first), "{alert:?} {event:?}");
                let last = format!(" ({address:#x})");
                assert!(alert.place().ends_with(&last), "{alert:?} {event:?}");
                is("origin", "software");
                is(
                    "drop reason",
                    event.reason.as_ref().unwrap().name().unwrap(),
                );
            }
        }
    }
    let hardware = events.iter().filter(|event| trap(event).is_some()).count();
    assert!(hardware >= 100 && events.len() - hardware == 40);
    println!(
        "{} events of software and {hardware} of hardware are as printed",
        events.len() - hardware
    );
    drop_monitor::reset();
}
