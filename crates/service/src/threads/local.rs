//! A thread with a reactor of its own: listeners, timers and, unless threads share them, connections. The
//! first of these threads also acts on signals and decides on the drain.

use crate::Service;
use crate::acceptor::{Acceptors, BATCH_MAX};
use crate::control::Control;
use crate::drain::Coordinator;
use crate::handler::{Count, Handler, Parts, Turn};
use crate::headers::Headers;
use crate::measures::{Measures, Meter, TurnMeter, Unmeasured};
use crate::panics::catch;
use crate::signals;
use crate::stats::{COUNTERS_TARGET, Outcomes, ThreadStats, log_reactor};
use crate::store::{Event, LocalStore, SharedStore, Store};
use epoll_connection::StepRest;
use epoll_reactor::net::AcceptCounters;
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Counters, Readiness, Ready, Token};
use epoll_timers::{Timers, Timestamp};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A thread with a reactor of its own, before it is started.
pub(crate) struct LocalThread<S: Service, T> {
    pub(crate) index: usize,
    pub(crate) store: T,
    /// The ends of pauses, and of the drain.
    pub(crate) reminders: Timers<()>,
    /// The registration of `reminders`, which is revisited while a pass is under way.
    pub(crate) reminders_token: Token,
    pub(crate) acceptors: Acceptors,
    pub(crate) parts: Parts<S>,
    /// The outcomes of the threads that share its connections.
    pub(crate) pool_outcomes: Vec<Arc<Outcomes>>,
    /// The connections whose headers of the PROXY protocol are not complete, if connections have one.
    pub(crate) headers: Option<Headers>,
}

/// A thread with a reactor of its own.
pub(crate) struct LocalWorker<S: Service, T> {
    index: usize,
    control: Arc<Control>,
    store: T,
    handler: Handler<S>,
    reminders: Timers<()>,
    reminders_token: Token,
    acceptors: Acceptors,
    /// The counters of listeners that are closed.
    accepted_before: AcceptCounters,
    is_draining: bool,
    /// The last request for statistics that it has answered.
    stats_epoch: u64,
    /// The last change of settings that it has taken over.
    settings_epoch: u64,
    pool_outcomes: Vec<Arc<Outcomes>>,
    headers: Option<Headers>,
    measures: Option<Arc<Measures>>,
    meter: Option<TurnMeter>,
}

/// Guard held while a thread may still accept. Dropping it, also by a panic, tells the drain that this
/// thread accepts no more.
struct AcceptGuard<'a>(&'a Control);

impl Drop for AcceptGuard<'_> {
    fn drop(&mut self) {
        self.0.admission.stop_accepting();
        self.0.wake_first_if_drained();
    }
}

impl<S: Service, T: Serve<S>> LocalThread<S, T> {
    /// Begins to serve on the calling thread.
    pub(crate) fn start(self) -> LocalWorker<S, T> {
        LocalWorker {
            index: self.index,
            control: Arc::clone(&self.parts.control),
            handler: Handler::new(self.index, &self.parts),
            store: self.store,
            reminders: self.reminders,
            reminders_token: self.reminders_token,
            acceptors: self.acceptors,
            accepted_before: AcceptCounters::default(),
            is_draining: false,
            stats_epoch: 0,
            settings_epoch: 0,
            pool_outcomes: self.pool_outcomes,
            headers: self.headers,
            meter: self.parts.measures.clone().map(TurnMeter::new),
            measures: self.parts.measures,
        }
    }
}

impl<S: Service, T: Serve<S>> LocalWorker<S, T> {
    /// The counters of all its listeners together.
    fn accept_counters(&self) -> AcceptCounters {
        self.accepted_before + self.acceptors.counters()
    }

    /// Serves until the drain is over. The first thread has the coordinator.
    pub(crate) fn run(&mut self, mut coordinator: Option<&mut Coordinator>) -> io::Result<()> {
        if let Some(first) = coordinator.as_deref().and_then(Coordinator::first_beat) {
            self.remind_at(first)?;
        }
        while !self.control.drain.is_over() {
            let (store, handler) = (&mut self.store, &mut self.handler);
            // Chosen here, once: a loop that asked in every turn would cost those who measure nothing.
            let serve = || match &mut self.meter {
                None => store.serve_until_event(handler, Unmeasured),
                Some(meter) => store.serve_until_event(handler, meter),
            };
            let Some(event) = catch(serve) else {
                // This was about a report, or about what the connection that was reported forwards.
                let panicked = self.handler.take_current().or(self.store.panicked());
                self.handler.close_panicked(panicked, &mut self.store);
                continue;
            };
            let event = event?;
            match catch(|| self.on_event(event, coordinator.as_deref_mut())) {
                Some(done) => done?,
                // Whatever calls protocols here sees to it itself, so no connection has to do with this.
                None => self.handler.close_panicked(None, &mut self.store),
            }
            if self.handler.has_passes() {
                // The next turn does not sleep, and looks for what is ready before it comes to this.
                self.store.own().revisit(self.reminders_token, Readiness::IN);
            }
        }
        Ok(())
    }

