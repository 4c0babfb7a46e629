//! The kernel's clocks, and the way from one to the other.

use crate::backend::Time;
use rustix::time::{ClockId, clock_gettime};
use std::{
    fs,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

/// Last second that RFC 3339 has, 9999-12-31T23:59:59Z, from the epoch.
const LAST_SECOND: u64 = 253_402_300_799;

/// What the kernel takes `CLOCK_MONOTONIC` for, in nanoseconds. In a time namespace a process is told another
/// time than the kernel stamps its events with.
pub(crate) fn kernel_monotonic_ns() -> i128 {
    /// How much this process's namespace adds, nanoseconds. A process keeps its time namespace.
    static ADDED: LazyLock<i128> = LazyLock::new(|| {
        // No such file: no time namespaces (before Linux 5.6).
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        added(&offsets)
    });
    nanoseconds(ClockId::Monotonic) - *ADDED
}

/// `CLOCK_REALTIME` in nanoseconds since the epoch; 0 before it.
#[cfg(feature = "netlink")]
pub(crate) fn realtime_ns() -> u64 {
    u64::try_from(nanoseconds(ClockId::Realtime)).unwrap_or(0)
}

/// What `/proc/self/timens_offsets` says of the monotonic clock: a line `monotonic SECONDS NANOSECONDS`.
pub(crate) fn added(offsets: &str) -> i128 {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("monotonic"));
    let mut numbers = line
        .unwrap_or_default()
        .split_whitespace()
        .map(str::parse::<i64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(nanoseconds))) => {
            i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
        }
        _ => 0,
    }
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The difference between the wall clock and the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What the wall clock said when the monotonic one was at zero; before the epoch if the
    /// wall clock is set to less than the uptime.
    offset_ns: i128,
}

impl Clock {
    pub(crate) fn now() -> Self {
        Self {
            offset_ns: nanoseconds(ClockId::Realtime) - kernel_monotonic_ns(),
        }
    }

    /// Monotonic nanoseconds and wall-clock time.
    pub(crate) fn both(self, time: Time) -> (u64, SystemTime) {
        match time {
            Time::Monotonic(ns) => (ns, wall_time(self.offset_ns + i128::from(ns))),
            Time::Wall(ns) => {
                let monotonic = i128::from(ns) - self.offset_ns;
                (u64::try_from(monotonic).unwrap_or(0), wall_time(ns.into()))
            }
            Time::Both { monotonic, wall } => (monotonic, wall_time(wall.into())),
        }
    }
}

/// The wall-clock time at so many nanoseconds from the epoch.
fn wall_time(ns: i128) -> SystemTime {
    let distance = Duration::from_nanos(u64::try_from(ns.unsigned_abs()).unwrap_or(u64::MAX));
    let moved = if ns < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moved.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time that RFC 3339 can say: not before 1970, nor after 9999, for which the formatter has no
/// answer but to fail.
pub(crate) fn sayable(time: SystemTime) -> SystemTime {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    time.clamp(SystemTime::UNIX_EPOCH, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_a_time_namespace() {
        assert_eq!(
            added("monotonic           100         5\nboottime            0         0\n"),
            100_000_000_005
        );
        assert_eq!(added("monotonic -2 0\n"), -2_000_000_000);
        assert_eq!(added(""), 0);
        assert_eq!(added("monotonic x y\n"), 0);
    }

    #[test]
    fn clocks_far_apart_do_no_harm() {
        let before = Clock {
            offset_ns: -5_000_000_000,
        };
        let (ns, wall) = before.both(Time::Monotonic(1_000_000_000));
        assert_eq!(
            (ns, wall),
            (
                1_000_000_000,
                SystemTime::UNIX_EPOCH - Duration::from_secs(4)
            )
        );
        assert_eq!(sayable(wall), SystemTime::UNIX_EPOCH);
        assert_eq!(before.both(Time::Wall(7)).0, 5_000_000_007);
        let after = Clock {
            offset_ns: 5_000_000_000,
        };
        assert_eq!(after.both(Time::Wall(7)).0, 0);
        let (_, far) = after.both(Time::Monotonic(u64::MAX));
        humantime::format_rfc3339(sayable(far)).to_string();
    }
}
