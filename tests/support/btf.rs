//! BTF encoded by hand, after `include/uapi/linux/btf.h`.

/// An encoder for the few kinds that the tests need. Type numbers count from 1 in the order of the calls.
#[derive(Debug, Default)]
pub struct Encoder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
    /// Bytes of the strings that this BTF is split from.
    base_strings: u32,
    /// Encode for big-endian machines.
    pub big_endian: bool,
}

impl Encoder {
    /// Empty, little-endian.
    #[must_use]
    pub fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    /// Empty, little-endian, split from `base`: its own strings count on from there.
    #[must_use]
    pub fn split(base: &[u8]) -> Self {
        let base_strings = u32::from_le_bytes(base[20..24].try_into().unwrap());
        Self {
            base_strings,
            ..Self::default()
        }
    }

    fn word(&mut self, word: u32) {
        let bytes = if self.big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        };
        self.types.extend_from_slice(&bytes);
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.base_strings + self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn head(&mut self, name: &str, kind: u32, count: usize, size_or_type: u32) -> u32 {
        let name = self.string(name);
        for word in [name, kind << 24 | count as u32, size_or_type] {
            self.word(word);
        }
        self.count += 1;
        self.count
    }

    /// An `enum` of 32 bits.
    pub fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let id = self.head(name, 6, values.len(), 4);
        for (name, value) in values {
            let name = self.string(name);
            self.word(name);
            self.word(*value);
        }
        id
    }

    /// An `enum` of 32 bits that has negative values.
    pub fn signed_enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let id = self.head(name, 1 << 7 | 6, values.len(), 4);
        for (name, value) in values {
            let name = self.string(name);
            self.word(name);
            self.word(*value);
        }
        id
    }

    /// An `enum` of 64 bits.
    pub fn enumeration64(&mut self, name: &str, values: &[(&str, u64)]) -> u32 {
        let id = self.head(name, 19, values.len(), 8);
        for (name, value) in values {
            let name = self.string(name);
            self.word(name);
            self.word(*value as u32);
            self.word((*value >> 32) as u32);
        }
        id
    }

    /// A `typedef`.
    pub fn typedef(&mut self, name: &str, target: u32) -> u32 {
        self.head(name, 8, 0, target)
    }

    /// The whole: header, types, strings.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let magic: u16 = 0xeb9f;
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let half = |half: u16| {
            if self.big_endian {
                half.to_be_bytes()
            } else {
                half.to_le_bytes()
            }
        };
        let mut bytes = half(magic).to_vec();
        bytes.extend_from_slice(&[1, 0]);
        for word in [24, 0, types, types, strings] {
            let word: u32 = word;
            bytes.extend_from_slice(&if self.big_endian {
                word.to_be_bytes()
            } else {
                word.to_le_bytes()
            });
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// A minimal 64-bit ELF file with `btf` as its section `.BTF`.
#[must_use]
pub fn elf(btf: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    let names = b"\0.BTF\0.shstrtab\0";
    let names_at = HEADER + btf.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [1u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [0, 0, sections_at] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [HEADER as u16, 0, 0, 64, 3, 2] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(btf);
    file.extend_from_slice(names);
    file.resize(sections_at as usize, 0);
    for (name, kind, at, len) in [
        (0u32, 0u32, 0, 0),
        (1, 1, HEADER, btf.len() as u64),
        (6, 3, names_at, names.len() as u64),
    ] {
        file.extend_from_slice(&name.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        for word in [0, 0, at, len, 0, 1, 0] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file
}

/// Rewrites, in little-endian BTF that stands alone, the value of each enumerator of the enum
/// `name`, by `change`.
pub fn change_enum(btf: &mut [u8], name: &str, mut change: impl FnMut(&str, u32) -> u32) {
    let word =
        |btf: &[u8], at: usize| u32::from_le_bytes(btf[at..at + 4].try_into().unwrap()) as usize;
    let header = word(btf, 4);
    let (types, types_len, strings) =
        (header + word(btf, 8), word(btf, 12), header + word(btf, 16));
    let string = |btf: &[u8], offset: usize| {
        let text = &btf[strings + offset..];
        String::from_utf8(text[..text.iter().position(|&byte| byte == 0).unwrap()].to_vec())
            .unwrap()
    };
    let mut at = types;
    let mut found = false;
    while at < types + types_len {
        let info = word(btf, at + 4);
        let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
        let start = at + 12;
        at = start
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => 0,
            };
        if kind == 6 && string(btf, word(btf, start - 12)) == name {
            found = true;
            for n in 0..count {
                let value_at = start + 8 * n + 4;
                let enumerator = string(btf, word(btf, value_at - 4));
                let value = change(&enumerator, word(btf, value_at) as u32);
                btf[value_at..value_at + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
    assert!(found, "no enum {name}");
}
