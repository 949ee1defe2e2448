//! A thread with a reactor of its own: listeners, timers and, unless threads share them, connections. The
//! first of these threads also acts on signals and decides on the drain.

use crate::Config;
use crate::client::Draining;
use crate::clients::{Clients, Timing};
use crate::common::Common;
use crate::connections::Connections;
use crate::listening::Listening;
use crate::signals;
use crate::stats::{Stats, ThreadStats};
use epoll_reactor::net::{AcceptCounters, Listener};
use epoll_reactor::{Counters, Ready};
use epoll_shutdown::{Drain, Phase, Signal};
use epoll_timers::{Timers, Timestamp};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// What the loop watches besides connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// The listener with this index.
    Accept(usize),
    /// Timers of connections.
    Timers,
    /// What the server itself wants to be reminded of.
    Reminders,
    /// Another thread has something to tell, or a signal has come.
    Woken,
}

pub(crate) struct Worker {
    index: usize,
    common: Arc<Common>,
    connections: Connections,
    clients: Clients,
    /// The ends of pauses, and of the drain.
    reminders: Timers<()>,
    listening: Vec<Listening>,
    /// The counters of listeners that are closed.
    accepted_before: AcceptCounters,
    is_draining: bool,
    /// The last roll call that it has answered.
    roll_calls: u64,
    /// Those of the threads that share its connections.
    partners: Vec<Arc<Mutex<Stats>>>,
}

/// What the first thread decides with.
pub(crate) struct Chair {
    pub(crate) drain: Drain,
}

/// A reactor that watches timers, for a worker.
pub(crate) struct Bench {
    pub(crate) connections: Connections,
    pub(crate) reminders: Timers<()>,
    pub(crate) timing: Arc<Mutex<Timing>>,
}

/// Through which connections come to a thread. It is closed when this is dropped, also by a panic: the
/// end would wait for it.
struct Door<'a>(&'a Common);

