//! How deep debug information is nested. addr2line calls itself for each function that is inlined into another one, so that a
//! corrupt file would need more stack than there is.

use super::debug_file::Bytes;
use crate::{Error, Result};
use gimli::{AttributeValue, Dwarf, Range, UnitHeader, UnitRef, UnitType, constants};
use std::{cell::Cell, sync::Arc};

/// How deep functions, blocks and what was inlined into them may be nested. Compilers stay far below: in Debian's kernels at 28.
const MAX_DEPTH: isize = 512;
/// The most places that units may have together. Kernels have some thousands; in a corrupt file units share lists of them.
const MAX_PLACES: usize = 1 << 20;

/// Looks a unit through before addr2line reads its functions, which it does when an address in the unit is asked for: a kernel is
/// too large to be looked through as a whole, and hardly any of its units is asked for.
pub(super) struct Nesting {
    dwarf: Arc<Dwarf<Bytes>>,
    units: Vec<Unit>,
    /// By where they begin.
    places: Vec<Place>,
}

struct Unit {
    header: UnitHeader<Bytes>,
    is_sound: Cell<bool>,
}

/// A part of a unit.
struct Place {
    range: Range,
    /// The last end of this one and those before it.
    reach: u64,
    unit: usize,
}

impl Nesting {
    /// Units that do not say where they are may be read for any address: they are looked through here.
    pub(super) fn of(dwarf: Arc<Dwarf<Bytes>>) -> Result<Self> {
        let (mut units, mut places) = (Vec::new(), Vec::new());
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().map_err(unreadable)? {
            // addr2line reads no functions in these.
            if let UnitType::Partial | UnitType::Type { .. } | UnitType::SplitType { .. } =
                header.type_()
            {
                continue;
            }
            // addr2line passes over what it cannot read, too.
            let Ok(unit) = dwarf.unit(header.clone()) else {
                continue;
            };
            let unit = unit.unit_ref(&dwarf);
            let ranges = ranges(unit).unwrap_or_default();
            if ranges.is_empty() {
                look_through(unit)?;
                continue;
            }
            if places.len() + ranges.len() > MAX_PLACES {
                return Err(Error::invalid_data(format!(
                    "the units have more than {MAX_PLACES} places"
                )));
            }
            places.extend(ranges.into_iter().map(|range| Place {
                range,
                reach: range.end,
                unit: units.len(),
            }));
            units.push(Unit {
                header,
                is_sound: Cell::new(false),
            });
        }
        places.sort_unstable_by_key(|place| place.range.begin);
        let mut reach = 0;
        for place in &mut places {
            reach = place.reach.max(reach);
            place.reach = reach;
        }
        Ok(Self {
            dwarf,
            units,
            places,
        })
    }

    /// Refuses an address in a unit that is nested deeper than a stack may bear.
    pub(super) fn check(&self, address: u64) -> Result<()> {
        let begun = self
            .places
            .partition_point(|place| place.range.begin <= address);
        let around = self.places[..begun].iter().rev();
        for place in around.take_while(|place| address < place.reach) {
            let unit = &self.units[place.unit];
            if place.range.end <= address || unit.is_sound.get() {
                continue;
            }
            let read = self.dwarf.unit(unit.header.clone()).map_err(unreadable)?;
            look_through(read.unit_ref(&self.dwarf))?;
            unit.is_sound.set(true);
        }
        Ok(())
    }
}

/// Where a unit says that it is; nowhere if it says nothing, or what readers may take differently.
fn ranges(unit: UnitRef<'_, Bytes>) -> gimli::Result<Vec<Range>> {
    let (mut low, mut high, mut list) = (None, None, None);
    let mut entries = unit.entries_raw(None)?;
    let Some(abbreviation) = entries.read_abbreviation()? else {
        return Ok(Vec::new());
    };
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification)?;
        let known = match attribute.name() {
            constants::DW_AT_low_pc => &mut low,
            constants::DW_AT_high_pc => &mut high,
            constants::DW_AT_ranges => &mut list,
            _ => continue,
        };
        if known.replace(attribute.value()).is_some() {
            return Ok(Vec::new());
        }
    }
    let mut ranges = Vec::new();
    match (list, low, high) {
        (Some(list), ..) => {
            if let Some(mut list) = unit.attr_ranges(list)? {
                while let Some(range) = list.next()? {
                    ranges.push(range);
                }
            }
        }
        (None, Some(low), Some(high)) => {
            if let Some(begin) = unit.attr_address(low)? {
                let end = match high {
                    AttributeValue::Udata(size) => Some(begin.wrapping_add(size)),
                    high => unit.attr_address(high)?,
                };
                ranges.extend(end.map(|end| Range { begin, end }));
            }
        }
        _ => {}
    }
    ranges.retain(|range| range.begin < range.end);
    Ok(ranges)
}

