//! A restart, on the thread that reads signals: no connection waits for a process to be started. Invariant:
//! unless the new process serves, this one goes on.

use crate::control::Control;
use crate::successor::{Offer, Successor};
use crate::{Restart, Supervisor};
use epoll_reactor::{Interest, NoSource, Reactor, Token, Watch};
use epoll_shutdown::{Signal, Signals};
use std::io;
use std::mem;
use std::process::{self, ExitStatus};
use std::time::{Duration, Instant};

/// The time between two looks whether the service serves, which a restart waits for.
const PAUSE: Duration = Duration::from_millis(5);

/// The sources of the thread that reads signals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Signals,
    /// The process that is to take over.
    Successor,
}

/// The event loop of the thread that reads signals.
pub(super) type SignalReactor = Reactor<NoSource, Source>;

/// Restarts the service.
pub(crate) struct Restarter {
    restart: Restart,
    supervisor: Option<Supervisor>,
    /// The sockets that are handed over; none any more when the service drains, so that they can be closed.
    offers: Vec<Offer>,
    state: State,
}

enum State {
    Idle,
    /// A restart is asked for, and the service does not serve yet.
    Asked,
    /// The new process does not serve yet.
    Starting {
        successor: Successor,
        token: Token,
    },
    /// The new process serves, and this one drains.
    HandedOver,
    /// The service ends.
    Ending,
}

impl Restarter {
    pub(crate) fn new(
        restart: Restart,
        supervisor: Option<Supervisor>,
        offers: Vec<Offer>,
    ) -> Self {
        Self { restart, supervisor, offers, state: State::Idle }
    }

    /// Returns whether this signal asks for a restart.
    pub(super) fn is_asked_by(&self, signal: Signal) -> bool {
        self.restart.signal() == signal
    }

    /// Returns the time after which to call [`on_time`](Self::on_time), if there is one.
    pub(super) fn time_left(&self) -> Option<Duration> {
        match &self.state {
            State::Asked => Some(PAUSE),
            State::Starting { successor, .. } => {
                Some(successor.deadline()?.saturating_duration_since(Instant::now()))
            }
            State::Idle | State::HandedOver | State::Ending => None,
        }
    }

    /// Starts the new process, if that makes sense now, or as soon as this one serves.
    pub(super) fn begin(
        &mut self,
        signals: &Signals,
        control: &Control,
        reactor: &mut SignalReactor,
    ) {
        let refusal = match &self.state {
            State::Starting { .. } => Some("a restart is under way"),
            State::HandedOver | State::Ending => Some("the service drains"),
            State::Idle | State::Asked if process::id() == 1 => {
                Some("all processes of a container end with its process 1, which this is")
            }
            State::Idle | State::Asked => None,
        };
        if let Some(reason) = refusal {
            tracing::warn!(signal = %self.restart.signal(), reason, "restart refused");
            return;
        }
        if !control.is_serving() {
            self.state = State::Asked;
            return;
        }
        self.state = State::Idle;
        // It may have changed since the server was started.
        self.restart = self.restart.clone().ready_timeout(control.ready_timeout());
        if let Some(supervisor) = &self.supervisor {
            supervisor.tell_restarting();
        }
        match self.start(signals, reactor) {
            Ok(starting) => self.state = starting,
            Err(error) => {
                tracing::error!(%error, "the new process cannot be started");
                self.go_on();
            }
        }
    }

    fn start(&self, signals: &Signals, reactor: &mut SignalReactor) -> io::Result<State> {
        let successor = Successor::start(&self.restart, signals, &self.offers)?;
        match reactor.watch(&successor, Source::Successor, Watch::level(Interest::IN)) {
            Ok(token) => {
                tracing::info!(process = successor.process(), "restarting");
                Ok(State::Starting { successor, token })
            }
            Err(error) => {
                successor.end(Duration::ZERO);
                Err(error)
            }
        }
    }

    /// Looks at what the new process has said: that it serves, or that it has ended.
    pub(super) fn look(&mut self, control: &Control, reactor: &mut SignalReactor) {
        let State::Starting { successor, .. } = &self.state else { return };
        match successor.poll() {
            Ok(None) => {}
            Ok(Some(taken)) => self.hand_over(taken, control, reactor),
            Err(error) => {
                let ended = self.take_successor(State::Idle, reactor);
                let status = ended.and_then(Successor::end_closed);
                tracing::error!(%error, status = said(status), "the new process does not serve");
                self.go_on();
            }
        }
    }

    /// Gives the new process up if it has had its time, or starts it if this one serves at last.
    pub(super) fn on_time(
        &mut self,
        signals: &Signals,
        control: &Control,
        reactor: &mut SignalReactor,
    ) {
        if let State::Asked = self.state {
            return self.begin(signals, control, reactor);
        }
        if self.time_left().is_none_or(|left| !left.is_zero()) {
            return;
        }
        // It may have become ready since the last wait.
        self.look(control, reactor);
        if matches!(self.state, State::Starting { .. }) {
            let late = self.take_successor(State::Idle, reactor);
            let status = late.and_then(|late| late.end(Duration::ZERO));
            let timeout = self.restart.timeout();
            tracing::error!(
                ?timeout,
                status = said(status),
                "the new process is not ready in time"
            );
            self.go_on();
        }
    }

    /// Ends a new process that does not serve yet, because the service is to end. Returns whether one serves, so that
    /// this process drains already.
    pub(super) fn on_ending(&mut self, control: &Control, reactor: &mut SignalReactor) -> bool {
        self.look(control, reactor);
        if let State::HandedOver = self.state {
            return true;
        }
        // Before the drain, which leaves nothing in the queues: nobody else may have the sockets then.
        if let Some(successor) = self.take_successor(State::Ending, reactor) {
            tracing::warn!(process = successor.process(), "the new process is ended as well");
            successor.end(Duration::ZERO);
        }
        self.state = State::Ending;
        self.offers.clear();
        false
    }

    fn hand_over(&mut self, taken: Vec<bool>, control: &Control, reactor: &mut SignalReactor) {
        let Some(successor) = self.take_successor(State::HandedOver, reactor) else { return };
        let process = successor.process();
        tracing::info!(process, "a new process serves, and this one drains");
        for (offer, _) in self.offers.drain(..).zip(&taken).filter(|(_, is_taken)| **is_taken) {
            if let Some(removal) = offer.removal {
                removal.set(false);
            }
        }
        control.hand_over(self.restart.signal(), taken);
        if let Some(supervisor) = &self.supervisor {
            supervisor.tell_successor(process);
        }
    }

    /// Goes on to serve without a new process.
    fn go_on(&self) {
        tracing::warn!("the restart has failed, and this process goes on serving");
        if let Some(supervisor) = &self.supervisor {
            supervisor.tell_ready();
        }
    }

    /// Takes the new process out of the event loop, if there is one, and goes on in the state `next`.
    fn take_successor(&mut self, next: State, reactor: &mut SignalReactor) -> Option<Successor> {
        match mem::replace(&mut self.state, next) {
            State::Starting { successor, token } => {
                if let Err(error) = reactor.unwatch(token, &successor) {
                    tracing::warn!(%error, "the new process is still watched");
                }
                Some(successor)
            }
            other => {
                self.state = other;
                None
            }
        }
    }
}

/// Returns what is logged of the status of a process.
fn said(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "it has not ended".to_owned(), |status| status.to_string())
}
