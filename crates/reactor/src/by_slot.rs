//! The sources of a reactor by the slots of its table, so that a pass over all of them can be made in parts.

use crate::reactor::Reactor;
use crate::record::Record;
use crate::{Source, Token};

impl<T: Source, S> Reactor<T, S> {
    /// Returns how many slots its table has: as many as there ever were registrations at once, and one more.
    /// What is inserted takes a vacant slot first, so the table grows only while none is vacant.
    ///
    /// # Examples
    ///
    /// See [`token_at`](Self::token_at).
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.used()
    }

    /// Returns the token of the source that the reactor owns in this slot, if there is one. Takes one step.
    ///
    /// With it a pass over all sources can be made in parts, between which others are served: a source that
    /// is there during the whole pass is met once.
    ///
    /// # Examples
    ///
    /// A pass that looks at two slots a turn:
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::time::Duration;
    ///
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let (one, other) = Stream::pair()?;
    /// let one = reactor.insert(one, Watch::level(Interest::IN))?;
    /// let other = reactor.insert(other, Watch::level(Interest::IN))?;
    ///
    /// let (mut next, end) = (0, reactor.slots());
    /// let mut met = Vec::new();
    /// while next < end {
    ///     let slots = next..end.min(next + 2);
    ///     next = slots.end;
    ///     met.extend(slots.filter_map(|slot| reactor.token_at(slot)));
    ///     reactor.wait(Some(Duration::ZERO))?;
    ///     while let Some(_ready) = reactor.next_ready() { /* serve it */ }
    /// }
    /// assert!(met.len() == 2 && met.contains(&one) && met.contains(&other));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn token_at(&self, slot: usize) -> Option<Token> {
        let index = u32::try_from(slot).ok()?;
        match self.slots.occupant(index)? {
            (generation, Record::Owned { .. }) => Some(Token::new(self.id, index, generation)),
            _ => None,
        }
    }
}
