use std::{
    io,
    sync::mpsc::{Receiver, channel},
    thread,
};

/// Disconnected once standard input has ended, by which a measured process is told to end. Nothing is ever received.
#[must_use]
pub fn end_of_input() -> Receiver<()> {
    let (ended, end) = channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(ended);
    });
    end
}
