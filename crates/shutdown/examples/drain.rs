//! Signals from a descriptor: the first one drains, the second one stops.
//!
//!     cargo run -p epoll-shutdown --example drain
//!
//! A signal that is blocked stays pending, and a signalfd makes it one more thing to wait for: no
//! handler, nothing that is cut short. Standard signals coalesce: two that are sent before one is
//! read are one. The mask is inherited by children, also through `exec`: a child that is to be ended
//! with `SIGTERM` needs the mask from before.
//!
//! The program sends signals to itself, twice: once its work finishes after the first, once it is
//! stopped by a second. Prints what was sent, what was read, the phase, and the masks of two children.

#![forbid(unsafe_code)]

use epoll_shutdown::{Drain, End, Phase, Signal, Signals, Timestamp};
use epoll_sys::{Epoll, Events, Interest, SignalSet, Watch};
use rustix::process::{Pid, getpid, kill_process};
use std::process::Command;
use std::time::Duration;
use std::{error, io};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

struct Program {
    signals: Signals,
    epoll: Epoll,
    drain: Drain,
}

fn main() -> Result<()> {
    // First of all, while there is one thread: the others inherit the mask.
    let mut program = Program::new()?;
    println!("sent         read         phase");
    let read = program.send(&[Signal::TERM, Signal::TERM])?;
    assert_eq!(read, [Signal::TERM], "what is pending is not pending twice");
    assert!(matches!(program.drain.phase(), Phase::Draining { signal: Signal::TERM, .. }));
    // The last connection has ended.
    program.drain.finish();
    println!("{:<24}  {}", "", phase(program.drain));
    assert_eq!(program.drain.phase(), Phase::Stopped { end: End::Finished });

    program.drain = Drain::new(Some(Duration::from_secs(10)));
    program.send(&[Signal::INT])?;
    assert!(matches!(program.drain.phase(), Phase::Draining { .. }));
    program.send(&[Signal::TERM])?;
    assert_eq!(program.drain.phase(), Phase::Stopped { end: End::Forced(Signal::TERM) });

    println!("\nblocked in a child");
    let inherited = blocked_in(&mut status())?;
    let restored = blocked_in(program.signals.restore_in(&mut status()))?;
    println!("  as it is started  {inherited:?}\n  with restore_in   {restored:?}");
    assert!(inherited.contains(Signal::TERM) && inherited.contains(Signal::INT));
    assert!(!restored.contains(Signal::TERM) && !restored.contains(Signal::INT));
    Ok(())
}

impl Program {
    fn new() -> Result<Self> {
        let signals = Signals::block([Signal::TERM, Signal::INT])?;
        let epoll = Epoll::new()?;
        epoll.add(&signals, 0, Watch::level(Interest::IN))?;
        Ok(Self { signals, epoll, drain: Drain::new(Some(Duration::from_secs(10))) })
    }

    /// Sends signals to this process, waits for them as for anything else, and says what was read.
    fn send(&mut self, sent: &[Signal]) -> Result<Vec<Signal>> {
        for signal in sent {
            send_to(getpid(), *signal)?;
        }
        self.epoll.wait(&mut Events::with_capacity(1), None)?;
        let mut read = Vec::new();
        while let Some(info) = self.signals.read()? {
            self.drain.signal(info.signal, Timestamp::now());
            read.push(info.signal);
        }
        println!("{:<11}  {:<11}  {}", names(sent), names(&read), phase(self.drain));
        Ok(read)
    }
}

fn send_to(process: Pid, signal: Signal) -> io::Result<()> {
    let signal = rustix::process::Signal::from_named_raw(signal.as_raw());
    Ok(kill_process(process, signal.ok_or(io::ErrorKind::InvalidInput)?)?)
}

fn names(signals: &[Signal]) -> String {
    signals
        .iter()
        .map(|signal| signal.name().trim_start_matches("SIG"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn phase(drain: Drain) -> String {
    match drain.phase() {
        Phase::Running => "running".to_owned(),
        Phase::Draining { signal, .. } => format!("draining since {signal}"),
        Phase::Stopped { end: End::Finished } => "stopped: everything has finished".to_owned(),
        Phase::Stopped { end: End::DeadlinePassed } => {
            "stopped: the deadline has passed".to_owned()
        }
        Phase::Stopped { end: End::Forced(signal) } => format!("stopped by {signal}"),
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
