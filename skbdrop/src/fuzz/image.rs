//! Kernel images and what they are packed in.

use crate::btf::image::raw_btf;
use std::borrow::Cow;

/// Looks for raw BTF in `data` as in a file of any kind. What is found in it reads the same by itself.
pub fn image(data: &[u8]) {
    let Ok(raw) = raw_btf(data) else {
        return;
    };
    if let Cow::Borrowed(raw) = &raw {
        assert!(raw.len() <= data.len());
    }
    if raw.starts_with(b"\x9f\xeb") || raw.starts_with(b"\xeb\x9f") {
        let again = raw_btf(&raw).expect("it begins as raw BTF");
        assert!(again == raw);
    }
    super::btf(&raw);
}
