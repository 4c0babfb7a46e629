//! The interfaces of our own network namespace, by name.

use super::pattern::Pattern;
use crate::{Error, ErrorKind};

/// The interfaces of the namespace that the calling thread is in, with their counters. The kernel allows no colon in a
/// name, and shows one behind it.
const OWN: &str = "/proc/thread-self/net/dev";

/// Why no drop in our own namespace has an interface of this name, and what may have been meant. `None` where it is there, or
/// where nothing can be said.
pub(super) fn absence(name: &str) -> Option<Error> {
    absence_from(name, &std::fs::read_to_string(OWN).ok()?)
}

fn absence_from(name: &str, table: &str) -> Option<Error> {
    let known = || {
        let lines = table.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, _)| name.trim_start())
    };
    if known().any(|known| known == name) {
        return None;
    }
    let near = Pattern::new(name).near_misses(known());
    Some(Error::new(
        ErrorKind::NotFound,
        format!(
            "no interface of this network namespace has the name `{name}` that the filter asks for; another's may{near}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 2948       30    0    0    0     0          0         0     2948      30    0    0    0     0       0          0
enp1s0:9000000     30    0    0    0     0          0         0        0       0    0    0    0     0       0          0
";

    #[test]
    fn a_name_that_is_there_is_no_absence() {
        assert!(absence_from("lo", TABLE).is_none());
        assert!(absence_from("enp1s0", TABLE).is_none());
        assert!(absence("lo").is_none());
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_what_was_meant() {
        let text = |name| absence_from(name, TABLE).expect(name).to_string();
        assert_eq!(
            text("enp0s1"),
            "no interface of this network namespace has the name `enp0s1` that the filter asks for; another's may; \
             did you mean `enp1s0`?"
        );
        assert!(
            text("face ").ends_with("another's may"),
            "{}",
            text("face ")
        );
        assert_eq!(
            absence("no such interface").expect("none").kind(),
            ErrorKind::NotFound
        );
    }
}
