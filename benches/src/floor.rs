//! The floor: eBPF programs on `skb:kfree_skb` that do the least of their kind. Their source is `benches/ebpf`.

use aya::{
    Btf, Ebpf, include_bytes_aligned,
    maps::{MapData, RingBuf},
    programs::BtfTracePoint,
};
use std::str::FromStr;

/// Built by `cargo xtask ebpf`; `BUILD.txt` beside it says from what.
static OBJECT: &[u8] = include_bytes_aligned!("../floor/floor.bpfel.o");

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Empty,
    /// 64 bytes into a ring buffer, and wakes nobody.
    Ring,
    /// Counts in a per-CPU hash by place and reason.
    Hash,
}

impl Kind {
    /// `empty`, `ring` or `hash`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Ring => "ring",
            Self::Hash => "hash",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Empty, Self::Ring, Self::Hash]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("no floor `{name}` (there are empty, ring and hash)"))
    }
}

/// One of the programs, attached as long as the value lives.
#[expect(missing_debug_implementations, reason = "aya's ring buffer has none")]
pub struct Floor {
    ring: RingBuf<MapData>,
    /// Holds the program on the tracepoint.
    _ebpf: Ebpf,
}

impl Floor {
    /// Loads and attaches it.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn attach(kind: Kind) -> Result<Self, aya::EbpfError> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        let name = format!("floor_{}", kind.name());
        let program = ebpf.program_mut(&name).expect("the object has it");
        let program: &mut BtfTracePoint = program.try_into()?;
        program.load("kfree_skb", &Btf::from_sys_fs()?)?;
        program.attach()?;
        // Mapped once: to do so at each look would cost more than the records.
        let ring = ebpf.take_map("FLOOR_RING").expect("the object has it");
        Ok(Self {
            ring: ring.try_into()?,
            _ebpf: ebpf,
        })
    }

    /// Empties the ring buffer and says how many records were in it.
    pub fn drain(&mut self) -> u64 {
        let mut records = 0;
        while self.ring.next().is_some() {
            records += 1;
        }
        records
    }
}
