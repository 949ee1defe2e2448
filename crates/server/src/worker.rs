//! The loop: one reactor, its connections and one read buffer.

use crate::client::Client;
use crate::listening::Listening;
use crate::stats::{Stats, reason_name};
use epoll_echo::{Connection, Mode, Reason, Rules, Step};
use epoll_reactor::epoll_sys::Clock;
use epoll_reactor::net::{AcceptCounters, Accepted, Listener, Stream};
use epoll_reactor::{Counters, Reactor, Readiness, Ready, Token};
use std::io;
use std::time::{Duration, Instant};

/// What reads go to, in bytes. Reads of 16 KiB cost twice as much for each byte of a long stream.
const BUFFER_LEN: usize = 64 * 1024;

/// What the loop watches besides connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// The listener with this index.
    Accept(usize),
}

pub(crate) struct Worker {
    reactor: Reactor<Client, Service>,
    listening: Vec<Listening>,
    mode: Mode,
    rules: Rules,
    buffer: Box<[u8]>,
    connections: u64,
    connections_max: u64,
    /// When the first pause of a listener ends, if one pauses.
    resumes_at: Option<Instant>,
    pub(crate) stats: Stats,
}

impl Worker {
    pub(crate) fn new(
        listeners: Vec<Listener>,
        mode: Mode,
        rules: Rules,
        connections_max: u64,
    ) -> io::Result<Self> {
        let mut reactor = Reactor::new()?;
        let listening = listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| {
                Listening::start(listener, Service::Accept(index), &mut reactor)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            reactor,
            listening,
            mode,
            rules,
            buffer: vec![0; BUFFER_LEN].into(),
            connections: 0,
            connections_max,
            resumes_at: None,
            stats: Stats::default(),
        })
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listening.iter().map(|listening| &listening.listener)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.reactor.counters()
    }

    /// The counters of all listeners together.
    pub(crate) fn accept_counters(&self) -> AcceptCounters {
        self.listeners().map(Listener::counters).fold(AcceptCounters::default(), |sum, one| {
            AcceptCounters {
                accepted: sum.accepted + one.accepted,
                aborted: sum.aborted + one.aborted,
                shed: sum.shed + one.shed,
                pauses: sum.pauses + one.pauses,
            }
        })
    }

    /// Serves until the kernel refuses to.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            match self.resumes_at {
                None => self.reactor.wait(None)?,
                Some(end) => self.wait_and_resume(end)?,
            }
            self.turn()?;
        }
    }

    /// Waits while a listener pauses.
    #[cold]
    fn wait_and_resume(&mut self, end: Instant) -> io::Result<()> {
        self.reactor.wait_until(Some(end))?;
        for listening in &mut self.listening {
            listening.resume_if_due(&mut self.reactor)?;
        }
        self.resumes_at = self.listening.iter().filter_map(Listening::resumes_at).min();
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = Duration::ZERO;
        while let Some(ready) = self.reactor.next_ready() {
            match ready {
                Ready::Owned { token, source, readiness } => {
                    match source.connection.step(readiness, &self.rules, &mut self.buffer, now) {
                        Step::Wait => {}
                        Step::Watch(interest) => {
                            let interest = self.mode.interest(interest);
                            if let Err(error) = self.reactor.set_interest(token, interest) {
                                self.close(token, Reason::Failed(error.kind()));
                            }
                        }
                        // What it may read next may not be what it was reported for.
                        Step::Yield => drop(self.reactor.revisit(token, readiness | Readiness::IN)),
                        Step::Done(reason) => self.close(token, reason),
                    }
                }
                Ready::Watched { tag: Service::Accept(index), .. } => self.accept(index)?,
                Ready::Woken => {}
            }
        }
        Ok(())
    }

    #[cold]
    fn accept(&mut self, index: usize) -> io::Result<()> {
        let now = Clock::Monotonic.now();
        let listening = &mut self.listening[index];
        for Accepted { stream, peer } in listening.listener.accept_batch() {
            if self.connections == self.connections_max {
                self.stats.refused += 1;
                tracing::debug!(%peer, "connection refused: the limit is reached");
                continue;
            }
            let client = Client { connection: Connection::new(stream, &self.rules, now), peer };
            let watch = self.mode.watch(Connection::<Stream>::FIRST_INTEREST);
            match self.reactor.insert(client, watch) {
                Ok(_) => {
                    self.connections += 1;
                    self.stats.opened += 1;
                    tracing::debug!(%peer, "connection opened");
                }
                Err(failed) => {
                    self.stats.unwatched += 1;
                    tracing::warn!(%peer, error = %failed.error, "connection not watched");
                }
            }
        }
        if listening.pause_if_due(&mut self.reactor)? {
            self.resumes_at = self.listening.iter().filter_map(Listening::resumes_at).min();
        }
        Ok(())
    }

    #[cold]
    fn close(&mut self, token: Token, reason: Reason) {
        let Some(client) = self.reactor.get(token) else { return };
        let (received, sent) = (client.connection.received(), client.connection.sent());
        let reason_name = reason_name(reason);
        tracing::debug!(peer = %client.peer, received, sent, reason = reason_name, "connection closed");
        self.stats.closed(reason, received, sent);
        self.reactor.close(token);
        self.connections -= 1;
    }
}
