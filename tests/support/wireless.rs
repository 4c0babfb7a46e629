//! Two radios without hardware, of `mac80211_hwsim`, and frames for one to drop that the other sends.

use crate::run;
use std::fs;

/// The frequency of both, in MHz: the first channel, which every regulatory domain allows.
const FREQUENCY: &str = "2412";
/// Keeps the receiver's radio on.
const AWAKE: &str = "awake";
/// Of the sender, and of a network that is not there.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0x77, 1];

/// What wireless frames have in front when they are injected: `struct ieee80211_radiotap_header` without
/// any field.
const RADIOTAP: [u8; 8] = [0, 0, 8, 0, 0, 0, 0, 0];

/// The first two bytes of a frame: type, subtype and flags.
const ACTION: [u8; 2] = [0xd0, 0x00];
const DATA_FROM_DS: [u8; 2] = [0x08, 0x02];
/// Vendor specific: an action that only a known station may send, and that gets as far as to where that
/// is looked at.
const CATEGORY: u8 = 127;

/// A sender of frames of any kind, and a station that is in no network.
pub struct Air {
    station: [u8; 6],
}

impl Air {
    /// Takes over `wlan0` and `wlan1`, which `mac80211_hwsim` makes as it is loaded.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the machine: not for a default"
    )]
    pub fn new() -> Self {
        run("iw", &["dev", "wlan0", "set", "type", "monitor"]);
        // A station in no network is idle, and its radio with it. A monitor beside it keeps that awake.
        run(
            "iw",
            &["dev", "wlan1", "interface", "add", AWAKE, "type", "monitor"],
        );
        for name in ["wlan0", AWAKE] {
            run("ip", &["link", "set", name, "up"]);
            // Only while nothing but monitors is up.
            run("iw", &["dev", name, "set", "freq", FREQUENCY]);
        }
        run("ip", &["link", "set", "wlan1", "up"]);
        let text = fs::read_to_string("/sys/class/net/wlan1/address").expect("wlan1");
        let mut station = [0; 6];
        for (byte, digits) in station.iter_mut().zip(text.trim().split(':')) {
            *byte = u8::from_str_radix(digits, 16).expect("two digits");
        }
        Self { station }
    }

    /// An action frame that ends before it says which action.
    pub fn send_short_action(&self) {
        self.send(ACTION, &[]);
    }

    /// An action frame of a station that the receiver does not know.
    pub fn send_strange_action(&self) {
        self.send(ACTION, &[CATEGORY, 0, 0, 0]);
    }

    /// Data of a network that the receiver is not in.
    pub fn send_strange_data(&self) {
        // A header of LLC and SNAP for IPv4.
        self.send(
            DATA_FROM_DS,
            &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45, 0, 0, 20],
        );
    }

    fn send(&self, kind: [u8; 2], body: &[u8]) {
        let mut frame = RADIOTAP.to_vec();
        frame.extend(kind);
        frame.extend([0, 0]);
        frame.extend(self.station);
        frame.extend([STRANGER, STRANGER].concat());
        frame.extend([0, 0]);
        frame.extend(body);
        crate::frames::send("wlan0", &frame);
    }
}
