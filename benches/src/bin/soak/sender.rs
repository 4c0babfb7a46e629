//! Makes drops, in a process and a network namespace of its own, at a rate that comes and goes.

use crate::Result;
use std::{
    f64::consts::TAU,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Nobody listens on it in a namespace of its own, and no test of this machine sends there.
pub(crate) const PORT: u16 = 41733;
/// Where one of so many goes instead: a drop that is not wanted.
const OTHER_PORT: u16 = PORT + 1;
const OTHERS: u64 = 10;
/// By so much the least rate is below the peak.
const SPAN: f64 = 100.0;
/// The rate goes up and down once in this time, with a silence at its end.
const PERIOD: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(10);
/// How often it sends what is due.
const TICK: Duration = Duration::from_millis(1);
/// Of what was due while it had no turn it makes up for no more than this many seconds at the peak.
const DEBT: f64 = 0.1;

/// How long it sends, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    /// Datagrams a second, each a drop, at the most.
    pub(crate) peak: u32,
}

/// The process that sends.
pub(crate) struct Sender {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Inode number of its namespace.
    pub(crate) netns: u32,
}

impl Sender {
    /// Has it ready in its namespace.
    pub(crate) fn prepare(plan: Plan) -> Result<Self> {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-ec", "ip link set lo up; exec \"$@\"", "sh"])
            .arg(std::env::current_exe()?)
            .args(["--send", &plan.duration.as_secs().to_string()])
            .args(["--peak", &plan.peak.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("it was asked to be piped")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let netns = line.trim().parse();
        let netns = netns.map_err(|_| format!("the sender did not start: it said `{line}`"))?;
        Ok(Self {
            child,
            output,
            netns,
        })
    }

    pub(crate) fn start(&mut self) -> Result {
        let input = self.child.stdin.as_mut();
        Ok(input.ok_or("it was asked to be piped")?.write_all(b"\n")?)
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// How many it sent to [`PORT`], once it has ended.
    pub(crate) fn sent(&mut self) -> Result<u64> {
        let mut said = String::new();
        self.output.read_to_string(&mut said)?;
        let sent = said.trim().parse();
        Ok(sent.map_err(|_| format!("the sender failed: it said `{said}`"))?)
    }
}

impl Drop for Sender {
    /// Without input it ends.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does: says its namespace, waits for a line, sends, says how many of them went to [`PORT`].
pub(crate) fn send(plan: Plan) -> Result {
    println!("{}", std::fs::metadata("/proc/self/ns/net")?.ino());
    if io::stdin().read_line(&mut String::new())? == 0 {
        return Ok(());
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (start, mut sent, mut others, mut due) = (Instant::now(), 0, 0, 0.0);
    let mut last = start;
    while start.elapsed() < plan.duration {
        thread::sleep(TICK);
        let now = Instant::now();
        let more = plan.rate(now - start) * (now - last).as_secs_f64();
        due = (due + more).min(DEBT * f64::from(plan.peak));
        last = now;
        while due >= 1.0 {
            let is_other = sent / (OTHERS - 1) > others;
            let (port, count) = match is_other {
                true => (OTHER_PORT, &mut others),
                false => (PORT, &mut sent),
            };
            socket.send_to(&[0; 64], (Ipv4Addr::LOCALHOST, port))?;
            *count += 1;
            due -= 1.0;
        }
    }
    println!("{sent}");
    Ok(())
}

impl Plan {
    /// Datagrams a second, so long after the start.
    fn rate(self, since: Duration) -> f64 {
        let wave = (PERIOD - SILENCE).as_secs_f64();
        let at = since.as_secs_f64() % PERIOD.as_secs_f64();
        if at >= wave {
            return 0.0;
        }
        let height = (1.0 - (TAU * at / wave).cos()) / 2.0;
        f64::from(self.peak) / SPAN * SPAN.powf(height)
    }
}
