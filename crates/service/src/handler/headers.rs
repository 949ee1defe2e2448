//! Connections that begin with a header of the PROXY protocol: they are admitted as anybody's, and served, or refused,
//! once it is known whose they are.

use super::{Handler, Permit};
use crate::Service;
use crate::admission::Refusal;
use crate::headers::Headless;
use crate::store::Connections;
use epoll_reactor::net::{Address, Peer, UnixAddress};
use std::io;
use std::sync::Arc;

impl<S: Service> Handler<S> {
    /// Serves a connection that was accepted if its header has come already. Otherwise it goes to the thread that
    /// watches it.
    #[cold]
    pub(super) fn accept_headless<C: Connections<S::Protocol>>(
        &mut self,
        mut headless: Headless,
        connections: &mut C,
    ) {
        if let Err(refusal) = self.control.admission.admit(&nobody()) {
            return self.refuse(&headless.peer, refusal);
        }
        match headless.read() {
            Some(outcome) => self.finish_header(headless, outcome, connections),
            None => {
                if let Some(queue) = &self.headers {
                    queue.push(headless);
                }
                if self.mode.is_shared() {
                    self.control.wake_first();
                }
            }
        }
    }

    /// Serves a connection as this peer's, or refuses it.
    #[cold]
    pub(crate) fn finish_header<C: Connections<S::Protocol>>(
        &mut self,
        headless: Headless,
        outcome: Result<Peer, Refusal>,
        connections: &mut C,
    ) {
        let Headless { listener, stream, peer: balancer, .. } = headless;
        let control = Arc::clone(&self.control);
        let mut permit = Permit { control: &control, peer: nobody() };
        let named = outcome.and_then(|peer| {
            permit.peer = peer;
            control.admission.name(&peer)
        });
        match named {
            Ok(()) => self.serve(listener, stream, permit, connections),
            Err(refusal) => {
                let peer = std::mem::replace(&mut permit.peer, nobody());
                self.refuse(if refusal == Refusal::PeerFull { &peer } else { &balancer }, refusal);
                // Whoever is told that all is over may count descriptors.
                drop(stream);
            }
        }
    }

    /// Drops a connection that the kernel does not watch for its header.
    #[cold]
    pub(crate) fn drop_unwatched(&mut self, headless: Headless, error: &io::Error) {
        self.outcomes.unwatched.add(1);
        tracing::warn!(peer = %headless.peer, %error, "connection not watched");
        let control = Arc::clone(&self.control);
        let _permit = Permit { control: &control, peer: nobody() };
        drop(headless);
    }
}

/// Stands for a peer that is not known yet. It has no IP address, so it has no limit of its own.
fn nobody() -> Peer {
    Peer::from(&Address::Unix(UnixAddress::UNNAMED))
}
