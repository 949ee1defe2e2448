//! The thread that reads signals. It hands them to the first thread and waits for no other one. A restart is its
//! own, see `restarter.rs`.
//! Invariant: after a second signal to end, the process ends, whatever any other thread does.
//!
//! `timeout` of coreutils sends a signal to its child and then to its process group, so the child gets it twice
//! in a row. That is one request to end.

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

/// The time that threads have after the second ending signal to cut connections and write statistics.
const GRACE: Duration = Duration::from_secs(1);

/// The time after the first ending signal in which the same signal again counts as the first one. A person who
/// waits for an effect is slower than that.
const REPETITION: Duration = Duration::from_millis(100);

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
            match endings.grace_left(Instant::now()) {
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
        if !endings.on_signal(signal, Instant::now()) {
            return;
        }
        if is_ending(signal) && matches!(endings, Endings::One(..)) {
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
    /// The first one, and when it came.
    One(Signal, Instant),
    /// Threads may take until `deadline` to end after `signal`, the second one.
    Two {
        signal: Signal,
        deadline: Instant,
    },
}

impl Endings {
    /// Counts a signal and returns whether it matters to the server: a repetition of the first one to end
    /// changes nothing, and neither does a third one.
    fn on_signal(&mut self, signal: Signal, now: Instant) -> bool {
        if !is_ending(signal) {
            return true;
        }
        *self = match self {
            Self::None => Self::One(signal, now),
            Self::One(first, at) if *first == signal && now - *at < REPETITION => return false,
            Self::One(..) => Self::Two { signal, deadline: now + GRACE },
            Self::Two { .. } => return false,
        };
        true
    }

    /// Returns the time that threads have left to end after the second signal, if it has come.
    ///
    /// # Errors
    ///
    /// That signal, if none is left: the threads are stuck.
    fn grace_left(&self, now: Instant) -> Result<Option<Duration>, Signal> {
        let Self::Two { signal, deadline } = *self else { return Ok(None) };
        let left = deadline.saturating_duration_since(now);
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
        let (mut endings, now) = (Endings::None, Instant::now());
        for signal in [Signal::TERM, Signal::HUP] {
            assert!(endings.on_signal(signal, now));
            assert_eq!(endings.grace_left(now), Ok(None));
        }
        assert!(endings.on_signal(Signal::INT, now));
        assert!(matches!(endings, Endings::Two { signal: Signal::INT, .. }));
        assert_eq!(endings.grace_left(now), Ok(Some(GRACE)));
        assert!(!endings.on_signal(Signal::TERM, now + GRACE / 2));
        assert!(matches!(endings, Endings::Two { signal: Signal::INT, .. }));
        assert!(endings.on_signal(Signal::HUP, now));
        assert_eq!(endings.grace_left(now + GRACE / 2), Ok(Some(GRACE / 2)));
        assert_eq!(endings.grace_left(now + GRACE), Err(Signal::INT));
    }

    #[test]
    fn the_same_signal_in_a_row_is_one_and_another_one_or_a_later_one_is_the_second() {
        let first = Instant::now();
        let just_before = REPETITION - Duration::from_nanos(1);
        for (signal, after, is_second) in [
            (Signal::TERM, Duration::ZERO, false),
            (Signal::TERM, just_before, false),
            (Signal::TERM, REPETITION, true),
            (Signal::INT, Duration::ZERO, true),
        ] {
            let mut endings = Endings::None;
            assert!(endings.on_signal(Signal::TERM, first));
            assert_eq!(endings.on_signal(signal, first + after), is_second, "{signal} {after:?}");
            assert_eq!(matches!(endings, Endings::Two { .. }), is_second);
            // However many there were in a row, the next one counts.
            assert!(is_second || endings.on_signal(signal, first + REPETITION));
        }
    }
}
