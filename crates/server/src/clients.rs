//! All connections of a worker: the reactor that owns them, their timers, and what happens to one
//! when it is ready or its time has come.

use crate::client::{Client, Draining, Due, Queue};
use crate::stats::{Closed, Stats};
use crate::worker::Service;
use crate::{Config, Timeouts};
use epoll_echo::{Awaits, Connection, Mode, Rules, Step};
use epoll_reactor::net::{Accepted, Stream};
use epoll_reactor::{Reactor, Readiness, Ready, Token};
use epoll_timers::{Clock, Timers, Timestamp};
use std::collections::HashMap;
use std::io;

/// What reads go to, in bytes. Reads of 16 KiB cost twice as much for each byte of a long stream.
const BUFFER_LEN: usize = 64 * 1024;
/// How many timers a pass may touch before the loop looks after its connections again.
const TIMER_STEPS_MAX: usize = 1024;

pub(crate) struct Clients {
    pub(crate) reactor: Reactor<Client, Service>,
    timers: Timers<Token>,
    mode: Mode,
    rules: Rules,
    timeouts: Timeouts,
    draining: Option<Draining>,
    /// Whether activity has to be dated.
    is_timed: bool,
    buffer: Box<[u8; BUFFER_LEN]>,
    count: u64,
    count_max: u64,
    /// Of connections that wait for room, those that were looked at.
    queues: HashMap<Token, Queue>,
    /// What a pass over the timers has found due.
    due: Vec<(Token, Due)>,
    pub(crate) stats: Stats,
}

