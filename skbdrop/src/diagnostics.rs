//! What the library tells of itself, by `tracing` with the feature of that name. Few things: what it does at the start, and what
//! changes later; nothing for each event.

/// `tell!(LEVEL, FIELDS…, TEXT)`, as `tracing`'s macros of these levels. Without the feature it is nothing, and its arguments
/// are not looked at.
#[cfg(feature = "tracing")]
macro_rules! tell {
    ($level:ident, $($said:tt)+) => {
        ::tracing::$level!($($said)+)
    };
}
#[cfg(not(feature = "tracing"))]
macro_rules! tell {
    ($level:ident, $($said:tt)+) => {};
}
pub(crate) use tell;

/// Tells of losses, once a second at most: where there is one there are more.
#[cfg(feature = "tracing")]
#[derive(Debug, Default)]
pub(crate) struct Losses {
    untold: u64,
    told: Option<std::time::Instant>,
}

#[cfg(feature = "tracing")]
impl Losses {
    const INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

    /// So many drops were lost since the last call.
    pub(crate) fn note(&mut self, lost: u64) {
        self.untold += lost;
        let due = |told: std::time::Instant| told.elapsed() >= Self::INTERVAL;
        if self.untold > 0 && self.told.is_none_or(due) {
            tell!(
                warn,
                lost = self.untold,
                "drops were lost: the reader is slower than they come"
            );
            self.untold = 0;
            self.told = Some(std::time::Instant::now());
        }
    }
}
