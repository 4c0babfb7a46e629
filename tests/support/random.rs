//! Random numbers that are the same in each run, and packets made of them.

/// A generator with a seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Two of the same seed give the same.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 16) as usize % end
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Ports that packets have and filters ask for.
pub const PORTS: [u16; 6] = [9, 22, 53, 80, 443, 40_000];
/// Transport protocols that packets have and filters ask for.
pub const TRANSPORTS: [u8; 9] = [1, 6, 17, 33, 47, 58, 132, 136, 253];

/// An IPv4 or IPv6 packet, or now and then an ARP packet: odd, fragmented, with options and extension headers, cut short.
/// With its EtherType.
pub fn network(random: &mut Random) -> (u16, Vec<u8>) {
    let (ethertype, mut packet) = match random.below(10) {
        0..5 => (0x0800, ipv4(random)),
        5..9 => (0x86dd, ipv6(random)),
        _ => (0x0806, arp(random)),
    };
    if random.one_in(12) {
        let end = random.below(packet.len()) + 1;
        packet.truncate(end);
    }
    if random.one_in(20) {
        let at = random.below(packet.len());
        packet[at] ^= 1 << random.below(8);
    }
    (ethertype, packet)
}

/// A link-layer header around such a packet, with VLAN tags now and then. With the EtherType that the kernel has for it when it
/// takes no tag out.
pub fn ethernet(random: &mut Random, destination: [u8; 6], source: [u8; 6]) -> (u16, Vec<u8>) {
    let (ethertype, packet) = network(random);
    let mut frame = [destination, source].concat();
    let mut outermost = ethertype;
    let tags = if random.one_in(5) {
        1 + random.below(3)
    } else {
        0
    };
    for n in 0..tags {
        let tag = random.pick(&[0x8100, 0x88a8, 0x9100]);
        if n == 0 {
            outermost = tag;
        }
        frame.extend(u16::to_be_bytes(tag));
        frame.extend([0, random.pick(&[5, 100])]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    (outermost, frame)
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let options = if random.one_in(6) {
        4 * (1 + random.below(3))
    } else {
        0
    };
    let mut protocol = random.pick(&TRANSPORTS);
    let mut payload = transport(random, protocol);
    if random.one_in(12) {
        payload = authentication(random, protocol, payload);
        protocol = 51;
    }
    let header = 20 + options;
    let total = match random.below(12) {
        0 => random.below(2000),
        1 => header + payload.len().saturating_sub(random.below(12)),
        _ => header + payload.len(),
    };
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend((total as u16).to_be_bytes());
    packet.extend([0, random.bits() as u8]);
    let fragment: u16 = random.pick(&[0, 0, 0, 0, 0x4000, 0x2000, 0x2003, 0x0007]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend([10, 0, 0, random.pick(&[1, 2, 3])]);
    packet.extend([10, 0, random.pick(&[0, 1]), random.pick(&[1, 2, 3])]);
    packet.resize(header, 1);
    if !random.one_in(8) {
        let sum = packet
            .chunks(2)
            .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
            .sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    }
    packet.extend(payload);
    packet
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let mut next = random.pick(&TRANSPORTS);
    let mut payload = transport(random, next);
    let headers = if random.one_in(3) {
        1 + random.below(4)
    } else {
        0
    };
    for _ in 0..headers {
        let kind = random.pick(&[0u8, 43, 44, 51, 60]);
        payload = match kind {
            44 => {
                let fragment: u16 = random.pick(&[0, 1, 8, 0x0101]);
                let mut header = vec![next, 0];
                header.extend(fragment.to_be_bytes());
                header.extend([0, 0, 0, 1]);
                header.extend(payload);
                header
            }
            51 => authentication(random, next, payload),
            _ => {
                let eights = random.below(3) as u8;
                let mut header = vec![next, eights];
                // Padding.
                header.extend([1, 4 + 8 * eights]);
                header.resize(8 + 8 * usize::from(eights), 0);
                header.extend(payload);
                header
            }
        };
        next = kind;
    }
    let length = match random.below(12) {
        0 => 0,
        1 => random.below(2000),
        2 => payload.len().saturating_sub(random.below(12)),
        _ => payload.len(),
    };
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((length as u16).to_be_bytes());
    packet.extend([next, 64]);
    for _ in 0..2 {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, random.pick(&[0, 1])]);
        packet.extend([0, 0, 0, 0, 0, 0, 0, random.pick(&[1, 2, 3])]);
    }
    packet.extend(payload);
    packet
}

fn authentication(random: &mut Random, next: u8, payload: Vec<u8>) -> Vec<u8> {
    let fours = random.pick(&[0, 1, 4, 4, 4]);
    let mut header = vec![next, fours];
    header.resize((usize::from(fours) + 2) * 4, 0);
    header.extend(payload);
    header
}

fn transport(random: &mut Random, protocol: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    match protocol {
        1 => bytes.extend([random.pick(&[0, 3, 8]), 0, 0, 0, 0, 0, 0, 0]),
        58 => bytes.extend([random.pick(&[128, 135, 1]), 0, 0, 0, 0, 0, 0, 0]),
        _ => {
            bytes.extend(random.pick(&PORTS).to_be_bytes());
            bytes.extend(random.pick(&PORTS).to_be_bytes());
        }
    }
    if protocol == 6 {
        bytes.extend([
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            1,
            0x50,
            random.pick(&[2, 0x12, 4, 0x10, 1]),
            1,
            0,
            0,
            0,
            0,
            0,
        ]);
    }
    let more = random.below(40);
    if protocol == 17 {
        bytes.extend((8 + more as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.extend((0..more).map(|_| random.bits() as u8));
    bytes
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, random.pick(&[1, 2])];
    packet.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, random.pick(&[1, 2, 3])]);
    packet.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, random.pick(&[1, 2, 3])]);
    packet
}
