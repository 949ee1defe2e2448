//! A listener as the loop holds it: watched, or left alone for a while because descriptors ran out.

use crate::worker::Service;
use epoll_reactor::net::Listener;
use epoll_reactor::{Interest, Reactor, Source, Token, Watch};
use std::io;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: Listener,
    tag: Service,
    state: State,
}

#[derive(Debug)]
enum State {
    Watched(Token),
    PausedUntil(Instant),
}

impl Listening {
    pub(crate) fn start<T: Source>(
        listener: Listener,
        tag: Service,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<Self> {
        let token = watch(&listener, tag, reactor)?;
        Ok(Self { listener, tag, state: State::Watched(token) })
    }

    /// Leaves the listener alone if its last batch asked for that.
    pub(crate) fn pause_if_due<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<()> {
        if let (Some(pause), &State::Watched(token)) = (self.listener.pause(), &self.state) {
            reactor.unwatch(token, &self.listener)?;
            self.state = State::PausedUntil(Instant::now() + pause);
        }
        Ok(())
    }

    /// When a pause ends, if there is one.
    pub(crate) fn resumes_at(&self) -> Option<Instant> {
        match self.state {
            State::PausedUntil(end) => Some(end),
            State::Watched(_) => None,
        }
    }

    /// Watches the listener again when its pause is over.
    pub(crate) fn resume_if_due<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<()> {
        if self.resumes_at().is_some_and(|end| end <= Instant::now()) {
            self.state = State::Watched(watch(&self.listener, self.tag, reactor)?);
        }
        Ok(())
    }
}

fn watch<T: Source>(
    listener: &Listener,
    tag: Service,
    reactor: &mut Reactor<T, Service>,
) -> io::Result<Token> {
    reactor.watch(listener, tag, Watch::level(Interest::IN))
}
