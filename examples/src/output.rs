//! Standard output, whose reader may leave.

use std::io::{self, Write as _};

/// Whether the reader of a pipe has left, as `head` does when it has seen enough; that is no error.
///
/// # Errors
///
/// It could not be written for another reason.
pub fn closed(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(e) => Err(io::Error::new(
            e.kind(),
            format!("cannot write to standard output: {e}"),
        )),
    }
}

/// Prints a text that is all there is to print.
///
/// # Errors
///
/// It could not be written, and not because the reader left.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    closed(written).map(drop)
}
