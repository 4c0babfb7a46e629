//! Feeds the debug information of modules and kernels with any bytes.

use super::{debug_file::DebugFile, lookup::Lookup, module::Module};
use crate::Symbol;
use std::path::Path;

/// Functions whose lines are asked for.
const FUNCTIONS: usize = 64;

/// Addresses whose lines are asked for in what is linked.
const ADDRESSES: [u64; 8] = [0, 1, 2, 0x10, 0x100, 0x1001, 0x10001, u64::MAX];

/// Reads `data` as a module and asks for lines of its functions, and else as a kernel. What is told twice is the same.
pub fn lines(data: &[u8]) {
    let path = Path::new("module.ko");
    let Ok(file) = DebugFile::from_bytes(path, data.to_vec()) else {
        return;
    };
    let _ = file.build_id();
    let Ok(module) = Module::read(&file) else {
        let file = DebugFile::from_bytes(path, data.to_vec());
        if let Ok(kernel) = file.and_then(|file| Lookup::new(&file)) {
            for address in ADDRESSES {
                let lines = kernel.of_call(address).ok();
                assert_eq!(lines, kernel.of_call(address).ok());
            }
        }
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
