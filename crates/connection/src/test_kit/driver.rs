//! The actions of a service on one connection.

use super::observed::Observed;
use super::wire::{Act, SharedWire, Wire};
use crate::{
    Awaits, Clocks, CloseReason, Connection, Forward, Limits, Protocol, Request, Step, ThreadState,
};
use epoll_reactor::epoll_sys::{ClockTime, Timestamp};
use epoll_reactor::{Interest, Readiness, Token};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// More turns than a script needs: beyond it the connection spins.
const TURNS_MAX: usize = 10_000;

/// The trigger by which the driver watches the connection. One-shot is level, armed anew after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Reports for as long as there is something of the connection's interest.
    Level,
    /// Reports once for each arrival, and for room after the transport was full.
    Edge,
}

/// A connection over a scripted transport.
type Scripted<P> = Connection<Observed<P>, SharedWire>;

/// One connection of `P` over a scripted transport, with the actions of a service on it.
///
/// At first nothing is sent: there is no [room](Act::Room). The monotonic clock begins at
/// [`Timestamp::EPOCH`] and moves by [`pass_time`](Self::pass_time) alone; the wall clock stands at its epoch.
///
/// Every method panics where something does not hold that has to hold for all protocols.
///
/// # Examples
///
/// See [the kit's page](crate::test_kit).
pub struct Driver<P: Protocol> {
    wire: SharedWire,
    connection: Scripted<P>,
    thread: ThreadState<Observed<P>>,
    trigger: Trigger,
    pipe: Option<VecDeque<u8>>,
    registered: Option<Interest>,
    interest_changes: usize,
    turns: usize,
    awaits: Awaits,
    revisit: Readiness,
    now: Timestamp,
    /// The time at which the owner's timer fires.
    timer: Option<Timestamp>,
    timer_changes: usize,
    closed: Option<CloseReason>,
    /// The number of sent bytes that are known to be those that were written.
    checked: Cell<usize>,
    /// The bytes that were forwarded, and where to.
    forwarded: Vec<(Token, Vec<u8>)>,
    /// The number of bytes that their receiver takes before they wait.
    receiver_room: usize,
}

impl<P: Protocol> Driver<P> {
    /// Opens a connection with the default limits.
    #[track_caller]
    pub fn new(trigger: Trigger, protocol: P, local: P::Local) -> Self {
        Self::with_limits(trigger, protocol, local, Limits::default())
    }

    /// Opens a connection.
    #[track_caller]
    pub fn with_limits(trigger: Trigger, protocol: P, local: P::Local, limits: Limits) -> Self {
        let wire = SharedWire::default();
        let protocol = Observed::new(protocol, wire.clone());
        let connection = Connection::new(protocol, wire.clone());
        let mut driver = Self::of(connection, wire, trigger, local, limits);
        let step = driver.connection.open(driver.token(), &mut driver.thread);
        driver.apply(step, Readiness::empty());
        driver.settle();
        driver
    }

    /// Begins an outgoing connection, which is not established, with the default limits.
    pub fn connecting(trigger: Trigger, protocol: P, local: P::Local) -> Self {
        let wire = SharedWire::default();
        let protocol = Observed::new(protocol, wire.clone());
        wire.borrow().is_connecting = true;
        let connection = Connection::connecting(protocol, wire.clone());
        Self::of(connection, wire, trigger, local, Limits::default())
    }

    fn of(
        connection: Scripted<P>,
        wire: SharedWire,
        trigger: Trigger,
        local: P::Local,
        limits: Limits,
    ) -> Self {
        let clocks = Clocks { monotonic: || Timestamp::EPOCH, realtime: || ClockTime::EPOCH };
        Self {
            wire,
            registered: watched(trigger, connection.interest()),
            awaits: connection.awaits(),
            connection,
            thread: ThreadState::new(0, local, limits, clocks),
            trigger,
            pipe: None,
            revisit: Readiness::empty(),
            now: Timestamp::EPOCH,
            interest_changes: 0,
            turns: 0,
            timer: None,
            timer_changes: 0,
            closed: None,
            checked: Cell::new(0),
            forwarded: Vec::new(),
            receiver_room: usize::MAX,
        }
    }

