//! How a program is asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns at the first Ctrl-C or SIGTERM. A second one ends the program at once, for what is left to do may wait for a
/// reader that does not read.
///
/// # Panics
///
/// Outside of a tokio runtime with its I/O driver.
pub async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).expect("a runtime with signals");
    next(&mut terminated).await;
    tokio::spawn(async move {
        next(&mut terminated).await;
        std::process::exit(130);
    });
}

async fn next(terminated: &mut Signal) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