impl Drop for Door<'_> {
    fn drop(&mut self) {
        self.0.seats.close_door();
        self.0.tell_if_over();
    }
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        config: &Config,
        common: Arc<Common>,
        bench: Bench,
        listening: Vec<Listening>,
        partners: Vec<Arc<Mutex<Stats>>>,
    ) -> Self {
        let Bench { connections, reminders, timing } = bench;
        Self {
            index,
            clients: Clients::new(config, Arc::clone(&common), timing),
            common,
            connections,
            reminders,
            listening,
            accepted_before: AcceptCounters::default(),
            is_draining: false,
            roll_calls: 0,
            partners,
        }
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listening.iter().map(Listening::listener)
    }

    /// The counters of all its listeners together.
    fn accept_counters(&self) -> AcceptCounters {
        let counters = self.listeners().map(Listener::counters);
        counters.fold(self.accepted_before, |sum, one| sum + one)
    }

    /// Serves until the drain is over. `chair` is the first thread's.
    pub(crate) fn run(&mut self, mut chair: Option<&mut Chair>) -> io::Result<()> {
        while !matches!(self.common.watch.phase(), Phase::Stopped { .. }) {
            let turn = AssertUnwindSafe(|| self.turn(chair.as_deref_mut()));
            match catch_unwind(turn) {
                Ok(done) => done?,
                Err(_) => self.bury(),
            }
        }
        Ok(())
    }

    /// Closes the connection whose handler has panicked. If even that panics, the thread lives on
    /// without having done it.
    fn bury(&mut self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.clients.bury(&mut self.connections)));
    }

    /// Serves up to the next report that is not about a connection, and attends to that.
    fn turn(&mut self, chair: Option<&mut Chair>) -> io::Result<()> {
        match self.serve_until_service()? {
            Service::Accept(index) => self.accept(index),
            Service::Timers => self.clients.expire(&mut self.connections),
            Service::Reminders => self.heed_time(chair),
            Service::Woken => self.heed_others(chair),
        }
    }

    /// The usual way of the whole server is in here, on its own, where the compiler sees nothing else.
    #[inline(never)]
    fn serve_until_service(&mut self) -> io::Result<Service> {
        let Self { connections, clients, .. } = self;
        loop {
            let now = clients.now();
            while let Some(ready) = connections.own.next_ready() {
                match ready {
                    Ready::Owned { source, readiness, .. } => {
                        if let Some(rest) = source.begin_step(readiness, &mut clients.thread, now) {
                            clients.finish_own(&mut connections.own, rest, readiness, now);
                        }
                    }
                    Ready::Watched { tag, .. } => return Ok(tag),
                    Ready::Woken => return Ok(Service::Woken),
                }
            }
            connections.own.wait(None)?;
        }
    }

    #[cold]
    fn accept(&mut self, index: usize) -> io::Result<()> {
        // A report may be left of a listener that is closed.
        let Some(listening) = self.listening.get_mut(index) else { return Ok(()) };
        for accepted in listening.accept_batch() {
            self.clients.accept(accepted, &mut self.connections);
        }
        match listening.after_batch(&mut self.connections.own)? {
            Some(pause) => self.remind_at(Timestamp::now() + pause),
            None => Ok(()),
        }
    }

    fn remind_at(&mut self, time: Timestamp) -> io::Result<()> {
        self.reminders.insert(time, ()).map(drop)
    }

    /// A pause, or the drain, may be over.
    fn heed_time(&mut self, chair: Option<&mut Chair>) -> io::Result<()> {
        let now = Timestamp::now();
        while self.reminders.next_due(now)?.is_some() {}
        let mut pauses = Vec::new();
        for listening in &mut self.listening {
            pauses.extend(listening.resume_if_due(&mut self.connections.own)?);
        }
        for pause in pauses {
            // Counted from here: a reminder before the end of the pause would be the last one.
            self.remind_at(Timestamp::now() + pause)?;
        }
        if let Some(chair) = chair {
            chair.drain.expire(now);
            self.common.watch.set(chair.drain.phase());
        }
        Ok(())
    }

    fn heed_signals(&mut self, chair: &mut Chair) -> io::Result<()> {
        for signal in self.common.signals.take() {
            if signals::is_ending(signal) {
                self.heed_end(chair, signal)?;
            } else {
                tracing::info!(%signal, "logging the counters");
                self.common.call_roll();
            }
        }
        Ok(())
    }

    fn heed_end(&mut self, chair: &mut Chair, signal: Signal) -> io::Result<()> {
        match chair.drain.on_signal(signal, Timestamp::now()) {
            Some(Phase::Draining { since, deadline, .. }) => {
                tracing::info!(%signal, "draining");
                let half_time = deadline.map(|deadline| since + (deadline - since) / 2);
                self.common.begin_to_drain(Draining { since, half_time });
                if let Some(deadline) = deadline {
                    self.remind_at(deadline)?;
                }
            }
            Some(_) => tracing::info!(%signal, "stopping at once"),
            None => {}
        }
        // The others are woken, and this thread too: it drains as they do.
        self.common.watch.set(chair.drain.phase());
        Ok(())
    }

    /// Another thread, or this one, has changed something that concerns all.
    fn heed_others(&mut self, mut chair: Option<&mut Chair>) -> io::Result<()> {
        if let Some(chair) = chair.as_deref_mut() {
            self.heed_signals(chair)?;
        }
        if self.common.is_called(&mut self.roll_calls) {
            self.answer();
        }
        let is_draining = matches!(self.common.watch.phase(), Phase::Draining { .. });
        if is_draining && !self.is_draining {
            self.is_draining = true;
            let common = Arc::clone(&self.common);
            let door = Door(&common);
            self.close_listeners();
            self.clients.drain(&mut self.connections);
            drop(door);
        }
        let Some(chair) = chair else { return Ok(()) };
        if self.common.seats.is_over() {
            chair.drain.finish();
            self.common.watch.set(chair.drain.phase());
        }
        Ok(())
    }

    /// Logs what this thread has done, and what all have, if the others have told already.
    fn answer(&mut self) {
        let (mut stats, unseen) = self.clients.stats_so_far(&mut self.connections);
        for partner in &self.partners {
            stats += partner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        tracing::info!(thread = self.index, reactor = ?self.connections.own.counters(),
            accept = ?self.accept_counters(), "counters");
        if let Some(shared) = &self.connections.shared {
            tracing::info!(reactor = ?shared.counters(), unseen, "counters of shared connections");
        }
        if let Some(sum) = self.common.answer(self.roll_calls, stats) {
            tracing::info!(open = self.common.seats.taken(), "open connections");
            sum.log("connections so far");
        }
    }

    /// Takes what waits to be accepted, so that nothing is reset, and closes the listeners; the
    /// path of a UNIX socket is removed.
    fn close_listeners(&mut self) {
        for listening in std::mem::take(&mut self.listening) {
            let mut closing = listening.close(&mut self.connections.own);
            for accepted in &mut closing {
                self.clients.accept(accepted, &mut self.connections);
            }
            self.accepted_before = self.accepted_before + closing.counters();
        }
    }

    /// Cuts what is left, and sums up. No thread shares connections with this one any more.
    pub(crate) fn end(mut self) -> ThreadStats {
        let accept = self.accept_counters();
        let own = self.connections.own.counters();
        // What is counted for all of them in common is put down to this thread.
        let in_common = self.connections.shared.as_ref().map(|shared| {
            let Counters { adds, mods, dels, .. } = shared.counters();
            Counters { adds, mods, dels, ..Counters::default() }
        });
        let cut = self.clients.cut(&mut self.connections);
        let stats = self.clients.stats().clone();
        let reactor = own + in_common.unwrap_or_default();
        ThreadStats { thread: self.index, stats, reactor, accept, cut }
    }
}
