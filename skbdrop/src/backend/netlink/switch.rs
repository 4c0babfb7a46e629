//! Manners: drop_monitor has one switch and one configuration for the whole system, and no owner.
//!
//! The kernel ends everybody's stream at anybody's STOP, leaves tracing on when the program that started
//! it is gone, and refuses to change the configuration meanwhile. So that nobody's stream is cut and
//! nothing stays behind:
//!
//! - Who starts it leaves a [mark](Mark) in the configuration, which everybody can read. It also says what to
//!   put back, as far as it has room, and outlives the program. For the rest see [`heritage`].
//! - Whoever leaves last stops what is marked, whoever started it: last is who finds no other member in
//!   the group. To leave is to leave the group first and to look then, so two that leave at once cannot
//!   each take the other for one who stays.
//! - What is not marked is not ours: it is listened to and not stopped.
//! - What is marked and nobody listens to was left by a program that was killed: it is started anew.
//! - As another may stop it at any time and the kernel does not tell, it is looked at from time to time.

use super::{
    config::{Config, Mode, Traced},
    control::Control,
    heritage::{self, Published},
    mark::Mark,
    members::Members,
    options::WhenRunning,
    refusal::Refusal,
};
use crate::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard};

/// How often to configure anew what others change at the same moment.
const ATTEMPTS: usize = 3;

/// What this process knows beyond what the mark says. Held for each change of the switch, so that
/// monitors of one process do not cross.
static PROCESS: Mutex<Process> = Mutex::new(Process {
    monitors: 0,
    before: None,
    published: None,
    added: Traced {
        software: false,
        hardware: false,
    },
});

#[derive(Debug)]
struct Process {
    /// Monitors that have not left yet.
    monitors: usize,
    /// The configuration that a monitor of this process found and replaced, or was told of.
    before: Option<Config>,
    /// Tells it to others, where the mark does not.
    published: Option<Published>,
    /// What was switched on beside tracing of another program.
    added: Traced,
}

/// What a monitor wants of drop_monitor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) mode: Mode,
    pub(super) trunc_len: u32,
    pub(super) queue_len: u32,
    pub(super) hardware: bool,
    pub(super) when_running: WhenRunning,
}

/// A monitor's part in it.
#[derive(Debug)]
pub(super) struct Switch {
    control: Control,
    members: Members,
    wanted: Wanted,
    /// The monitor counts among those of this process.
    entered: bool,
}

impl Switch {
    pub(super) fn new(control: Control, members: Members, wanted: Wanted) -> Self {
        Self {
            control,
            members,
            wanted,
            entered: false,
        }
    }

