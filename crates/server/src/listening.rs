//! A listener as the loop holds it: watched, or left alone for a while because descriptors ran out.
//!
//! While it is left alone it stays registered, for no event: to register it anew takes memory, which
//! may be what is wanting.

use crate::worker::Service;
use epoll_reactor::net::Listener;
use epoll_reactor::{Interest, Reactor, Source, Token, Watch};
use std::io;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: Listener,
    token: Token,
    resumes_at: Option<Instant>,
}

impl Listening {
    pub(crate) fn start<T: Source>(
        listener: Listener,
        tag: Service,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<Self> {
        let token = reactor.watch(&listener, tag, Watch::level(Interest::IN))?;
        Ok(Self { listener, token, resumes_at: None })
    }

    /// Leaves the listener alone if its last batch asked for that.
    pub(crate) fn pause_if_due<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<()> {
        if let Some(pause) = self.listener.pause() {
            self.watch_for(Interest::empty(), reactor)?;
            self.resumes_at = Some(Instant::now() + pause);
        }
        Ok(())
    }

    /// When a pause ends, if there is one.
    pub(crate) fn resumes_at(&self) -> Option<Instant> {
        self.resumes_at
    }

    /// Goes on with the listener when its pause is over.
    pub(crate) fn resume_if_due<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<()> {
        if self.resumes_at.is_some_and(|end| end <= Instant::now()) {
            self.watch_for(Interest::IN, reactor)?;
            self.resumes_at = None;
        }
        Ok(())
    }

    fn watch_for<T: Source>(
        &self,
        interest: Interest,
        reactor: &mut Reactor<T, Service>,
    ) -> io::Result<()> {
        reactor.modify_watched(self.token, &self.listener, Watch::level(interest))
    }
}
