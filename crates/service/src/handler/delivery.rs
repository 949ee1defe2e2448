//! Messages for connections, and what else protocols ask of the service. Each connection is visited once
//! for all its messages of a turn, so that what they have it write is sent at once.

use super::{Connections, Delivery, Handler, Permit};
use crate::client::Client;
use crate::mail::Held;
use crate::service::Message;
use crate::{Service, service};
use epoll_connection::{CloseReason, Connection, ConnectionId, Request};
use epoll_reactor::net::{Address, Peer, Stream};
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;
use std::sync::Arc;

impl<S: Service> Handler<S> {
    /// Returns whether protocols have asked for something.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        self.thread.has_requests()
    }

    /// Does what protocols have asked for in this turn. What they ask for meanwhile is left for the next
    /// one, so that two that answer one another do not keep the others waiting.
    #[cold]
    pub(crate) fn handle_requests<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.thread.begin_turn(None);
        let mut requests = std::mem::take(&mut self.requests);
        self.thread.swap_requests(&mut requests);
        let mut deliveries = Vec::new();
        let mut is_put = true;
        for request in requests.drain(..) {
            match request {
                Request::Send(to, message) => {
                    let delivery = Delivery::One(to.token(), Arc::new(message));
                    if to.thread() as usize == self.mailbox {
                        deliveries.push(delivery);
                    } else {
                        is_put &= self.post.put(to.thread() as usize, delivery);
                    }
                }
                Request::Broadcast(message) => {
                    let message = Arc::new(message);
                    is_put &= self.post.put_all(&message, Some(self.mailbox));
                    deliveries.push(Delivery::All(message));
                }
                Request::Connect { from, address, message } => {
                    self.isolate(connections, |handler, connections| {
                        handler.connect(from, &address, message, connections);
                    });
                }
            }
        }
        if !is_put {
            tracing::warn!("messages were dropped: too many wait for another thread");
        }
        self.requests = requests;
        self.deliver(&deliveries, connections);
    }

    /// Delivers what has come into the thread's mailbox.
    pub(crate) fn deliver_mail<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        let deliveries = self.post.take(self.mailbox);
        self.thread.begin_turn(None);
        self.deliver(&deliveries, connections);
    }

    fn deliver<C: Connections<S::Protocol>>(
        &mut self,
        deliveries: &[Delivery<Message<S>>],
        connections: &mut C,
    ) {
        for token in receivers(deliveries, connections) {
            let messages = || deliveries.iter().filter_map(|delivery| delivery.for_token(token));
            self.isolate(connections, |handler, connections| {
                if let Some(entry) = connections.entry(token) {
                    // What is held for it came earlier.
                    if let Some(entry) = handler.give_held(entry) {
                        handler.give(entry, messages().map(|message| &**message));
                    }
                } else if connections.contains(token) {
                    let held = messages().map(|message| Held::Message(Arc::clone(message)));
                    handler.hold(token, held, connections);
                }
            });
        }
    }

    /// Leaves something for a connection to the thread that has it.
    pub(super) fn hold<C: Connections<S::Protocol>>(
        &mut self,
        token: Token,
        what: impl IntoIterator<Item = Held<Message<S>>>,
        connections: &mut C,
    ) {
        // Held first: the thread that has the connection may let go of it at any moment.
        self.post.hold(token, what);
        if let Some(entry) = connections.entry_or_notify(token) {
            self.give_held(entry);
        } else if !connections.contains(token) {
            // Closed meanwhile, perhaps before it was held.
            drop(self.post.take_held(token));
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
        let entry = self.give(entry, messages)?;
        let drains = held.iter().any(|held| matches!(held, Held::Drain));
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
            return Some(entry);
        }
        let (now, thread) = (Timestamp::now(), &mut self.thread);
        let step = entry.date(now, |client| client.connection.settle(token, thread));
        self.apply(entry, step, Readiness::IN)
    }

    /// Begins an outgoing connection.
    fn connect<C: Connections<S::Protocol>>(
        &mut self,
        from: ConnectionId,
        address: &Address,
        message: Message<S>,
        connections: &mut C,
    ) {
        let local: &mut service::Local<S> = &mut self.thread.local;
        let Some(protocol) = self.service.connect(from, message, local) else { return };
        let peer = Peer::from(address);
        let control = Arc::clone(&self.control);
        let kind = match control.admission.admit_outgoing(&peer) {
            Err(_) => std::io::ErrorKind::QuotaExceeded,
            Ok(()) => {
                let permit = Permit { control: &control, peer };
                match Stream::connect_with(address, &self.connect_options) {
                    Ok(stream) => {
                        let connection = Connection::connecting(protocol, stream);
                        return self.insert(connection, permit, connections);
                    }
                    Err(error) => error.kind(),
                }
            }
        };
        self.thread.refuse(protocol, CloseReason::ConnectFailed(kind), Token::detached(0));
    }
}

/// Returns the connections that the deliveries are for, each once.
fn receivers<M, P: epoll_connection::Protocol>(
    deliveries: &[Delivery<M>],
    connections: &impl Connections<P>,
) -> Vec<Token> {
    let one = |delivery: &Delivery<M>| match delivery {
        Delivery::One(token, _) => Some(*token),
        Delivery::All(_) => None,
    };
    let tokens: Option<Vec<_>> = deliveries.iter().map(one).collect();
    match tokens {
        Some(mut tokens) => {
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        }
        None => connections.tokens(),
    }
}