    /// Has drop_monitor on. The monitor's socket is in the group already, so that who leaves now leaves
    /// it on. To be left also if this fails.
    pub(super) fn enter(&mut self) -> Result<()> {
        let mut process = lock();
        self.turn_on(&mut process)?;
        process.monitors += 1;
        self.entered = true;
        Ok(())
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    /// Has it on again if another has stopped it. `false` if it cannot be seen any more: whether
    /// it is on takes the privilege to change it.
    pub(super) fn watch(&self) -> Result<bool> {
        let mut process = lock();
        match self.control.is_running() {
            Ok(true) => Ok(true),
            Ok(false) => {
                let config = self.control.config()?;
                let again = self.start(&mut process, config, false, true);
                again.map(|()| true).map_err(|e| {
                    Error::new(
                        e.kind(),
                        "`drop_monitor` was stopped by another program and cannot be started again",
                    )
                    .caused_by(e)
                })
            }
            Err(refusal) if refusal.number == Some(libc::EPERM) => Ok(false),
            Err(refusal) => Err(refusal.when("cannot see whether `drop_monitor` is on")),
        }
    }

    /// Gives up the part in it. The monitor's socket has left the group already.
    pub(super) fn leave(&mut self) {
        let mut process = lock();
        process.monitors -= usize::from(std::mem::take(&mut self.entered));
        if process.monitors == 0 && process.added.any() {
            // Without the privilege nothing can be done about it, here and below.
            let _ = self.control.stop(process.added);
            process.added = Traced::default();
        }
        settle(&self.control, &self.members, &mut process);
        if process.monitors == 0 {
            // It is for others to settle, who know as much. What comes after is not known here.
            (process.before, process.published) = (None, None);
        }
    }

    fn turn_on(&self, process: &mut Process) -> Result<()> {
        let running = self.control.is_running();
        let running = running.map_err(|e| e.when("cannot configure `drop_monitor`"))?;
        let config = self.control.config()?;
        let mark = Mark::of(config);
        if let (Some(Mark { odd: true, .. }), None) = (mark, process.before) {
            process.before = heritage::told();
            process.published = process.before.and_then(heritage::publish);
        }
        let to_share = self.wanted.when_running != WhenRunning::Fail;
        if !running {
            return self.start(process, config, false, to_share);
        }
        // This monitor's own socket is one of them. Where they cannot be counted nobody is sent away.
        let alone = self.members.count().is_ok_and(|members| members <= 1);
        match self.wanted.when_running {
            _ if mark.is_some() && alone => {}
            WhenRunning::TakeOver => {}
            WhenRunning::Listen => return self.join_in(process, mark.is_some()).map(drop),
            WhenRunning::Fail => return Err(running_already()),
        }
        let stopped = self.control.stop(Traced::ALL);
        stopped.map_err(|e| e.when("cannot stop `drop_monitor`"))?;
        self.start(process, config, mark.is_none(), to_share)
    }

    /// Configures and starts what is off and has this configuration. `was_running`: it was on
    /// until now, by another program. `to_share`: if another is quicker, that is as well.
    fn start(
        &self,
        process: &mut Process,
        found: Config,
        was_running: bool,
        to_share: bool,
    ) -> Result<()> {
        let mark = Mark::of(found).unwrap_or_else(|| {
            let mark = Mark::over(found, was_running);
            process.before = Some(found);
            process.published = mark.odd.then(|| heritage::publish(found)).flatten();
            mark
        });
        process.added = Traced::default();
        let config = Config {
            mode: self.wanted.mode,
            trunc_len: self.wanted.trunc_len,
            queue_len: mark.on(self.wanted.queue_len),
        };
        for _ in 0..ATTEMPTS {
            let on_already = match self.control.set_config(config) {
                Ok(()) => false,
                Err(e) if e.number == Some(libc::EBUSY) => true,
                Err(e) => return Err(e.when("cannot configure `drop_monitor`")),
            };
            if on_already && !to_share {
                return Err(running_already());
            }
            let started = self.join_in(process, !on_already)?;
            // Nobody can change it while it is on, but before that somebody could.
            let now = self.control.config()?;
            if now == config || !started {
                return Ok(());
            }
            let stopped = self.control.stop(Traced::ALL);
            stopped.map_err(|e| e.when("cannot stop `drop_monitor`"))?;
        }
        Err(Error::new(
            ErrorKind::Other,
            "cannot configure `drop_monitor`: others change its configuration at the same time",
        ))
    }

    /// Switches on what of the wanted is not on yet; says whether software was not. What is marked is
    /// stopped as a whole; what is added to another's is noted.
    fn join_in(&self, process: &mut Process, marked: bool) -> Result<bool> {
        let software = self.switch_on(Traced::SOFTWARE);
        let software = software.map_err(|e| e.when("cannot start `drop_monitor`"))?;
        process.added.software |= software && !marked;
        if self.wanted.hardware {
            let hardware = self.switch_on(Traced::HARDWARE);
            let hardware =
                hardware.map_err(|e| e.when("cannot start `drop_monitor` for hardware"))?;
            process.added.hardware |= hardware && !marked;
        }
        Ok(software)
    }

    /// Whether it was off until now.
    fn switch_on(&self, traced: Traced) -> Result<bool, Refusal> {
        match self.control.start(traced) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.number == Some(libc::EAGAIN) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Stops what a monitor has left on, if nobody listens to it any more.
pub(super) fn settle_all(control: &Control, members: &Members) {
    settle(control, members, &mut lock());
}

/// Stops what is marked and puts back what was before, if nobody listens any more. What fails
/// here fails for want of a privilege, and the next monitor does it.
fn settle(control: &Control, members: &Members, process: &mut Process) {
    let Ok(config) = control.config() else { return };
    let Some(mark) = Mark::of(config) else { return };
    let listened_to = || members.count().is_ok_and(|members| members > 0);
    let put_back = || {
        control.stop(Traced::ALL)?;
        if listened_to() {
            // Another came in this very moment, and took it for on.
            control.start(Traced::SOFTWARE)?;
            return Ok(false);
        }
        control.set_config(mark.before(process.before))?;
        if mark.was_running {
            control.start(Traced::SOFTWARE)?;
        }
        Ok::<bool, Refusal>(true)
    };
    if !listened_to() && put_back().unwrap_or(false) {
        (process.before, process.published) = (None, None);
    }
}

fn lock() -> MutexGuard<'static, Process> {
    // What it guards are plain values, whole at any time.
    PROCESS.lock().unwrap_or_else(|e| e.into_inner())
}

fn running_already() -> Error {
    Error::new(
        ErrorKind::Other,
        "`drop_monitor` is on already, by another program or monitor (stop that, or choose \
         WhenRunning::Listen or WhenRunning::TakeOver)",
    )
}
