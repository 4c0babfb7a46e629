//! How a program is asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for the first Ctrl-C or SIGTERM. From the call on, and not only from the first poll, these end the program no more. A
/// second one ends it at once, for what is left to do may wait for a reader that does not read.
///
/// # Panics
///
/// Outside of a tokio runtime with its I/O driver.
pub fn interrupted() -> impl Future<Output = ()> + Send + use<> {
    let install = |kind| signal(kind).expect("a runtime with signals");
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(install);
    async move {
        next(&mut signals).await;
        tokio::spawn(async move {
            next(&mut signals).await;
            std::process::exit(130);
        });
    }
}

async fn next([interrupted, terminated]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
}