    /// Gives the connection a pipe that takes `piece_max` bytes at once; zero is a transport that cannot be
    /// spliced.
    #[must_use]
    pub fn with_pipe(mut self, piece_max: usize) -> Self {
        self.wire.borrow().piece_max = piece_max;
        self.pipe = Some(VecDeque::new());
        self
    }

    /// Lets something happen, then reports it until there is nothing to do.
    #[track_caller]
    pub fn act(&mut self, act: Act) {
        self.prepare(act);
        self.settle();
    }

    /// Lets something happen that is reported with the next act.
    pub fn prepare(&mut self, act: Act) {
        self.wire.borrow().act(act);
    }

    /// Lets things happen during the steps to come, one before each read or write.
    pub fn act_during(&mut self, acts: impl IntoIterator<Item = Act>) {
        self.wire.borrow().during.extend(acts);
    }

    /// Establishes an outgoing connection, or has it fail.
    #[track_caller]
    pub fn connect(&mut self, outcome: std::io::Result<()>) {
        {
            let mut wire = self.wire.borrow();
            wire.is_connecting = false;
            wire.refusal = outcome.err();
        }
        self.turn(Readiness::OUT);
        self.settle();
    }

    /// Gives the connection messages, in one turn.
    #[track_caller]
    pub fn message(&mut self, messages: &[P::Message]) {
        if self.closed.is_some() {
            return;
        }
        let (token, mut settles) = (self.token(), false);
        self.thread.begin_turn(Some(self.now));
        for message in messages {
            settles |= self.connection.message(message, token, &mut self.thread);
        }
        if settles {
            let step = self.connection.settle(token, &mut self.thread);
            self.apply(step, Readiness::IN);
        }
        self.settle();
    }