    /// Handles an event that is not about a connection.
    fn on_event(&mut self, event: Event, coordinator: Option<&mut Coordinator>) -> io::Result<()> {
        let dates_the_rest = matches!(event, Event::Accept(_));
        let done = match event {
            Event::Accept(index) => self.on_acceptable(index),
            Event::Header(number) => self.on_header(number),
            Event::Timers => self.handler.expire(&mut self.store),
            Event::Reminders => self.on_reminder(coordinator),
            Event::Woken => self.on_wake(coordinator),
            Event::Requests => {
                self.handler.handle_requests(&mut self.store);
                if self.handler.has_requests() || self.handler.has_filed() {
                    // The loop asks for events only when there are no requests: connections that answer one
                    // another for ever would starve the others.
                    let mut meter = self.meter.as_mut();
                    let reactor = self.store.own();
                    meter.end_turn(|| reactor.counters().events);
                    reactor.wait(Some(Duration::ZERO))?;
                    meter.begin_turn();
                }
                Ok(())
            }
        };
        if !dates_the_rest {
            // What is left of the turn is later than its beginning.
            self.handler.thread.begin_turn(None);
        }
        done
    }

    #[cold]
    fn on_acceptable(&mut self, index: usize) -> io::Result<()> {
        // A report may be left of a listener that is closed.
        let Some(acceptor) = self.acceptors.own().get_mut(index) else { return Ok(()) };
        let mut permits = match self.control.accept_permits(BATCH_MAX) {
            Ok(permits) => permits,
            Err(pause) => {
                acceptor.pause(pause, self.store.own())?;
                return self.reminders.insert(Timestamp::now() + pause, ()).map(drop);
            }
        };
        // New connections are dated by the beginning of the batch, not by that of a turn that may have been long.
        self.handler.thread.begin_turn(None);
        let wait = self.store.own().counters().waits;
        let entry = acceptor.entry();
        let before = acceptor.counters();
        for accepted in acceptor.accept_batch(wait, permits.left()) {
            permits.use_one();
            self.handler.accept(entry, accepted, &mut self.store);
        }
        drop(permits);
        if let Some(measures) = &self.measures {
            measures.accept.add(before, acceptor.counters());
        }
        if let Some(pause) = acceptor.after_batch(self.store.own())? {
            self.remind_at(Timestamp::now() + pause)?;
        }
        // The call of a long function costs more than the look.
        if self.headers.is_some() { self.watch_headers() } else { Ok(()) }
    }

    /// Watches the connections that were accepted and whose headers have yet to come.
    fn watch_headers(&mut self) -> io::Result<()> {
        let Some(headers) = &mut self.headers else { return Ok(()) };
        for (headless, error) in headers.watch_queued(Timestamp::now, self.store.own()) {
            self.handler.drop_unwatched(headless, &error);
        }
        self.remind_of_headers()
    }

    fn remind_of_headers(&mut self) -> io::Result<()> {
        let half_time = self.control.drain.draining().and_then(|draining| draining.half_time);
        let headers = self.headers.as_mut();
        match headers.and_then(|headers| headers.next_reminder(half_time)) {
            Some(time) => self.remind_at(time),
            None => Ok(()),
        }
    }

    /// More of a header has come, or the end of its connection.
    #[cold]
    fn on_header(&mut self, number: usize) -> io::Result<()> {
        let Some(headers) = &mut self.headers else { return Ok(()) };
        if let Some((headless, outcome)) = headers.read(number, self.store.own()) {
            self.handler.finish_header(headless, outcome, &mut self.store);
        }
        Ok(())
    }

    /// Ends the connections whose headers are late.
    fn expire_headers(&mut self, now: Timestamp) -> io::Result<()> {
        let half_time = self.control.drain.draining().and_then(|draining| draining.half_time);
        while let Some(headers) = &mut self.headers {
            let late = headers.take_late(now, half_time, self.store.own());
            let Some((headless, outcome)) = late else { break };
            self.handler.finish_header(headless, outcome, &mut self.store);
        }
        self.remind_of_headers()
    }

