//! Whether this backend is possible here.

use super::{control::Control, members::Members, socket, switch};
use crate::Result;

/// Sees whether a monitor could be opened here, and changes nothing.
pub(in crate::backend) fn probe() -> Result<()> {
    let control = Control::open()?;
    let group = control.family().group;
    let running = control.is_running();
    running.map_err(|e| e.when("cannot configure `drop_monitor`"))?;
    let events = socket::open()?;
    let joined = socket::join(&events, group);
    drop(events);
    // Another's monitor may have left meanwhile, and taken us for one that stays.
    switch::settle_all(&control, &Members::open(group)?);
    joined
}