    /// Lets time pass, and the deadline with it if it comes before the end of that time.
    #[track_caller]
    pub fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        // Like the timer of a service: it fires, and is set again if the deadline has moved meanwhile.
        while self.closed.is_none() && self.timer.is_some_and(|timer| timer <= self.now) {
            self.timer = None;
            match self.connection.deadline() {
                Some(deadline) if deadline <= self.now => {
                    self.thread.begin_turn(Some(self.now));
                    let step = self.connection.expire(self.token(), &mut self.thread);
                    self.apply(step, Readiness::IN);
                }
                Some(deadline) => self.set_timer(deadline),
                None => self.connection.set_timer_time(None),
            }
        }
        self.settle();
    }

    /// Changes the limits, as an owner does while the connection is open.
    #[track_caller]
    pub fn change_limits(&mut self, change: impl FnOnce(&mut Limits)) {
        change(self.thread.limits_mut());
        self.thread.begin_turn(Some(self.now));
        self.connection.apply_limits(&mut self.thread);
        if let Some(deadline) = self.connection.deadline() {
            self.set_timer(deadline);
        }
        self.pass_time(Duration::ZERO);
    }

    /// Tells the connection that the service drains.
    #[track_caller]
    pub fn drain(&mut self) {
        self.owner(Connection::drain);
    }

    /// Ends the connection as soon as the transport is dry.
    #[track_caller]
    pub fn finish(&mut self) {
        self.owner(Connection::finish);
    }

    /// Ends the connection as soon as everything is sent.
    #[track_caller]
    pub fn end(&mut self) {
        self.owner(Connection::end);
    }

    #[track_caller]
    fn owner(
        &mut self,
        call: impl FnOnce(&mut Scripted<P>, Token, &mut ThreadState<Observed<P>>) -> Step,
    ) {
        if self.closed.is_some() {
            return;
        }
        let token = self.token();
        self.thread.begin_turn(Some(self.now));
        let step = call(&mut self.connection, token, &mut self.thread);
        self.apply(step, Readiness::IN);
        self.settle();
    }

    /// Ends well: what was to happen during steps happens, there is room for everything, and the peer
    /// closes its half.
    #[track_caller]
    pub fn end_well(&mut self) {
        let late = std::mem::take(&mut self.wire.borrow().during);
        late.into_iter().for_each(|act| self.prepare(act));
        self.act(Act::Room(1 << 24));
        self.act(Act::Fin);
    }

    /// Returns why the connection is over, once it is.
    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Returns everything that was sent.
    pub fn sent(&self) -> Vec<u8> {
        self.wire.borrow().sent.clone()
    }

    /// Returns everything that has arrived.
    pub fn arrived(&self) -> Vec<u8> {
        self.wire.borrow().arrived.clone()
    }

    /// Returns the number of reads and writes.
    pub fn calls(&self) -> usize {
        self.wire.borrow().calls
    }

    /// Returns the number of bytes that went through the pipe.
    pub fn piped(&self) -> usize {
        self.wire.borrow().piped
    }

    /// Returns the number of bytes that have arrived and are not read.
    pub fn unread(&self) -> usize {
        self.wire.borrow().unread()
    }

    /// Returns whether our half is closed.
    pub fn is_output_closed(&self) -> bool {
        self.wire.borrow().is_output_closed
    }

    /// Returns the interest that is registered; `None` while the connection is parked.
    pub fn registered(&self) -> Option<Interest> {
        self.registered
    }

    /// Returns whether nothing is pending, in either direction, so that the next step is the usual one.
    pub fn is_at_rest(&self) -> bool {
        self.connection.is_at_rest()
    }

    /// Returns the number of changes of the registered interest.
    pub fn interest_changes(&self) -> usize {
        self.interest_changes
    }

    /// Returns how many steps were made for reports and for [`Step::Yield`].
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// Returns the number of times that a timer was set for a deadline.
    pub fn timer_changes(&self) -> usize {
        self.timer_changes
    }

    /// Returns the event that the connection waits for.
    pub fn awaits(&self) -> Awaits {
        self.connection.awaits()
    }

    /// Returns the protocol.
    pub fn protocol(&self) -> &P {
        &self.connection.protocol().protocol
    }

    /// Returns the state of the thread.
    pub fn local(&mut self) -> &mut P::Local {
        &mut self.thread.local
    }

    /// Takes the requests of the protocol to the service.
    pub fn take_requests(&mut self) -> Vec<Request<P::Message>> {
        let mut requests = Vec::new();
        self.thread.swap_requests(&mut requests);
        requests
    }

    /// Returns the counts of the connection: received, sent, waiting to be sent, kept.
    pub fn counts(&self) -> (u64, u64, usize, usize) {
        let connection = &self.connection;
        (connection.received(), connection.sent(), connection.pending(), connection.kept())
    }

    /// Returns whether the connection waits for a message or a deadline rather than for its peer.
    pub fn is_paused(&self) -> bool {
        self.connection.is_paused()
    }

    /// Returns whether a drain has to wait for the connection, however quiet it is.
    pub fn is_busy(&self) -> bool {
        self.connection.is_busy()
    }

    fn token(&self) -> Token {
        Token::detached(0)
    }

    /// Turns until there is nothing to do, then checks what has to hold.
    #[track_caller]
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.closed.is_some() {
                return self.check();
            }
            let is_edge = self.trigger == Trigger::Edge;
            let mut wire = self.wire.borrow();
            let report = self.registered.map(|interest| wire.report(is_edge, interest));
            drop(wire);
            let report = report.unwrap_or_default();
            let readiness = report | std::mem::take(&mut self.revisit);
            if !readiness.is_empty() {
                self.turn(readiness);
            } else if !self.end_turn() {
                return self.check();
            }
        }
        panic!("the connection spins");
    }

    /// Sends an answer that is late. Returns whether there was one.
    #[track_caller]
    fn end_turn(&mut self) -> bool {
        let requests = &mut self.thread.turn.requests;
        let is_late = |request: &Request<P::Message>| matches!(request, Request::Settle(_));
        let Some(at) = requests.iter().position(is_late) else { return false };
        requests.remove(at);
        let step = self.connection.settle(self.token(), &mut self.thread);
        self.apply(step, Readiness::IN);
        true
    }

    #[track_caller]
    fn turn(&mut self, readiness: Readiness) {
        self.turns += 1;
        self.thread.begin_turn(Some(self.now));
        let is_duplex = self.connection.protocol().forwards_to().is_some();
        self.wire.borrow().is_duplex = is_duplex;
        let read_before = self.wire.borrow().read;
        let step = self.connection.step(readiness, self.token(), &mut self.thread);
        let limits = self.thread.limits();
        let one_read = limits.read_buffer_len.get().max(limits.input_max);
        let read = self.wire.borrow().read - read_before;
        assert!(read < limits.step_bytes_max.max(1) + one_read, "{read} bytes read in a step");
        self.apply(step, readiness);
    }

    #[track_caller]
    fn apply(&mut self, step: Step, readiness: Readiness) {
        let interest = watched(self.trigger, self.connection.interest());
        let awaits = self.connection.awaits();
        match step {
            Step::Wait => {
                assert_eq!(self.registered, interest, "the interest has changed silently");
                assert_eq!(self.awaits, awaits, "what is awaited has changed silently");
            }
            Step::Changed => self.mind_deadline(),
            Step::Yield => {
                self.mind_deadline();
                self.revisit = readiness | Readiness::IN;
            }
            Step::Splice => {
                let token = self.token();
                let pipe = &mut self.pipe;
                let step = self.connection.splice(readiness, pipe, token, &mut self.thread);
                assert_ne!(step, Step::Splice);
                return self.apply(step, readiness);
            }
            Step::Forward => return self.forward(),
            Step::Done(reason) => {
                let told = self.connection.protocol().log.borrow().closed;
                assert_eq!(told, Some(reason), "the reason that the protocol is told");
                self.closed = Some(reason);
                if let Some(forward) = self.thread.take_forward() {
                    // It is over all the same; its bytes go to their receiver.
                    self.forwarded.push((forward.to(), forward.bytes().to_vec()));
                    forward.return_buffer(&mut self.thread);
                }
            }
        }
        self.interest_changes += usize::from(self.registered != interest);
        (self.registered, self.awaits) = (interest, awaits);
        let thread = &self.thread;
        assert!(thread.output.is_empty(), "output is left to the next connection");
        assert_eq!(thread.input.len(), thread.limits().read_buffer_len.get(), "the read buffer");
    }

    /// Takes the forwarded bytes, as a connection with room for so many would.
    #[track_caller]
    fn forward(&mut self) {
        let mut forward = self.thread.take_forward().expect("bytes to forward");
        assert!(self.thread.output.is_empty(), "output is left to the receiver");
        let mut bytes = forward.bytes().to_vec();
        if let Some(pipe) = self.pipe.as_mut().filter(|_| bytes.is_empty()) {
            bytes.extend(pipe.drain(..));
        }
        assert!(!bytes.is_empty(), "nothing is forwarded");
        let len = bytes.len();
        self.forwarded.push((forward.to(), bytes));
        if len > self.receiver_room {
            forward.set_waiting();
        }
        self.receiver_room = self.receiver_room.saturating_sub(len);
        let (token, readiness) = (self.token(), forward.readiness());
        let step = self.connection.forwarded(forward, token, &mut self.thread);
        self.apply(step, readiness);
    }

    /// Gives the receiver of what is forwarded room for so many bytes more than it has taken already.
    #[track_caller]
    pub fn give_receiver_room(&mut self, bytes: usize) {
        self.receiver_room = bytes;
        self.owner(Connection::resume_forwarding);
    }

    /// Returns the forwarded bytes, with their receivers.
    pub fn forwarded(&self) -> &[(Token, Vec<u8>)] {
        &self.forwarded
    }

    /// Forwards bytes of another connection to this one. Returns whether they have to wait.
    #[track_caller]
    pub fn receive_forward(&mut self, mut forward: Forward) -> bool {
        let token = self.token();
        let pipe = &mut self.pipe;
        let step = self.connection.receive_forward(&mut forward, pipe, token, &mut self.thread);
        forward.drop_piped(&mut self.pipe);
        self.apply(step, Readiness::empty());
        self.settle();
        forward.is_waiting()
    }

    /// Forwards bytes that the connection named `from` has put into the pipe. Returns whether they have to wait.
    #[track_caller]
    pub fn receive_piped(&mut self, from: Token, bytes: &[u8]) -> bool {
        self.pipe = Some(bytes.iter().copied().collect());
        let protocol = self.connection.protocol();
        if protocol.forwards_to().is_some() && self.connection.pending() == 0 {
            // It is not asked.
            protocol.log.borrow_mut().output.extend_from_slice(bytes);
        }
        let is_waiting = self.receive_forward(Forward::piped(from, self.token(), bytes.len()));
        assert!(self.pipe.as_ref().is_none_or(VecDeque::is_empty), "bytes are left in the pipe");
        is_waiting
    }

    /// Sets the timer if it would fire after the deadline.
    fn mind_deadline(&mut self) {
        let deadline = self.connection.deadline();
        let is_early = |deadline: &Timestamp| self.timer.is_none_or(|timer| *deadline < timer);
        if let Some(deadline) = deadline.filter(is_early) {
            self.set_timer(deadline);
        }
    }

    fn set_timer(&mut self, time: Timestamp) {
        self.timer = Some(time);
        self.timer_changes += 1;
        self.connection.set_timer_time(self.timer);
    }

    #[track_caller]
    fn check(&self) {
        // One that passes everything is not asked at every byte.
        self.connection.protocol().passes_everything(&self.thread.local);
        let wire = self.wire.borrow();
        let log = self.connection.protocol().log.borrow();
        let checked = self.checked.replace(wire.sent.len());
        let written = log.output.get(checked..wire.sent.len());
        assert_eq!(written, Some(&wire.sent[checked..]), "what is sent is not what was written");
        assert!(log.has_finished || !wire.is_output_closed, "an end without last words");
        if let Some(reason) = self.closed {
            let is_complete = log.output.len() == wire.sent.len();
            assert!(is_complete || !is_orderly(reason), "{reason:?} before everything was sent");
            return;
        }
        self.check_open(&wire);
    }

    /// Checks the conditions that have to hold at rest while the connection is open.
    #[track_caller]
    fn check_open(&self, wire: &Wire) {
        let pending = self.connection.pending();
        let limits = self.thread.limits();
        let splice_max = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
        let kept_max = limits.read_buffer_len.get().max(splice_max).max(limits.input_max);
        assert!(self.connection.kept() <= kept_max, "more input is kept than may be");
        if pending > 0 {
            assert_eq!(wire.room, 0, "output waits though there is room");
        } else if !self.connection.is_paused() && self.awaits != Awaits::Connect {
            assert_eq!(wire.unread(), 0, "input is not read though nothing waits");
        }
        if let Some(deadline) = self.connection.deadline() {
            let is_timed = self.timer.is_some_and(|timer| timer <= deadline);
            assert!(is_timed, "no timer fires for the deadline");
        }
    }
}

/// Returns whether a connection that is over for this `reason` has sent everything.
fn is_orderly(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::PeerClosed | CloseReason::Finished | CloseReason::Drained)
}

impl<P: Protocol> fmt::Debug for Driver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("wire", &self.wire)
            .field("registered", &self.registered)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

fn watched(trigger: Trigger, interest: Option<Interest>) -> Option<Interest> {
    match trigger {
        Trigger::Level => interest,
        Trigger::Edge => Some(Interest::all()),
    }
}

#[cfg(test)]
mod tests;
