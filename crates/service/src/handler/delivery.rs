//! Messages for connections, and the other requests of protocols to the service. Each connection is visited
//! once for all its messages of a turn, so that what it writes for them is sent together.

use super::{Connect, Handler, Permit};
use crate::client::Client;
use crate::mail::{Delivery, DeliveryPass, Held, Remaining};
use crate::panics::drop_each;
use crate::service::Message;
use crate::stats::Closed;
use crate::store::Connections;
use crate::{Service, service};
use epoll_connection::{CloseReason, Connection, Request, Step};
use epoll_reactor::net::{Peer, Stream};
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;
use std::sync::Arc;

impl<S: Service> Handler<S> {
    /// Returns whether protocols have asked for something that is not done yet.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        self.thread.has_requests()
    }

    /// Returns the same for a thread that shares connections, whose requests are filed before.
    #[inline]
    pub(crate) fn has_filed(&self) -> bool {
        self.has_filed
    }

    /// Files the requests of a connection before its lease ends: another thread may have it next, and the
    /// messages that it sends there come after these.
    #[inline]
    pub(super) fn file_if_shared(&mut self) {
        if self.mode.is_shared() && self.thread.has_requests() {
            self.file_requests();
        }
    }

    /// Puts the messages that protocols have asked for where they wait for the end of the turn.
    fn file_requests(&mut self) {
        self.thread.swap_requests(&mut self.requests);
        let mut is_put = true;
        for request in self.requests.drain(..) {
            match request {
                Request::Send(to, message) => {
                    let delivery = Delivery::One(to.token(), Arc::new(message));
                    let thread = to.thread() as usize;
                    if thread == self.mailbox {
                        self.post.put_own(thread, delivery);
                    } else {
                        is_put &= self.post.put(thread, delivery);
                    };
                }
                Request::Broadcast(message) => {
                    let message = Arc::new(message);
                    is_put &= self.post.put_all(&message, Some(self.mailbox));
                    self.post.put_own(self.mailbox, Delivery::All(message));
                }
                Request::Connect { from, address, message } => {
                    self.connects.push(Connect { from, address, message });
                }
                Request::ResumeForwarding(token) => {
                    self.calls.push((token, Connection::resume_forwarding));
                }
                Request::Settle(token) => self.calls.push((token, Connection::settle)),
            }
        }
        self.has_filed = true;
        if !is_put {
            tracing::warn!("messages were dropped: too many wait for a thread");
        }
    }

    /// Does what protocols have asked for in this turn. What they ask for meanwhile is left for the next
    /// one, so that two that answer one another do not keep the others waiting.
    #[cold]
    pub(crate) fn handle_requests<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.thread.begin_turn(None);
        self.file_requests();
        self.has_filed = false;
        for connect in std::mem::take(&mut self.connects) {
            self.isolate(connections, |handler, connections| handler.connect(connect, connections));
        }
        let mut calls = std::mem::take(&mut self.calls);
        let now = self.now();
        for (token, call) in calls.drain(..) {
            self.isolate(connections, |handler, connections| {
                let Some(mut entry) = connections.entry(token) else { return };
                handler.current = Some(token);
                let thread = &mut handler.thread;
                let step = entry.date(now, |client| call(&mut client.connection, token, thread));
                handler.apply(entry, step, Readiness::IN);
            });
        }
        if self.calls.is_empty() {
            // So that a turn of many allocates nothing.
            self.calls = calls;
        }
        self.deliver_mail(connections);
        self.file_if_shared();
    }

    /// Does the same for a thread that shares connections and has no loop of its own, and goes on with its
    /// passes: to the loop one that is under way is a request.
    #[cold]
    pub(crate) fn handle_requests_and_passes<C: Connections<S::Protocol>>(
        &mut self,
        connections: &mut C,
    ) {
        // First, so that mail that comes after a pass has to wait for no other turn.
        self.advance_passes(connections);
        self.handle_requests(connections);
        self.resume_passes();
    }

    /// Makes the loop of such a thread go on with a pass that is in progress.
    pub(crate) fn resume_passes(&mut self) {
        self.has_filed |= self.has_passes();
    }

    /// Gives the bytes that connections forward to their receivers.
    #[cold]
    pub(crate) fn forward<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        while let Some(mut forward) = self.thread.take_forward() {
            let (from, to) = (forward.from(), forward.to());
            let (now, readiness) = (self.now(), forward.readiness());
            // If the receiver panics, the sender goes on.
            self.isolate(connections, |handler, connections| {
                handler.current = Some(to);
                let Some(mut entry) = connections.entry(to) else { return };
                let (pipe, thread) = (&mut handler.pipe, &mut handler.thread);
                let receive = |client: &mut Client<S::Protocol>| {
                    client.connection.receive_forward(&mut forward, pipe, to, thread)
                };
                let step = entry.date(now, receive);
                handler.apply(entry, step, Readiness::empty());
            });
            forward.drop_piped(&mut self.pipe);
            self.current = Some(from);
            match connections.entry(from) {
                Some(mut entry) => {
                    let thread = &mut self.thread;
                    let go_on = |client: &mut Client<S::Protocol>| {
                        client.connection.forwarded(forward, from, thread)
                    };
                    let step = entry.date(now, go_on);
                    self.apply(entry, step, readiness);
                }
                None => forward.return_buffer(&mut self.thread),
            }
        }
        self.current = None;
    }

    /// Delivers what has come into the thread's mailbox. If mail is still on its way to many receivers, this
    /// comes after it.
    pub(crate) fn deliver_mail<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        if !self.passes.is_delivering {
            self.deliver_next(connections);
        }
    }

    /// Gives the next receivers of mail their messages. While the mailbox is full, the thread does nothing
    /// else until all of them have theirs: what its own connections send is not refused, so it must not go on
    /// without end.
    pub(super) fn deliver_next<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.thread.begin_turn(None);
        loop {
            let left = if self.mode.is_shared() {
                self.deliver_held(connections)
            } else {
                self.deliver_own(connections)
            };
            self.passes.is_delivering = left != Remaining::Nothing;
            if left != Remaining::Receivers || !self.post.is_full(self.mailbox) {
                return;
            }
        }
    }

    /// Does that where threads share connections.
    fn deliver_held<C: Connections<S::Protocol>>(&mut self, connections: &mut C) -> Remaining {
        let (tokens, left) = self.post.hold_mail(self.mailbox, connections);
        for token in tokens {
            self.isolate(connections, |handler, connections| {
                handler.give_held_or_notify(token, connections);
            });
        }
        left
    }

    /// Does that where they do not.
    fn deliver_own<C: Connections<S::Protocol>>(&mut self, connections: &mut C) -> Remaining {
        let before = self.round.take();
        let is_first = before.is_none();
        let mut round =
            before.unwrap_or_else(|| DeliveryPass::new(self.post.take(self.mailbox), connections));
        for token in round.next_receivers(connections) {
            let messages = round.for_token(token);
            self.isolate(connections, |handler, connections| {
                if let Some(entry) = connections.entry(token) {
                    handler.give(entry, messages.map(|message| &**message));
                }
            });
        }
        if !round.is_over() {
            self.round = Some(round);
            return Remaining::Receivers;
        }
        round.drop_messages();
        if is_first { Remaining::Nothing } else { Remaining::LaterMail }
    }

    /// Gives a connection what is held for it, or leaves that to the thread that has it.
    pub(super) fn give_held_or_notify<C: Connections<S::Protocol>>(
        &mut self,
        token: Token,
        connections: &mut C,
    ) {
        if let Some(entry) = connections.entry_or_notify(token) {
            self.give_held(entry);
        } else if !connections.contains(token) {
            // Closed meanwhile, perhaps before it was held.
            drop_each(self.post.take_held(token));
        }
    }

    /// Gives a connection what is held for it, and gives it back if it is still open.
    pub(crate) fn give_held<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: R,
    ) -> Option<R> {
        let held = self.post.take_held(entry.token());
        let messages = held.iter().filter_map(|held| match held {
            Held::Message(message) => Some(&**message),
            Held::Drain => None,
        });
        let entry = self.give(entry, messages);
        let drains = held.iter().any(|held| matches!(held, Held::Drain));
        drop_each(held);
        let entry = entry?;
        if drains { self.tell_drain(entry) } else { Some(entry) }
    }

    fn give<'m, R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        messages: impl Iterator<Item = &'m Message<S>>,
    ) -> Option<R>
    where
        Message<S>: 'm,
    {
        let token = entry.token();
        self.current = Some(token);
        let mut settles = false;
        for message in messages {
            settles |= entry.connection.message(message, token, &mut self.thread);
        }
        if !settles {
            // Nothing but what it has written has changed.
            return self.apply(entry, Step::Wait, Readiness::empty());
        }
        let (now, thread) = (Timestamp::now(), &mut self.thread);
        let step = entry.date(now, |client| client.connection.settle(token, thread));
        self.apply(entry, step, Readiness::IN)
    }

    /// Begins an outgoing connection.
    fn connect<C: Connections<S::Protocol>>(
        &mut self,
        connect: Connect<Message<S>>,
        connections: &mut C,
    ) {
        let Connect { from, address, message } = connect;
        let local: &mut service::Local<S> = &mut self.thread.local;
        let Some(protocol) = self.service.connect(from, message, local) else { return };
        let peer = Peer::from(&address);
        let control = Arc::clone(&self.control);
        let kind = match control.admission.admit_outgoing(&peer) {
            Err(_) => std::io::ErrorKind::QuotaExceeded,
            Ok(()) => {
                let permit = Permit { control: &control, peer };
                match Stream::connect_with(&address, &self.connect_options) {
                    Ok(stream) => {
                        let connection = Connection::connecting(protocol, stream);
                        return self.insert(connection, permit, connections);
                    }
                    Err(error) => error.kind(),
                }
            }
        };
        let reason = CloseReason::ConnectFailed(kind);
        self.outcomes.opened.add(1);
        self.outcomes.closed(Closed::Over(reason), 0, 0, 0);
        self.thread.refuse(protocol, reason, Token::detached(0));
    }
}