    fn remind_at(&mut self, time: Timestamp) -> io::Result<()> {
        self.reminders.insert(time, ()).map(drop)
    }

    /// A pass goes on, or a pause, or the drain, may be over.
    fn on_reminder(&mut self, coordinator: Option<&mut Coordinator>) -> io::Result<()> {
        let now = Timestamp::now();
        while self.reminders.next_due(now)?.is_some() {}
        self.resume_listeners()?;
        if let Some(coordinator) = coordinator {
            if let Some(deadline) = coordinator.expire(now, &self.control.drain) {
                self.remind_at(deadline)?;
            }
            if let Some(next) = coordinator.beat(now) {
                self.remind_at(next)?;
            }
        }
        self.expire_headers(now)?;
        // Last: if they panic, the timers have been read, whose edge is not reported again.
        self.handler.advance_passes(&mut self.store);
        self.count_next();
        Ok(())
    }

    /// Watches the listeners again whose pauses are over.
    fn resume_listeners(&mut self) -> io::Result<()> {
        for pause in self.acceptors.resume_due(&mut self.store)? {
            // Counted from here: a reminder before the end of the pause would be the last one.
            self.remind_at(Timestamp::now() + pause)?;
        }
        Ok(())
    }

    fn on_signals(&mut self, coordinator: &mut Coordinator) -> io::Result<()> {
        for signal in self.control.signals.take() {
            if self.control.begins_drain(signal) {
                if !signals::is_ending(signal) {
                    coordinator.stop_beating();
                }
                // They may have changed since the server was started.
                coordinator.set_times(self.control.drain_times());
                if let Some(deadline) = coordinator.on_signal(signal, &self.control.drain) {
                    self.remind_at(deadline)?;
                }
            } else {
                tracing::info!(target: COUNTERS_TARGET, %signal, "logging the counters");
                self.control.request_stats();
            }
        }
        Ok(())
    }

    /// Another thread, or this one, has changed something that concerns all, or has sent mail.
    fn on_wake(&mut self, coordinator: Option<&mut Coordinator>) -> io::Result<()> {
        if self.control.has_new_settings(&mut self.settings_epoch) {
            self.handler.begin_adjusting(&mut self.store);
            if let Some(headers) = &mut self.headers {
                headers.set_timeout(self.control.header_timeout());
            }
        }
        if !self.handler.is_counting() {
            self.begin_count();
            self.count_next();
        }
        if self.control.drain.is_draining() && !self.is_draining {
            self.begin_drain();
        }
        // Where threads share connections, they hand them over. A drain, or another timeout, has moved deadlines.
        self.watch_headers()?;
        if self.store.shared().is_some() {
            // A thread that accepts may have begun a pause.
            self.resume_listeners()?;
        }
        self.handler.deliver_mail(&mut self.store);
        let Some(coordinator) = coordinator else { return Ok(()) };
        self.on_signals(coordinator)?;
        if self.control.admission.is_drained() {
            coordinator.finish(&self.control.drain);
        }
        Ok(())
    }

    /// Accepts for the last time, and tells the connections.
    fn begin_drain(&mut self) {
        self.is_draining = true;
        let control = Arc::clone(&self.control);
        let guard = AcceptGuard(&control);
        self.close_listeners();
        self.handler.begin_drain(&mut self.store);
        drop(guard);
    }

    /// Begins to count what connections have received and sent, if that is requested and no count is under way.
    fn begin_count(&mut self) {
        if self.handler.is_counting() || !self.control.is_stats_requested(&mut self.stats_epoch) {
            return;
        }
        let mut closed = self.handler.stats();
        for of_thread in &self.pool_outcomes {
            closed += of_thread.stats(S::FINISHED);
        }
        self.handler.begin_count(closed, &self.store);
    }

    /// Goes on with a count that is under way, and reports it when it is over.
    fn count_next(&mut self) {
        if let Some(count) = self.handler.count_next(&mut self.store) {
            self.report_stats(count);
            // The wake for a request that came meanwhile is gone.
            self.begin_count();
        }
    }

    /// Logs the counters of this thread, and the sums of all if the others have reported already.
    fn report_stats(&mut self, Count { stats, unseen, .. }: Count) {
        let (accept, reactor) = (self.accept_counters(), self.store.own().counters());
        log_reactor("counters", &reactor, Some(self.index), Some(accept), None);
        let shared = self.store.shared().map(SharedReactor::counters);
        if let Some(shared) = &shared {
            let what = "counters of shared connections";
            log_reactor(what, shared, None, None, Some(unseen));
        }
        let reactor = reactor + shared.unwrap_or_default();
        let stats = ThreadStats { thread: self.index, stats, reactor, accept, cut: 0 };
        if let Some(sum) = self.control.submit_stats(stats) {
            let open = self.control.admission.in_use();
            tracing::info!(target: COUNTERS_TARGET, open, "open connections");
            sum.stats.log("connections so far");
        }
    }

