//! The thread that reads signals. It hands them to the first thread and waits for no other one. A restart is its
//! own, see `restarter.rs`.
//! Invariant: after a second signal to end, the process ends, whatever any other thread does.

use super::restarter::{Restarter, SignalReactor, Source};
use super::{exit_status, is_ending};
use crate::Supervisor;
use crate::control::Control;
use crate::error::Context;
use epoll_reactor::{Interest, Reactor, Ready, Waker, Watch};
use epoll_shutdown::{Signal, Signals};
use std::io;
use std::process;
use std::sync::Arc;
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

/// After the second signal to end, threads have this long to cut connections and write statistics.
const GRACE: Duration = Duration::from_secs(1);

/// The event loop of the thread that reads signals.
pub(crate) struct SignalReader {
    reactor: SignalReactor,
    before_exit: fn(),
    supervisor: Option<Supervisor>,
    restarter: Option<Restarter>,
}

/// Guard that ends the thread that reads signals, also by a panic: its scope would wait for it.
pub(crate) struct StopOnDrop(Waker);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // No error of it is known.
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "the thread that reads signals cannot be woken");
        }
    }
}

impl SignalReader {
    pub(crate) fn new(
        before_exit: fn(),
        supervisor: Option<Supervisor>,
        restarter: Option<Restarter>,
    ) -> io::Result<Self> {
        Ok(Self { reactor: Reactor::watch_only()?, before_exit, supervisor, restarter })
    }

    /// Starts the thread. If it fails, it ends the server, which no signal would end any more.
    pub(crate) fn start<'scope>(
        mut self,
        scope: &'scope Scope<'scope, '_>,
        signals: &'scope Signals,
        control: Arc<Control>,
    ) -> io::Result<StopOnDrop> {
        self.reactor.watch(signals, Source::Signals, Watch::level(Interest::IN))?;
        let stop = StopOnDrop(self.reactor.waker());
        let run = move || {
            if let Err(error) = self.run(signals, &control) {
                let failed: Result<(), _> = Err(error).context("failed to wait for signals");
                failed.unwrap_or_else(|error| control.fail(error));
            }
        };
        Builder::new().name("signals".to_owned()).spawn_scoped(scope, run)?;
        Ok(stop)
    }

    /// Reads signals until it is woken, or ends the process.
    fn run(&mut self, signals: &Signals, control: &Control) -> io::Result<()> {
        let mut endings = Endings::None;
        loop {
            match endings.grace_left() {
                Ok(left) => {
                    let for_restart = self.restarter.as_ref().and_then(Restarter::time_left);
                    self.reactor.wait(left.into_iter().chain(for_restart).min())?;
                }
                Err(signal) => {
                    tracing::error!(%signal, "threads are stuck, exiting without them");
                    (self.before_exit)();
                    // It does not wait for a thread that is at stdout: it only tries the lock.
                    process::exit(exit_status(signal).into());
                }
            }
            while let Some(ready) = self.reactor.next_ready() {
                let source = match ready {
                    Ready::Woken => return Ok(()),
                    Ready::Watched { tag, .. } => tag,
                    Ready::Owned { .. } => continue,
                };
                match source {
                    Source::Signals => {
                        // One for each report, so that a storm of signals delays neither the end of the grace
                        // period nor a wake-up.
                        if let Some(info) = signals.read()? {
                            self.on_signal(info.signal, &mut endings, signals, control);
                        }
                    }
                    Source::Successor => {
                        if let Some(restarter) = &mut self.restarter {
                            restarter.look(control, &mut self.reactor);
                        }
                    }
                }
            }
            if let Some(restarter) = &mut self.restarter {
                restarter.on_time(signals, control, &mut self.reactor);
            }
        }
    }

    fn on_signal(
        &mut self,
        signal: Signal,
        endings: &mut Endings,
        signals: &Signals,
        control: &Control,
    ) {
        let mut restarter = self.restarter.as_mut();
        if let Some(restarter) = restarter.as_mut().filter(|one| one.is_asked_by(signal)) {
            return restarter.begin(signals, control, &mut self.reactor);
        }
        if !endings.on_signal(signal) {
            return;
        }
        if is_ending(signal) && matches!(endings, Endings::One) {
            if restarter.is_some_and(|one| one.on_ending(control, &mut self.reactor)) {
                tracing::info!(%signal, "draining already; another one ends it at once");
                return;
            }
            if let Some(supervisor) = &self.supervisor {
                supervisor.tell_stopping();
            }
        }
        control.on_signal(signal);
    }
}

/// The signals to end that have come.
enum Endings {
    None,
    One,
    /// Threads may take until `deadline` to end after `signal`, the second one.
    Two {
        signal: Signal,
        deadline: Instant,
    },
}

impl Endings {
    /// Counts a signal and returns whether it matters to the server: a third one to end changes nothing.
    fn on_signal(&mut self, signal: Signal) -> bool {
        if !is_ending(signal) {
            return true;
        }
        *self = match self {
            Self::None => Self::One,
            Self::One => Self::Two { signal, deadline: Instant::now() + GRACE },
            Self::Two { .. } => return false,
        };
        true
    }

    /// Returns the time that threads have left to end after the second signal, if it has come.
    ///
    /// # Errors
    ///
    /// That signal, if none is left: the threads are stuck.
    fn grace_left(&self) -> Result<Option<Duration>, Signal> {
        let Self::Two { signal, deadline } = *self else { return Ok(None) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(signal);
        }
        Ok(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signal_to_end_begins_the_grace_period_and_a_third_one_changes_nothing() {
        let mut endings = Endings::None;
        for signal in [Signal::TERM, Signal::HUP] {
            assert!(endings.on_signal(signal));
            assert_eq!(endings.grace_left(), Ok(None));
        }
        assert!(endings.on_signal(Signal::INT));
        assert!(matches!(endings, Endings::Two { signal: Signal::INT, .. }));
        let left = endings.grace_left().expect("it has just begun").expect("an end");
        assert!(left > Duration::ZERO && left <= GRACE);
        assert!(!endings.on_signal(Signal::TERM));
        assert!(matches!(endings, Endings::Two { signal: Signal::INT, .. }));
        assert!(endings.on_signal(Signal::HUP));
        let over = Endings::Two { signal: Signal::INT, deadline: Instant::now() };
        assert_eq!(over.grace_left(), Err(Signal::INT));
    }
}
