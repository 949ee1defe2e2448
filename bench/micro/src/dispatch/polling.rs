//! polling, level-triggered. Its sources are added by an unsafe call, and by no other.

use super::{Baton, Chain, Loop};
use crate::EVENTS_MAX;
use polling::{Event, Events, PollMode, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;

pub(crate) struct Polling<'a> {
    poller: Poller,
    events: Events,
    /// What is watched lives longer than what watches it.
    _chain: &'a Chain,
}

impl<'a> Loop<'a> for Polling<'a> {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (index, reader) in chain.readers().enumerate() {
            add(&poller, reader, Event::readable(index))?;
        }
        let events = NonZeroUsize::new(EVENTS_MAX).map_or_else(Events::new, Events::with_capacity);
        Ok(Self { poller, events, _chain: chain })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            self.events.clear();
            self.poller.wait(&mut self.events, None)?;
            for event in self.events.iter() {
                baton.hand_on(event.key)?;
            }
        }
        Ok(())
    }
}

#[allow(unsafe_code, reason = "the crate has no safe call for this")]
fn add(poller: &Poller, source: &impl AsRawFd, interest: Event) -> io::Result<()> {
    // SAFETY: the source must not be dropped while it is in the poller. The chain is borrowed for as
    // long as the poller lives.
    unsafe { poller.add_with_mode(source.as_raw_fd(), interest, PollMode::Level) }
}