fn look_through(unit: UnitRef<'_, Bytes>) -> Result<()> {
    // What cannot be read ends addr2line's way through the unit, too.
    let Ok(mut entries) = unit.entries_raw(None) else {
        return Ok(());
    };
    while !entries.is_empty() {
        if entries.next_depth() > MAX_DEPTH {
            return Err(Error::invalid_data(format!(
                "entries are nested by more than {MAX_DEPTH}"
            )));
        }
        let Ok(abbreviation) = entries.read_abbreviation() else {
            break;
        };
        if let Some(abbreviation) = abbreviation
            && entries.skip_attributes(abbreviation.attributes()).is_err()
        {
            break;
        }
    }
    Ok(())
}

fn unreadable(error: gimli::Error) -> Error {
    Error::invalid_data("a unit cannot be read").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use addr2line::Context;
    use gimli::{EndianArcSlice, RunTimeEndian, SectionId};

    /// Where the nested functions are, in a section of 32 bytes.
    const FUNCTION: Range = Range { begin: 8, end: 24 };
    /// What a root may say: codes of abbreviations.
    const LOW_AND_HIGH: u8 = 1;
    const LIST: u8 = 2;
    const NOTHING: u8 = 3;
    const LOW_TWICE: u8 = 4;
    const LOW_HIGH_AND_LIST: u8 = 5;
    /// A function with its place, and what is inlined, without attributes.
    const SUBPROGRAM: u8 = 6;
    const INLINED: u8 = 7;

    fn abbreviations() -> Vec<u8> {
        const UNIT: u8 = 0x11;
        const LOW: [u8; 2] = [0x11, 1];
        const HIGH: [u8; 2] = [0x12, 7];
        const RANGES: [u8; 2] = [0x55, 0x17];
        const LINES: [u8; 2] = [0x10, 0x17];
        let mut bytes = Vec::new();
        for (code, tag, attributes) in [
            (LOW_AND_HIGH, UNIT, &[LOW, HIGH][..]),
            (LIST, UNIT, &[RANGES]),
            (NOTHING, UNIT, &[LINES]),
            (LOW_TWICE, UNIT, &[LOW, HIGH, LOW]),
            (LOW_HIGH_AND_LIST, UNIT, &[LOW, HIGH, RANGES, LINES]),
            (SUBPROGRAM, 0x2e, &[LOW, HIGH]),
            (INLINED, 0x1d, &[]),
        ] {
            bytes.extend([code, tag, 1]);
            bytes.extend(attributes.as_flattened());
            bytes.extend([0, 0]);
        }
        bytes
    }

    /// A unit of DWARF 4, the function in it nested so deep.
    fn unit(root: u8, attributes: &[&[u8]], depth: usize) -> Vec<u8> {
        let mut entries = vec![root];
        entries.extend(attributes.concat());
        entries.push(SUBPROGRAM);
        entries.extend(FUNCTION.begin.to_le_bytes());
        entries.extend((FUNCTION.end - FUNCTION.begin).to_le_bytes());
        entries.extend(vec![INLINED; depth]);
        entries.extend(vec![0; depth + 2]);
        let mut bytes = (entries.len() as u32 + 7).to_le_bytes().to_vec();
        bytes.extend([4, 0, 0, 0, 0, 0, 8]);
        bytes.extend(entries);
        bytes
    }

    /// A line program that has an instruction at each address of the section.
    fn lines() -> Vec<u8> {
        // Sizes, the operands of opcodes, no folders, one file.
        let mut header = vec![1, 1, 1, 0, 1, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1];
        header.extend([0, b'a', 0, 0, 0, 0, 0]);
        let mut program = vec![0, 9, 2];
        program.extend(0u64.to_le_bytes());
        // A row, 32 bytes, the end.
        program.extend([1, 2, 32, 0, 1, 1]);
        let mut bytes = Vec::new();
        bytes.extend((6 + header.len() as u32 + program.len() as u32).to_le_bytes());
        bytes.extend([4, 0]);
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(program);
        bytes
    }

    fn dwarf(info: Vec<u8>) -> Arc<Dwarf<Bytes>> {
        with_list(info, &[[FUNCTION.begin, FUNCTION.end], [0, 0]])
    }

    fn with_list(info: Vec<u8>, list: &[[u64; 2]]) -> Arc<Dwarf<Bytes>> {
        let dwarf = Dwarf::load(|id| {
            let bytes = match id {
                SectionId::DebugAbbrev => abbreviations(),
                SectionId::DebugInfo => info.clone(),
                SectionId::DebugRanges => {
                    let words = list.as_flattened().iter();
                    words.flat_map(|word| word.to_le_bytes()).collect()
                }
                SectionId::DebugLine => lines(),
                _ => Vec::new(),
            };
            gimli::Result::Ok(EndianArcSlice::new(bytes.into(), RunTimeEndian::Little))
        });
        Arc::new(dwarf.expect("it is only kept"))
    }

    /// What roots may say, and whether it is where the unit is.
    fn roots() -> [(u8, Vec<Vec<u8>>, bool); 6] {
        let word = |word: u64| word.to_le_bytes().to_vec();
        let section = |offset: u32| offset.to_le_bytes().to_vec();
        [
            (LOW_AND_HIGH, vec![word(8), word(16)], true),
            (LIST, vec![section(0)], true),
            (
                LOW_HIGH_AND_LIST,
                vec![word(0), word(1), section(0), section(0)],
                true,
            ),
            // The list's end, so that it is empty.
            (
                LOW_HIGH_AND_LIST,
                vec![word(0), word(1), section(16), section(0)],
                false,
            ),
            (LOW_TWICE, vec![word(100), word(16), word(8)], false),
            (NOTHING, vec![section(0)], false),
        ]
    }

    #[test]
    fn each_address_for_which_functions_are_read_is_checked() {
        for (root, attributes, is_placed) in roots() {
            let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
            // As deep as it may be: the root and the function are two.
            for (depth, is_deep) in [(MAX_DEPTH as usize - 2, false), (MAX_DEPTH as usize, true)] {
                let dwarf = dwarf(unit(root, &attributes, depth));
                let nesting = Nesting::of(Arc::clone(&dwarf));
                if is_deep && !is_placed {
                    assert!(nesting.is_err(), "{root}");
                    continue;
                }
                let nesting = nesting.unwrap_or_else(|e| panic!("{root}: {e:#}"));
                let context = Context::from_arc_dwarf(dwarf).expect("it can be read");
                for address in 0..200 {
                    let found = context.find_frames(address).skip_all_loads();
                    let mut frames = found.expect("they can be read");
                    let frame = frames.next().expect("they can be read");
                    let has_function = frame.is_some_and(|frame| frame.dw_die_offset.is_some());
                    let is_in = (FUNCTION.begin..FUNCTION.end).contains(&address);
                    assert_eq!(has_function, is_in, "{root} {address}");
                    let checked = nesting.check(address);
                    assert_eq!(checked.is_err(), is_deep && is_in, "{root} {address}");
                }
            }
        }
    }

    #[test]
    fn units_one_within_another() {
        let word = |word: u64| word.to_le_bytes();
        let at =
            |begin: u64, size: u64, depth| unit(LOW_AND_HIGH, &[&word(begin), &word(size)], depth);
        // A long one in front of short ones, and one that has no end.
        let info = [
            at(0, 100, 1000),
            at(10, 1, 1),
            at(20, 1, 1),
            at(150, 10, 1000),
            at(u64::MAX, 2, 1000),
        ];
        let refused = Nesting::of(dwarf(info.concat()));
        assert!(
            refused.is_err(),
            "the last is nowhere, so looked through at once"
        );
        let nesting = Nesting::of(dwarf(info[..4].concat())).expect("units with places");
        for address in 0..200 {
            let is_deep = address < 100 || (150..160).contains(&address);
            assert_eq!(nesting.check(address).is_err(), is_deep, "{address}");
        }
    }

    #[test]
    fn places_have_a_limit() {
        let shared = vec![[8, 24]; 1024];
        let units = |count| vec![unit(LIST, &[&[0; 4]], 0); count].concat();
        let nesting = Nesting::of(with_list(units(1), &shared)).expect("few places");
        assert_eq!(nesting.places.len(), 1024);
        let refused = Nesting::of(with_list(units(1025), &shared)).map(|_| ());
        let error = refused.expect_err("too many places");
        assert!(
            error.to_string().contains("more than 1048576 places"),
            "{error}"
        );
    }
}
