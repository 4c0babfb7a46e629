//! By what monitors of this crate know a configuration of theirs.

use super::config::{Config, Mode};

/// What the kernel begins with when the module is loaded.
const KERNEL_DEFAULT: Config = Config {
    mode: Mode::Summary,
    trunc_len: 0,
    queue_len: 1000,
};

/// What a monitor of this crate leaves in the configuration: in the queue length, of which only the
/// magnitude matters to the kernel, and which nobody gives in such numbers.
///
/// It says whose configuration it is, not who started tracing with it. A length that another program
/// chose, and that happens to look so, would be taken for a mark; all that follows is that such tracing
/// is stopped when nobody listens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Before, it was in packet mode.
    packets: bool,
    /// Before, it had lengths that were not the kernel's own: only the process that found them
    /// knows them.
    pub(super) odd: bool,
    /// Before, it was on.
    pub(super) was_running: bool,
}

impl Mark {
    /// The queue length is this and the mark's bits, and a multiple of the modulus.
    const SIGNATURE: u32 = 0x1b0;
    const MODULUS: u32 = 0x400;
    const PACKETS: u32 = 1;
    const ODD: u32 = 2;
    const WAS_RUNNING: u32 = 4;
    const BITS: u32 = 0xf;

    /// The mark on this configuration, if it is ours.
    pub(super) fn of(config: Config) -> Option<Self> {
        let low = config.queue_len % Self::MODULUS;
        (low & !Self::BITS == Self::SIGNATURE).then_some(Self {
            packets: low & Self::PACKETS != 0,
            odd: low & Self::ODD != 0,
            was_running: low & Self::WAS_RUNNING != 0,
        })
    }

    /// The mark of who replaces this configuration.
    pub(super) fn over(before: Config, was_running: bool) -> Self {
        Self {
            packets: before.mode == Mode::Packet,
            odd: (before.trunc_len, before.queue_len)
                != (KERNEL_DEFAULT.trunc_len, KERNEL_DEFAULT.queue_len),
            was_running,
        }
    }

    /// The smallest marked queue length that is not below this one.
    pub(super) fn on(self, queue_len: u32) -> u32 {
        let bit = |set, bit| if set { bit } else { 0 };
        let low = Self::SIGNATURE
            | bit(self.packets, Self::PACKETS)
            | bit(self.odd, Self::ODD)
            | bit(self.was_running, Self::WAS_RUNNING);
        let above = low.wrapping_sub(queue_len) % Self::MODULUS;
        queue_len.saturating_add(above)
    }

    /// The configuration that was before. Odd lengths that this process has not found itself are nobody's
    /// to know: they become the kernel's own.
    pub(super) fn before(self, known: Option<Config>) -> Config {
        let mode = if self.packets {
            Mode::Packet
        } else {
            Mode::Summary
        };
        let lengths = known.filter(|_| self.odd).unwrap_or(KERNEL_DEFAULT);
        Config { mode, ..lengths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mode: Mode, trunc_len: u32, queue_len: u32) -> Config {
        Config {
            mode,
            trunc_len,
            queue_len,
        }
    }

    #[test]
    fn a_mark_reads_back_and_tells_what_was_before() {
        let befores = [
            KERNEL_DEFAULT,
            config(Mode::Packet, 0, 1000),
            config(Mode::Packet, 64, 50),
            config(Mode::Summary, 0, 4096),
        ];
        for before in befores {
            for was_running in [false, true] {
                let mark = Mark::over(before, was_running);
                for wanted in [1, 431, 432, 440, 447, 448, 1000, 1024, 1 << 20] {
                    let queue_len = mark.on(wanted);
                    assert!((wanted..wanted + 1024).contains(&queue_len), "{queue_len}");
                    let ours = config(Mode::Packet, 128, queue_len);
                    assert_eq!(Mark::of(ours), Some(mark));
                }
                assert_eq!(mark.before(Some(before)), before);
                assert_eq!(mark.was_running, was_running);
            }
        }
        let odd = Mark::over(config(Mode::Packet, 64, 50), false);
        assert_eq!(odd.before(None), config(Mode::Packet, 0, 1000));
    }

    #[test]
    fn what_people_choose_is_no_mark() {
        let tens = (1..=7).map(|exponent| 10u32.pow(exponent));
        let halves = tens
            .clone()
            .flat_map(|ten| (1..=10).map(move |n| n * ten / 2));
        let powers = (0..31).map(|exponent| 1 << exponent);
        for queue_len in tens.chain(halves).chain(powers).chain([0, u32::MAX]) {
            let theirs = config(Mode::Packet, 0, queue_len);
            assert_eq!(Mark::of(theirs), None, "{queue_len}");
        }
    }
}
