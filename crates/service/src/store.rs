//! The storage of connections: a thread's own reactor, or one that threads share. Operations on a connection are
//! written once, for the interface that both provide: a [`Registration`].

use crate::client::Client;
use epoll_connection::Protocol;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{Entry, InsertError, NoSource, Reactor, Registration, Source, Token, Watch};
use std::sync::Arc;

/// An event that is not about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The listener with this index.
    Accept(usize),
    /// The connection with this number, whose header of the PROXY protocol is not complete.
    Header(usize),
    /// Timers of connections.
    Timers,
    /// Reminders of the service itself, and the next slices of passes over its connections.
    Reminders,
    /// Another thread has something to tell, or a signal has come.
    Woken,
    /// Protocols have asked for something.
    Requests,
}

/// The connections that a thread can reach.
pub(crate) trait Connections<P: Protocol> {
    /// A connection in hand: nobody else has it meanwhile.
    type Entry<'a>: Registration<Source = Client<P>>
    where
        Self: 'a;

    fn insert(
        &mut self,
        client: Client<P>,
        watch: Watch,
    ) -> Result<Self::Entry<'_>, InsertError<Client<P>>>;

    /// `None`: there is no such connection, or another thread has it just now.
    fn entry(&mut self, token: Token) -> Option<Self::Entry<'_>>;

    /// `None`: there is no such connection, or another thread has it just now, which is then notified.
    fn entry_or_notify(&mut self, token: Token) -> Option<Self::Entry<'_>>;

    /// Returns whether the connection exists, whether or not another thread holds it.
    fn contains(&self, token: Token) -> bool;

    /// Returns the number of slots of the table that they are in.
    fn slots(&self) -> usize;

    /// Returns the token of the connection in this slot, if there is one.
    fn token_at(&self, slot: usize) -> Option<Token>;
}

/// The connections of a thread that has a reactor of its own.
pub(crate) trait Store<P: Protocol>: Connections<P> + Send + 'static {
    /// The sources that the thread's own reactor owns.
    type Owned: Source;

    /// Returns the reactor that the thread waits for. It watches listeners and timers in any case.
    fn own(&mut self) -> &mut Reactor<Self::Owned, Event>;

    /// Returns the connection that was reported last, if the store does not close it by itself where its
    /// callback has panicked.
    fn panicked(&self) -> Option<Token>;

    /// Returns the shared connections, if they are shared.
    fn shared(&self) -> Option<&SharedReactor<Client<P>>>;

    /// Ends the store and returns the connections that are left.
    fn into_rest(self) -> Vec<Client<P>>;
}

/// Connections in the thread's own reactor.
pub(crate) struct LocalStore<P: Protocol> {
    pub(crate) reactor: Reactor<Client<P>, Event>,
}

impl<P: Protocol> Connections<P> for LocalStore<P> {
    type Entry<'a>
        = Entry<'a, Client<P>, Event>
    where
        Self: 'a;

    fn insert(
        &mut self,
        client: Client<P>,
        watch: Watch,
    ) -> Result<Self::Entry<'_>, InsertError<Client<P>>> {
        let token = self.reactor.insert(client, watch)?;
        match self.reactor.entry(token) {
            Some(entry) => Ok(entry),
            None => unreachable!("it was just inserted"),
        }
    }

    fn entry(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        self.reactor.entry(token)
    }

    fn entry_or_notify(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        self.reactor.entry(token)
    }

    fn contains(&self, token: Token) -> bool {
        self.reactor.get(token).is_some()
    }

    fn slots(&self) -> usize {
        self.reactor.slots()
    }

    fn token_at(&self, slot: usize) -> Option<Token> {
        self.reactor.token_at(slot)
    }
}

impl<P: Protocol + Send + 'static> Store<P> for LocalStore<P> {
    type Owned = Client<P>;

    fn own(&mut self) -> &mut Reactor<Client<P>, Event> {
        &mut self.reactor
    }

    fn panicked(&self) -> Option<Token> {
        self.reactor.last_reported()
    }

    fn shared(&self) -> Option<&SharedReactor<Client<P>>> {
        None
    }

    fn into_rest(mut self) -> Vec<Client<P>> {
        let tokens: Vec<_> = self.reactor.iter().map(|(token, _)| token).collect();
        tokens.into_iter().filter_map(|token| self.reactor.remove(token)).collect()
    }
}

/// Connections that threads share, beside the reactor of the thread that minds their timers.
pub(crate) struct SharedStore<P: Protocol> {
    pub(crate) reactor: Reactor<NoSource, Event>,
    pub(crate) shared: Arc<SharedReactor<Client<P>>>,
}

impl<P: Protocol> Connections<P> for SharedStore<P> {
    type Entry<'a>
        = Lease<'a, Client<P>>
    where
        Self: 'a;

    fn insert(
        &mut self,
        client: Client<P>,
        watch: Watch,
    ) -> Result<Self::Entry<'_>, InsertError<Client<P>>> {
        self.shared.insert_leased(client, watch)
    }

    fn entry(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        self.shared.lease(token)
    }

    fn entry_or_notify(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        lease_or_notify(&self.shared, token)
    }

    fn contains(&self, token: Token) -> bool {
        self.shared.contains(token)
    }

    fn slots(&self) -> usize {
        self.shared.slots()
    }

    fn token_at(&self, slot: usize) -> Option<Token> {
        self.shared.token_at(slot)
    }
}

impl<P: Protocol + Send + 'static> Store<P> for SharedStore<P> {
    type Owned = NoSource;

    fn own(&mut self) -> &mut Reactor<NoSource, Event> {
        &mut self.reactor
    }

    fn panicked(&self) -> Option<Token> {
        // The lease, which was dropped by the panic, has asked for the close.
        None
    }

    fn shared(&self) -> Option<&SharedReactor<Client<P>>> {
        Some(&self.shared)
    }

    fn into_rest(self) -> Vec<Client<P>> {
        // Some may be in nobody's hands and yet not free: they were to be handed out again.
        let shared = Arc::into_inner(self.shared);
        shared.into_iter().flat_map(SharedReactor::into_sources).collect()
    }
}

/// The connections of a thread that shares them and has no reactor of its own.
pub(crate) struct Pool<'r, P: Protocol>(pub(crate) &'r SharedReactor<Client<P>>);

impl<P: Protocol> Connections<P> for Pool<'_, P> {
    type Entry<'a>
        = Lease<'a, Client<P>>
    where
        Self: 'a;

    fn insert(
        &mut self,
        client: Client<P>,
        watch: Watch,
    ) -> Result<Self::Entry<'_>, InsertError<Client<P>>> {
        self.0.insert_leased(client, watch)
    }

    fn entry(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        self.0.lease(token)
    }

    fn entry_or_notify(&mut self, token: Token) -> Option<Self::Entry<'_>> {
        lease_or_notify(self.0, token)
    }

    fn contains(&self, token: Token) -> bool {
        self.0.contains(token)
    }

    fn slots(&self) -> usize {
        self.0.slots()
    }

    fn token_at(&self, slot: usize) -> Option<Token> {
        self.0.token_at(slot)
    }
}

/// Leases a connection. If another thread has it, that thread is notified.
fn lease_or_notify<P>(
    shared: &SharedReactor<Client<P>>,
    token: Token,
) -> Option<Lease<'_, Client<P>>> {
    let lease = shared.lease(token);
    if lease.is_none() {
        if let Err(error) = shared.notify(token) {
            tracing::error!(%error, "the thread that has a connection cannot be notified");
        }
    }
    lease
}