impl Clients {
    pub(crate) fn new(config: &Config, count_max: u64) -> io::Result<Self> {
        let Timeouts { idle, write, linger, drain: _ } = config.timeouts;
        let mut reactor = Reactor::new()?;
        let timers = Timers::new()?;
        let watch = epoll_reactor::Watch::edge(epoll_reactor::Interest::IN);
        reactor.watch(&timers, Service::Timers, watch)?;
        Ok(Self {
            reactor,
            timers,
            mode: config.mode,
            rules: Rules { quit_word: config.quit_word.clone(), ..Rules::default() },
            timeouts: config.timeouts,
            draining: None,
            is_timed: idle.or(write).or(linger).is_some(),
            buffer: Box::new([0; BUFFER_LEN]),
            count: 0,
            count_max,
            queues: HashMap::new(),
            due: Vec::with_capacity(TIMER_STEPS_MAX),
            stats: Stats::default(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Logs what has become of all connections so far, those that are open included.
    pub(crate) fn log(&self) {
        let mut stats = self.stats.clone();
        for (_, client) in self.reactor.iter() {
            stats.received += client.connection.received();
            stats.sent += client.connection.sent();
        }
        tracing::info!(open = self.count, "open connections");
        stats.log("connections so far");
    }

    /// The time to date activity with, if anybody will ask.
    #[inline]
    fn now(&self) -> Timestamp {
        if self.is_timed { Clock::Monotonic.now() } else { Timestamp::EPOCH }
    }

    /// Turn after turn, until there is a report that is not about a connection. The usual way of
    /// the whole server is in here, on its own, where the compiler sees nothing else.
    #[inline(never)]
    pub(crate) fn serve_until_service(&mut self) -> io::Result<Service> {
        loop {
            let now = self.now();
            if let Some(service) = self.serve(now) {
                return Ok(service);
            }
            self.reactor.wait(None)?;
        }
    }

    /// The rest of a turn, up to the first report that is not about a connection.
    #[cold]
    #[inline(never)]
    pub(crate) fn serve_turn(&mut self) -> Option<Service> {
        let now = self.now();
        self.serve(now)
    }

    /// The reports of a turn, up to the first that is not about a connection.
    #[inline(always)]
    fn serve(&mut self, now: Timestamp) -> Option<Service> {
        while let Some(ready) = self.reactor.next_ready() {
            match ready {
                Ready::Owned { token, source, readiness } => {
                    match source.connection.step(readiness, &self.rules, &mut self.buffer[..], now)
                    {
                        Step::Wait => {}
                        step => self.obey(token, step, readiness),
                    }
                }
                Ready::Watched { tag, .. } => return Some(tag),
                Ready::Woken => {}
            }
        }
        None
    }

    /// Does what a connection has asked for.
    #[cold]
    fn obey(&mut self, token: Token, step: Step, readiness: Readiness) {
        match step {
            Step::Wait => {}
            Step::Watch(interest) => self.watch(token, interest),
            Step::Yield => self.come_back(token, readiness),
            Step::Linger => {
                self.watch(token, Connection::<Stream>::FIRST_INTEREST);
                self.come_back(token, readiness);
            }
            Step::Done(reason) => self.close(token, Closed::Over(reason)),
        }
    }

    fn come_back(&mut self, token: Token, readiness: Readiness) {
        // What it reads next may not be what it was reported for.
        self.reactor.revisit(token, readiness | Readiness::IN);
    }

    /// Changes what a connection is watched for, and the timeout that goes with it.
    fn watch(&mut self, token: Token, wanted: epoll_reactor::Interest) {
        match self.reactor.set_interest(token, self.mode.interest(wanted)) {
            Ok(()) => self.set_timer(token),
            Err(error) => {
                tracing::warn!(%error, "connection not watched any more");
                self.close(token, Closed::Unwatched);
            }
        }
    }

    /// Sets a connection's timer for what will be due next.
    fn set_timer(&mut self, token: Token) {
        let Some(client) = self.reactor.get_mut(token) else { return };
        let queue = self.queues.get(&token).copied();
        let Some((deadline, _)) = client.due(&self.timeouts, self.draining, queue) else { return };
        let set = match client.timer {
            Some(key) => self.timers.reschedule(key, deadline).map(drop),
            None => self.timers.insert(deadline, token).map(|key| client.timer = Some(key)),
        };
        if let Err(error) = set {
            tracing::error!(%error, "timer not set");
        }
    }

    pub(crate) fn accept(&mut self, accepted: Accepted) {
        let Accepted { stream, peer } = accepted;
        if self.count == self.count_max {
            self.stats.refused += 1;
            tracing::debug!(%peer, "connection refused: the limit is reached");
            return;
        }
        let now = Clock::Monotonic.now();
        let connection = Connection::new(stream, &self.rules, now);
        let client = Client { connection, peer, timer: None };
        let watch = self.mode.watch(Connection::<Stream>::FIRST_INTEREST);
        match self.reactor.insert(client, watch) {
            Ok(token) => {
                self.count += 1;
                self.stats.opened += 1;
                tracing::debug!(%peer, "connection opened");
                self.set_timer(token);
            }
            Err(failed) => {
                self.stats.unwatched += 1;
                tracing::warn!(%peer, error = %failed.error, "connection not watched");
            }
        }
    }

    /// The timers' descriptor was reported.
    pub(crate) fn expire(&mut self) -> io::Result<()> {
        let now = Clock::Monotonic.now();
        let Self { timers, reactor, timeouts, draining, queues, due, .. } = self;
        // A pass that is not complete leaves the descriptor readable: the next turn goes on.
        let _ = timers.expire(now, TIMER_STEPS_MAX, |timers, key| {
            let token = *timers.get(key)?;
            let client = reactor.get_mut(token)?;
            let next = client.due(timeouts, *draining, queues.get(&token).copied());
            match next {
                Some((deadline, _)) if deadline > now => return Some(deadline),
                Some((_, what)) => due.push((token, what)),
                None => {}
            }
            client.timer = None;
            None
        })?;
        let mut due = std::mem::take(&mut self.due);
        for (token, what) in due.drain(..) {
            self.act(token, what, now);
        }
        self.due = due;
        Ok(())
    }

    fn act(&mut self, token: Token, what: Due, now: Timestamp) {
        let Some(client) = self.reactor.get_mut(token) else { return };
        let connection = &mut client.connection;
        let step = match what {
            Due::Close(_) | Due::Look => return self.look(token, now),
            Due::Finish => connection.finish(&self.rules, &mut self.buffer[..], now),
            Due::End => connection.end(now),
        };
        self.obey(token, step, Readiness::IN);
        self.set_timer(token);
    }

    /// Closes a connection whose time is over, unless it turns out that there is something to do:
    /// after a stop, or a long turn, the timer may be reported before bytes that came earlier.
    fn look(&mut self, token: Token, now: Timestamp) {
        let Some(client) = self.reactor.get_mut(token) else { return };
        // Nothing is known of the end, so it is looked for.
        let readiness = Readiness::IN | Readiness::OUT | Readiness::RDHUP;
        let step = client.connection.step(readiness, &self.rules, &mut self.buffer[..], now);
        self.obey(token, step, readiness);
        let Some(client) = self.reactor.get(token) else { return };
        if client.connection.awaits() == Awaits::Room && self.is_stalled(token, now) {
            return self.close(token, Closed::Stalled);
        }
        let Some(client) = self.reactor.get(token) else { return };
        let queue = self.queues.get(&token).copied();
        match client.due(&self.timeouts, self.draining, queue) {
            Some((deadline, Due::Close(closed))) if deadline <= now => self.close(token, closed),
            _ => self.set_timer(token),
        }
    }

    /// Whether the peer has taken nothing for as long as it may.
    fn is_stalled(&mut self, token: Token, now: Timestamp) -> bool {
        let Some(client) = self.reactor.get(token) else { return false };
        let Some(limit) = self.timeouts.write else { return false };
        // An error is the socket's, and the next write will tell.
        let unsent = client.connection.transport().unsent().unwrap_or(0);
        let since = client.connection.since();
        let before = self.queues.get(&token).filter(|queue| queue.since > since);
        let moved = match before {
            Some(queue) if unsent >= queue.unsent => queue.since,
            _ => now,
        };
        self.queues.insert(token, Queue { since: moved, looked: now, unsent });
        now - moved >= limit
    }

    /// From now on connections that are quiet are finished, and all are ended at half time.
    pub(crate) fn drain(&mut self, draining: Draining) {
        self.draining = Some(draining);
        self.is_timed = true;
        let tokens: Vec<_> = self.reactor.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.set_timer(token));
    }

    /// Closes every connection that is left; their number.
    pub(crate) fn cut(&mut self) -> u64 {
        let tokens: Vec<_> = self.reactor.iter().map(|(token, _)| token).collect();
        for &token in &tokens {
            self.close(token, Closed::Cut);
        }
        tokens.len() as u64
    }

    #[cold]
    fn close(&mut self, token: Token, closed: Closed) {
        let Some(client) = self.reactor.get_mut(token) else { return };
        let connection = &client.connection;
        let (received, sent) = (connection.received(), connection.sent());
        let lived_s = (Clock::Monotonic.now() - connection.began()).as_secs();
        let reason = closed.name();
        tracing::debug!(peer = %client.peer, received, sent, lived_s, reason, "connection closed");
        if closed == Closed::Stalled {
            // What waits in the socket would keep the kernel busy for minutes; it is discarded.
            if let Err(error) = connection.transport().reset_on_close() {
                tracing::debug!(%error, "connection not reset");
            }
        }
        if let Some(key) = client.timer {
            self.timers.cancel(key);
        }
        self.queues.remove(&token);
        self.stats.closed(closed, received, sent, lived_s);
        self.reactor.close(token);
        self.count -= 1;
    }
}
