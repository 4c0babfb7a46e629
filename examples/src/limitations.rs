//! What a monitor cannot do here.

use skbdrop::Monitor;

/// Tells it on standard error, a line each, where there is any.
pub fn tell_limitations(name: &str, monitor: &Monitor) {
    for limitation in monitor.limitations() {
        eprintln!("{name}: {limitation:#}");
    }
}
