//! Signals from a descriptor: the first one drains, the second one stops.
//!
//!     cargo run -p epoll-shutdown --example drain
//!
//! A blocked signal stays pending, and a signalfd makes it one more event to wait for: no handler
//! runs, and no call is cut short. Standard signals coalesce: two that are sent before one is read
//! are one. Real-time signals are queued with their values. A child inherits the mask, also through
//! `exec`: to end it with `SIGTERM` it needs the mask from before.
//!
//! The program sends signals to itself and drains twice: after the first its work finishes, and the
//! second is cut short by another signal. It prints the signals sent, the signals read and the phase,
//! then the signals blocked in two children.

use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, SignalSet, Signals, Timestamp};
use epoll_sys::{Epoll, Events, Interest, Watch};
use std::error;
use std::process::Command;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

struct Program {
    signals: Signals,
    /// A signal that does not ask for the end.
    job: Signal,
    epoll: Epoll,
    drain: Drain,
}

fn main() -> Result<()> {
    // First of all, while there is one thread: the others inherit the mask.
    let mut program = Program::new()?;
    println!("sent             read             phase");
    let read = program.send(&[(Signal::TERM, 0), (Signal::TERM, 0)])?;
    assert_eq!(read, [(Signal::TERM, 0)], "what is pending is not pending twice");
    assert!(matches!(program.drain.phase(), Phase::Draining { signal: Signal::TERM, .. }));
    // The last connection has ended.
    program.drain.finish();
    println!("{:<32}  {}", "", phase(program.drain));
    assert_eq!(program.drain.phase(), Phase::Stopped { outcome: DrainOutcome::Finished });

    program.drain = Drain::new(Some(Duration::from_secs(10)));
    let jobs = [(program.job, 1), (program.job, 2)];
    assert_eq!(program.send(&jobs)?, jobs, "real-time signals are queued with their values");
    assert_eq!(program.drain.phase(), Phase::Running, "they do not ask for the end");
    program.send(&[(Signal::USR1, 0)])?;
    assert!(matches!(program.drain.phase(), Phase::Draining { .. }));
    program.send(&[(Signal::TERM, 0)])?;
    let outcome = DrainOutcome::Forced(Signal::TERM);
    assert_eq!(program.drain.phase(), Phase::Stopped { outcome });

    println!("\nblocked in a child");
    let inherited = blocked_in(&mut status())?;
    let restored = blocked_in(program.signals.restore_mask_in(&mut status()))?;
    println!("  as it is started      {inherited:?}\n  with restore_mask_in  {restored:?}");
    assert!((program.signals.set() - inherited).is_empty());
    assert!((program.signals.set() & restored).is_empty());
    Ok(())
}

impl Program {
    fn new() -> Result<Self> {
        let job = Signal::real_time(0).ok_or("no real-time signals")?;
        let signals = Signals::block([Signal::TERM, Signal::USR1, job])?;
        let epoll = Epoll::new()?;
        epoll.add(&signals, 0, Watch::level(Interest::IN))?;
        Ok(Self { signals, job, epoll, drain: Drain::new(Some(Duration::from_secs(10))) })
    }

    /// Sends signals to this process, waits for them as for any other event, and returns those that
    /// were read.
    fn send(&mut self, sent: &[(Signal, i32)]) -> Result<Vec<(Signal, i32)>> {
        for (signal, value) in sent {
            signal.queue(std::process::id(), *value)?;
        }
        self.epoll.wait(&mut Events::with_capacity(1), None)?;
        let mut read = Vec::new();
        while let Some(info) = self.signals.read()? {
            if info.signal != self.job {
                self.drain.on_signal(info.signal, Timestamp::now());
            }
            read.push((info.signal, info.value));
        }
        println!("{:<15}  {:<15}  {}", names(sent), names(&read), phase(self.drain));
        Ok(read)
    }
}

fn names(signals: &[(Signal, i32)]) -> String {
    let name = |&(signal, value): &(Signal, i32)| {
        let name = signal.name().trim_start_matches("SIG");
        if value == 0 { name.to_owned() } else { format!("{name}:{value}") }
    };
    signals.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn phase(drain: Drain) -> String {
    match drain.phase() {
        Phase::Running => "running".to_owned(),
        Phase::Draining { signal, .. } => format!("draining since {signal}"),
        Phase::Stopped { outcome: DrainOutcome::Forced(signal) } => format!("stopped by {signal}"),
        Phase::Stopped { outcome } => format!("stopped: {outcome:?}"),
    }
}

/// A program that prints its own mask, among other things.
fn status() -> Command {
    let mut command = Command::new("cat");
    command.arg("/proc/self/status");
    command
}

fn blocked_in(child: &mut Command) -> Result<SignalSet> {
    let output = child.output()?;
    let status = String::from_utf8(output.stdout)?;
    let bits = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let bits = bits.ok_or("the child has not printed its mask")?;
    Ok(SignalSet::from_bits(u64::from_str_radix(bits.trim(), 16)?))
}
