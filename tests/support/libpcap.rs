//! libpcap's own verdict: an expression compiled by tcpdump, and the classic BPF that comes of it interpreted here, as
//! `bpf_filter` of libpcap does it.

use std::{io::Write as _, process::Command};

/// A link type, by its number in a pcap file (`LINKTYPE_ETHERNET`, `LINKTYPE_RAW`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ethernet = 1,
    /// IPv4 or IPv6 without a link-layer header.
    Raw = 101,
}

/// A compiled expression: code, two distances to jump, and a constant for each instruction.
#[derive(Clone, Debug)]
pub struct Classic(Vec<(u16, u8, u8, u32)>);

impl Classic {
    /// Compiles by `tcpdump -ddd`; libpcap's words if it refuses. Without the optimiser it looks at the packet in the order
    /// in which the expression is written.
    pub fn compile(expression: &str, link: LinkType, optimise: bool) -> Result<Self, String> {
        let path =
            std::env::temp_dir().join(format!("skbdrop-{}-{link:?}.pcap", std::process::id()));
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&0xa1b2_c3d4_u32.to_ne_bytes()).unwrap();
        file.write_all(&[2u16.to_ne_bytes(), 4u16.to_ne_bytes()].concat())
            .unwrap();
        for word in [0, 0, 65_535, link as u32] {
            file.write_all(&word.to_ne_bytes()).unwrap();
        }
        drop(file);
        let mut command = Command::new("tcpdump");
        if !optimise {
            command.arg("-O");
        }
        let output = command.arg("-dddnr").arg(&path).arg(expression).output();
        std::fs::remove_file(&path).unwrap();
        let output = output.expect("tcpdump is installed: cargo xtask test");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().skip(1).map(|line| {
            let numbers: Vec<u32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
            (
                numbers[0] as u16,
                numbers[1] as u8,
                numbers[2] as u8,
                numbers[3],
            )
        });
        Ok(Self(lines.collect()))
    }

    /// Whether it accepts a packet of which these bytes are there.
    pub fn accepts(&self, bytes: &[u8], length: u32) -> bool {
        self.run(bytes, length).unwrap_or(false)
    }

    /// `None` where the packet ends before what is looked at.
    fn run(&self, bytes: &[u8], length: u32) -> Option<bool> {
        let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; 16]);
        let load = |at: u64, size: usize| {
            let at = usize::try_from(at).ok()?;
            let bytes = bytes.get(at..at.checked_add(size)?)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte)),
            )
        };
        let mut at = 0;
        loop {
            let (code, yes, no, k) = self.0[at];
            at += 1;
            let size = match code & 0x18 {
                0x00 => 4,
                0x08 => 2,
                _ => 1,
            };
            let operand = if code & 0x08 == 0 { k } else { x };
            match code {
                0x20 | 0x28 | 0x30 => a = load(k.into(), size)?,
                0x40 | 0x48 | 0x50 => a = load(u64::from(x) + u64::from(k), size)?,
                0x80 => a = length,
                0x00 => a = k,
                0x60 => a = memory[k as usize],
                0x01 => x = k,
                0x61 => x = memory[k as usize],
                0x81 => x = length,
                0xb1 => x = (load(k.into(), 1)? & 0xf) << 2,
                0x02 => memory[k as usize] = a,
                0x03 => memory[k as usize] = x,
                0x04 | 0x0c => a = a.wrapping_add(operand),
                0x14 | 0x1c => a = a.wrapping_sub(operand),
                0x24 | 0x2c => a = a.wrapping_mul(operand),
                0x34 | 0x3c => a = a.checked_div(operand)?,
                0x44 | 0x4c => a |= operand,
                0x54 | 0x5c => a &= operand,
                0x64 | 0x6c => a = a.checked_shl(operand).unwrap_or(0),
                0x74 | 0x7c => a = a.checked_shr(operand).unwrap_or(0),
                0x84 => a = a.wrapping_neg(),
                0x94 | 0x9c => a = a.checked_rem(operand)?,
                0xa4 | 0xac => a ^= operand,
                0x05 => at += k as usize,
                0x15 | 0x1d => at += usize::from(if a == operand { yes } else { no }),
                0x25 | 0x2d => at += usize::from(if a > operand { yes } else { no }),
                0x35 | 0x3d => at += usize::from(if a >= operand { yes } else { no }),
                0x45 | 0x4d => at += usize::from(if a & operand != 0 { yes } else { no }),
                0x06 => return Some(k != 0),
                0x16 => return Some(a != 0),
                0x07 => x = a,
                0x87 => a = x,
                other => panic!("no instruction {other:#x}"),
            }
        }
    }
}
