//! Where connections are kept: in a thread's own reactor, or in one that threads share. What is done
//! with one is the same for both, see `clients.rs`.

use crate::client::Client;
use crate::worker::Service;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{InsertError, Interest, Reactor, Readiness, Registration, Token, Watch};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The connections of a thread, and the reactor that it waits for.
pub(crate) struct Connections {
    /// It watches the thread's listeners and timers in any case.
    pub(crate) own: Reactor<Client, Service>,
    /// Where the connections are, if not in `own`.
    pub(crate) shared: Option<Arc<SharedReactor<Client>>>,
}

/// A connection in hand: nobody else has it meanwhile.
pub(crate) enum Held<'a> {
    /// `token` names a source of `reactor`.
    Own {
        reactor: &'a mut Reactor<Client, Service>,
        token: Token,
    },
    Leased(Lease<'a, Client>),
}

impl Connections {
    pub(crate) fn insert(
        &mut self,
        client: Client,
        watch: Watch,
    ) -> Result<Held<'_>, InsertError<Client>> {
        match &self.shared {
            Some(shared) => shared.insert_leased(client, watch).map(Held::Leased),
            None => {
                let token = self.own.insert(client, watch)?;
                Ok(Held::Own { reactor: &mut self.own, token })
            }
        }
    }

    /// `None`: there is no such connection, or another thread has it just now, which is then called.
    pub(crate) fn hold_or_call(&mut self, token: Token) -> Option<Held<'_>> {
        let Some(shared) = &self.shared else { return Held::of(&mut self.own, token) };
        let lease = shared.lease(token);
        if lease.is_none() {
            if let Err(error) = shared.notify(token) {
                tracing::error!(%error, "a connection's thread cannot be notified");
            }
        }
        lease.map(Held::Leased)
    }

    /// `None`: there is no such connection, or another thread has it just now.
    pub(crate) fn hold(&mut self, token: Token) -> Option<Held<'_>> {
        match &self.shared {
            Some(shared) => shared.lease(token).map(Held::Leased),
            None => Held::of(&mut self.own, token),
        }
    }

    /// Whether there is such a connection, in whose hands ever.
    pub(crate) fn contains(&self, token: Token) -> bool {
        match &self.shared {
            Some(shared) => shared.contains(token),
            None => self.own.get(token).is_some(),
        }
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        match &self.shared {
            Some(shared) => shared.tokens(),
            None => self.own.iter().map(|(token, _)| token).collect(),
        }
    }
}

impl<'a> Held<'a> {
    pub(crate) fn of(reactor: &'a mut Reactor<Client, Service>, token: Token) -> Option<Self> {
        reactor.get(token).is_some().then_some(Self::Own { reactor, token })
    }

    pub(crate) fn token(&self) -> Token {
        match self {
            Self::Own { token, .. } => *token,
            Self::Leased(lease) => lease.token(),
        }
    }

    pub(crate) fn watch_for(&mut self, interest: Interest) -> io::Result<()> {
        match self {
            Self::Own { reactor, token } => reactor.set_interest(*token, interest),
            Self::Leased(lease) => lease.set_interest(interest),
        }
    }

    /// Has it reported again after others.
    pub(crate) fn come_back(&mut self, readiness: Readiness) {
        match self {
            Self::Own { reactor, token } => {
                reactor.revisit(*token, readiness);
            }
            Self::Leased(lease) => lease.revisit(readiness),
        }
    }

    pub(crate) fn close(self) {
        match self {
            Self::Own { reactor, token } => {
                reactor.close(token);
            }
            Self::Leased(lease) => lease.close(),
        }
    }
}

impl Deref for Held<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Own { reactor, token } => &reactor[*token],
            Self::Leased(lease) => lease,
        }
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        match self {
            Self::Own { reactor, token } => &mut reactor[*token],
            Self::Leased(lease) => lease,
        }
    }
}