    /// Takes what waits to be accepted, so that nothing is reset, and closes the listeners; the
    /// path of a UNIX socket is removed. What has been handed over is left to the other process.
    fn close_listeners(&mut self) {
        for (entry, mut closing) in self.acceptors.close(&mut self.store) {
            let before = closing.counters();
            if !self.control.is_handed_over(entry) {
                for accepted in &mut closing {
                    self.handler.accept(entry, accepted, &mut self.store);
                }
            }
            if let Some(measures) = &self.measures {
                measures.accept.add(before, closing.counters());
            }
            self.accepted_before = self.accepted_before + closing.counters();
        }
    }

    /// Cuts what is left, and sums up. No thread shares connections with this one any more.
    pub(crate) fn end(mut self) -> ThreadStats {
        let accept = self.accept_counters();
        let own = self.store.own().counters();
        // What is counted for all threads that share connections is put down to this one.
        let in_common = self.store.shared().map(|shared| {
            let Counters { adds, mods, dels, .. } = shared.counters();
            Counters { adds, mods, dels, ..Counters::default() }
        });
        let headless = self.headers.map_or(0, |headers| headers.len() as u64);
        let cut = self.handler.cut(self.store) + headless;
        let stats = self.handler.stats();
        let reactor = own + in_common.unwrap_or_default();
        ThreadStats { thread: self.index, stats, reactor, accept, cut }
    }
}

/// The loop of a thread, up to the next event that is not about a connection.
pub(crate) trait Serve<S: Service>: Store<S::Protocol> {
    fn serve_until_event<M: Meter>(
        &mut self,
        handler: &mut Handler<S>,
        meter: M,
    ) -> io::Result<Event>;
}

impl<S: Service> Serve<S> for LocalStore<S::Protocol> {
    /// The hot path, kept out of line so that cold code does not affect how it is compiled.
    #[inline(never)]
    fn serve_until_event<M: Meter>(
        &mut self,
        handler: &mut Handler<S>,
        mut meter: M,
    ) -> io::Result<Event> {
        let mut now = handler.now_in_turn();
        loop {
            while let Some(ready) = self.reactor.next_ready() {
                let event = match ready {
                    Ready::Owned { source, readiness, .. } => {
                        if let Some(rest) = source.begin_step(readiness, &mut handler.thread, now) {
                            finish_step(self, handler, rest, readiness, now);
                        }
                        continue;
                    }
                    Ready::Watched { tag, .. } => tag,
                    Ready::Woken => Event::Woken,
                };
                handler.begin_turn(Turn { number: self.reactor.counters().waits, now });
                return Ok(event);
            }
            if handler.has_requests() {
                return Ok(Event::Requests);
            }
            meter.end_turn(|| self.reactor.counters().events);
            self.reactor.wait(None)?;
            meter.begin_turn();
            now = handler.now();
        }
    }
}

/// Finishes the step of the connection that was reported last.
// Its token is asked for here, so that the hot path does not keep it.
#[cold]
#[inline(never)]
fn finish_step<S: Service>(
    store: &mut LocalStore<S::Protocol>,
    handler: &mut Handler<S>,
    rest: StepRest,
    readiness: Readiness,
    now: Timestamp,
) {
    let turn = Turn { number: store.reactor.counters().waits, now };
    if let Some(entry) = store.reactor.last_reported().and_then(|token| store.reactor.entry(token))
    {
        handler.finish_step(entry, rest, readiness, turn);
    }
    if handler.thread.has_forward() {
        handler.forward(store);
    }
}

impl<S: Service> Serve<S> for SharedStore<S::Protocol> {
    fn serve_until_event<M: Meter>(
        &mut self,
        handler: &mut Handler<S>,
        mut meter: M,
    ) -> io::Result<Event> {
        loop {
            while let Some(ready) = self.reactor.next_ready() {
                match ready {
                    Ready::Watched { tag, .. } => return Ok(tag),
                    Ready::Woken => return Ok(Event::Woken),
                    Ready::Owned { .. } => {}
                }
            }
            if handler.has_filed() {
                return Ok(Event::Requests);
            }
            meter.end_turn(|| self.reactor.counters().events);
            self.reactor.wait(None)?;
            meter.begin_turn();
        }
    }
}
