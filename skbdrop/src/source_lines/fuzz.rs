//! Feeds modules' debug information with any bytes.

use super::{debug_file::DebugFile, module::Module};
use crate::Symbol;
use std::path::Path;

/// Functions whose lines are asked for.
const FUNCTIONS: usize = 64;

/// Reads `data` as a module and asks for lines of its functions. What is told twice is the same.
pub fn lines(data: &[u8]) {
    let path = Path::new("module.ko");
    let Ok(file) = DebugFile::from_bytes(path, data.to_vec()) else {
        return;
    };
    let _ = file.build_id();
    let Ok(module) = Module::read(&file) else {
        return;
    };
    for (name, size) in module.functions().iter().take(FUNCTIONS) {
        for offset in [0, 1, size / 2, size, size.wrapping_add(1), u64::MAX] {
            let symbol = Symbol {
                name: name.into(),
                module: None,
                offset,
            };
            let lines = module.lines(&symbol).ok();
            assert_eq!(lines, module.lines(&symbol).ok());
            let has_room = !module.functions().places(name, offset).is_empty();
            assert!(has_room || lines.is_none_or(|lines| lines.is_empty()));
        }
    }
}
