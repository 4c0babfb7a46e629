//! A backend of one's own: other machines report their drops as UDP datagrams of the form
//! `REASON INTERFACE`, and come out of a `Monitor` as any other event.
//!
//! ```text
//! $ cargo run --release --example custom_backend
//! 16:41:09.127731 NO_SOCKET at an unknown place, eth0
//! 16:41:09.127745 TCP_CSUM at an unknown place, eth1
//! 1 could not be decoded
//! ```

use skbdrop::{
    BackendKind, Monitor, Result,
    backend::{Read, Reason, Record, Source, Time},
};
use skbdrop_examples::output;
use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, BorrowedFd},
    process::ExitCode,
    time::SystemTime,
};

#[derive(Debug)]
struct Reports {
    socket: UdpSocket,
    stopped: bool,
}

impl Source for Reports {
    fn kind(&self) -> BackendKind {
        BackendKind::Other("reports")
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn read(&mut self, max: usize, sink: &mut dyn FnMut(&Record<'_>)) -> Result<Read> {
        let mut read = Read::default();
        let mut buffer = [0; 64];
        while read.taken < max {
            // Nothing more now, or a socket that failed: this source has no other end.
            let Ok(len) = self.socket.recv(&mut buffer) else {
                read.ended = self.stopped;
                break;
            };
            read.taken += 1;
            let text = std::str::from_utf8(&buffer[..len]).ok();
            let Some((reason, interface)) = text.and_then(|text| text.split_once(' ')) else {
                read.undecodable += 1;
                continue;
            };
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            let mut record = Record::new(Time::Wall(now.as_nanos() as u64));
            record.reason = Some(Reason::Name(reason));
            record.ifname = Some(interface.as_bytes());
            sink(&record);
        }
        Ok(read)
    }

    fn lost(&self) -> Result<u64> {
        // UDP does not tell.
        Ok(0)
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

const HELP: &str = "\
custom_backend: events out of reports that came by UDP, as from any backend

It takes no arguments.
";

fn main() -> ExitCode {
    skbdrop_examples::run("custom_backend", HELP, skbdrop_examples::nothing, |()| {
        Ok(output::print(&events()?)?)
    })
}

fn events() -> skbdrop_examples::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    report(&socket, &["NO_SOCKET eth0", "TCP_CSUM eth1", "nonsense"])?;
    let source = Reports {
        socket,
        stopped: false,
    };
    let mut monitor = Monitor::builder().source(source).build()?;
    let mut text = String::new();
    for event in monitor.iter().take(2) {
        text += &format!("{}\n", event?);
    }
    monitor.stop();
    assert_eq!(monitor.iter().count(), 0);
    let undecodable = monitor.stats()?.undecodable;
    Ok(text + &format!("{undecodable} could not be decoded\n"))
}

/// What another machine would do.
fn report(to: &UdpSocket, reports: &[&str]) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    reports.iter().try_for_each(|report| {
        socket
            .send_to(report.as_bytes(), to.local_addr()?)
            .map(drop)
    })
}
