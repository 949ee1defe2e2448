//! The sources of a shared reactor by the slots of its table; see the same of [`Reactor`](crate::Reactor).

use crate::shared::SharedReactor;
use crate::{Source, Token};

impl<T: Source, S> SharedReactor<T, S> {
    /// Returns how many slots its table has: as many as there ever were sources at once. What is inserted
    /// takes a vacant slot first, so the table grows only while none is vacant.
    ///
    /// # Examples
    ///
    /// See [`token_at`](Self::token_at).
    #[must_use]
    pub fn slots(&self) -> usize {
        self.table.fresh() as usize
    }

    /// Returns the token of the source in this slot, if there is one, whether or not a thread currently holds
    /// it. Takes one step.
    ///
    /// With it a pass over all sources can be made in parts, between which others are served: a source that
    /// is there during the whole pass is met once.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (one, other) = Stream::pair()?;
    /// let one = reactor.insert(one, Watch::oneshot(Interest::IN))?;
    /// let other = reactor.insert(other, Watch::oneshot(Interest::IN))?;
    ///
    /// let met: Vec<_> = (0..reactor.slots()).filter_map(|slot| reactor.token_at(slot)).collect();
    /// assert!(met.len() == 2 && met.contains(&one) && met.contains(&other));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn token_at(&self, slot: usize) -> Option<Token> {
        let index = u32::try_from(slot).ok()?;
        let generation = self.table.slot(index)?.occupant()?;
        Some(Token::new(self.id, index, generation))
    }
}
