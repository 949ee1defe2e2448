//! The loop: connections, listeners, timers and signals, joined by one reactor.

use crate::Config;
use crate::client::Draining;
use crate::clients::Clients;
use crate::listening::Listening;
use epoll_reactor::net::{AcceptCounters, Listener};
use epoll_reactor::{Counters, Interest, Watch};
use epoll_shutdown::{Clock, Drain, End, Phase, Signal, Signals};
use std::io;
use std::time::Instant;

/// The most connections that are accepted when the listeners close: `net.core.somaxconn` is 4096
/// unless someone has raised it.
const QUEUE_MAX: u32 = 65_536;

/// What the loop watches besides connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// The listener with this index.
    Accept(usize),
    Timers,
    Signals,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What ended the drain.
    pub end: End,
    /// How many connections had not finished.
    pub cut: u64,
}

pub(crate) struct Worker {
    pub(crate) clients: Clients,
    listening: Vec<Listening>,
    /// The counters of listeners that are closed.
    accepted_before: AcceptCounters,
    drain: Drain,
    backlog: u32,
}

impl Worker {
    pub(crate) fn new(
        config: &Config,
        listeners: Vec<Listener>,
        connections_max: u64,
    ) -> io::Result<Self> {
        let mut clients = Clients::new(config, connections_max)?;
        let reactor = &mut clients.reactor;
        let listening = listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| Listening::start(listener, Service::Accept(index), reactor))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            clients,
            listening,
            accepted_before: AcceptCounters::default(),
            drain: Drain::new(config.timeouts.drain),
            backlog: config.backlog.get(),
        })
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listening.iter().map(|listening| &listening.listener)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.clients.reactor.counters()
    }

    /// The counters of all listeners together.
    pub(crate) fn accept_counters(&self) -> AcceptCounters {
        self.listeners().map(Listener::counters).fold(self.accepted_before, |sum, one| {
            AcceptCounters {
                accepted: sum.accepted + one.accepted,
                aborted: sum.aborted + one.aborted,
                shed: sum.shed + one.shed,
                pauses: sum.pauses + one.pauses,
            }
        })
    }

    /// Serves until a signal has asked for the end and the drain is over.
    pub(crate) fn run(&mut self, signals: &Signals) -> io::Result<Ended> {
        let level = Watch::level(Interest::IN);
        self.clients.reactor.watch(signals, Service::Signals, level)?;
        loop {
            if self.is_calm() {
                let service = self.clients.serve_until_service()?;
                self.attend(service, signals)?;
            } else if let Some(end) = self.wait_watchfully()? {
                return Ok(Ended { end, cut: self.clients.cut() });
            } else {
                while let Some(service) = self.clients.serve_turn() {
                    self.attend(service, signals)?;
                }
            }
        }
    }

    /// Whether there is nothing to look after but what the reactor reports.
    fn is_calm(&self) -> bool {
        self.drain.phase() == Phase::Running
            && self.listening.iter().all(|listening| listening.resumes_at().is_none())
    }

    /// A wait while a listener pauses or the server drains; the end when the drain is over.
    #[cold]
    fn wait_watchfully(&mut self) -> io::Result<Option<End>> {
        if self.clients.is_empty() {
            self.drain.finish();
        }
        self.drain.pass(Clock::Monotonic.now());
        if let Phase::Stopped { end } = self.drain.phase() {
            return Ok(Some(end));
        }
        self.clients.reactor.wait_until(self.wakes_at())?;
        for listening in &mut self.listening {
            listening.resume_if_due(&mut self.clients.reactor)?;
        }
        Ok(None)
    }

    /// When a pause or the drain ends, whichever is first.
    fn wakes_at(&self) -> Option<Instant> {
        let left = self.drain.deadline().map(|end| end - Clock::Monotonic.now());
        let cut = left.and_then(|left| Instant::now().checked_add(left));
        self.listening.iter().filter_map(Listening::resumes_at).chain(cut).min()
    }

    #[cold]
    fn attend(&mut self, service: Service, signals: &Signals) -> io::Result<()> {
        match service {
            Service::Accept(index) => {
                // A report may be left of a listener that is closed.
                let Some(listening) = self.listening.get_mut(index) else { return Ok(()) };
                for accepted in listening.listener.accept_batch() {
                    self.clients.accept(accepted);
                }
                listening.pause_if_due(&mut self.clients.reactor)
            }
            Service::Timers => self.clients.expire(),
            Service::Signals => {
                while let Some(info) = signals.read()? {
                    self.heed(info.signal)?;
                }
                Ok(())
            }
        }
    }

    fn heed(&mut self, signal: Signal) -> io::Result<()> {
        if !matches!(signal, Signal::TERM | Signal::INT) {
            tracing::info!(%signal, reactor = ?self.counters(), accept = ?self.accept_counters(),
                "counters");
            self.clients.log();
            return Ok(());
        }
        match self.drain.signal(signal, Clock::Monotonic.now()) {
            Some(Phase::Draining { since, deadline, .. }) => {
                tracing::info!(%signal, "draining");
                self.close_listeners();
                let half_time = deadline.map(|deadline| since + (deadline - since) / 2);
                self.clients.drain(Draining { since, half_time });
            }
            Some(_) => tracing::info!(%signal, "stopping at once"),
            None => {}
        }
        Ok(())
    }

    /// Takes what waits to be accepted, so that nothing is reset, and closes the listeners; the
    /// path of a UNIX socket is removed.
    fn close_listeners(&mut self) {
        for listening in &mut self.listening {
            // New connections may go on coming; those that waited are among the first `backlog`, or
            // among the most that the kernel lets wait.
            let mut left = self.backlog.min(QUEUE_MAX);
            while left > 0 && listening.listener.pause().is_none() {
                let before = left;
                for accepted in listening.listener.accept_batch() {
                    left = left.saturating_sub(1);
                    self.clients.accept(accepted);
                }
                if left == before {
                    break;
                }
            }
        }
        self.accepted_before = self.accept_counters();
        self.listening.clear();
    }
}
