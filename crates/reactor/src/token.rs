//! Names of registrations.
//!
//! Invariant: no two registrations of a process have the same token. A slot that is used again has
//! another generation, and each reactor has a number of its own, so an old token, an old event or a
//! token of another reactor never reaches a registration that it does not name.

use crate::slots::Generation;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of one registration of one [`Reactor`](crate::Reactor) or
/// [`SharedReactor`](crate::shared::SharedReactor).
///
/// A token may outlive its registration. Every call that is given a token of a registration that has
/// ended, or one of another reactor, answers that there is no such source; it never reaches another
/// source. (Reactors are told apart by 32 bits: the numbers come round after 2^32 reactors of one
/// process.)
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::{Interest, Reactor, Watch};
///
/// let (mut one, mut other) = (Reactor::<Stream>::new()?, Reactor::<Stream>::new()?);
/// let (ours, theirs) = Stream::pair()?;
/// let token = one.insert(ours, Watch::level(Interest::IN))?;
/// other.insert(theirs, Watch::level(Interest::IN))?;
///
/// assert!(!other.close(token), "it names no source of this reactor");
/// assert!(one.close(token));
/// assert!(!one.close(token), "its registration has ended");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The generation in the upper half, the slot in the lower: one register, as it comes from the
    /// kernel. Never zero, so that an `Option` of a token takes no more room.
    name: NonZeroU64,
    reactor: ReactorId,
}

const _: () = assert!(size_of::<Option<Token>>() == 16);

impl Token {
    /// Returns a token that names no registration of any reactor, for what is driven without one: tests
    /// and simulations. Different numbers give different tokens.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Reactor, Token};
    ///
    /// let reactor = Reactor::<Stream>::new()?;
    /// assert!(reactor.get(Token::detached(0)).is_none());
    /// assert_ne!(Token::detached(0), Token::detached(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn detached(number: u32) -> Self {
        Self::new(ReactorId::DETACHED, number, Generation::MIN)
    }

    /// Returns the slot of the registration in its reactor's table. It identifies the registration only while that
    /// exists: the slot is used again afterwards. See [`Reactor::token_at`](crate::Reactor::token_at).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    ///
    /// let (ours, _theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    /// assert_eq!(reactor.token_at(token.slot()), Some(token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn slot(self) -> usize {
        self.index() as usize
    }

    #[inline]
    pub(crate) fn new(reactor: ReactorId, index: u32, generation: Generation) -> Self {
        let name = u64::from(generation.get()) << 32 | u64::from(index);
        // A generation is never zero.
        Self { name: NonZeroU64::new(name).unwrap_or(NonZeroU64::MIN), reactor }
    }

    /// Returns the token of a registration that the kernel has reported with these 64 bits.
    #[inline]
    pub(crate) fn of_event(reactor: ReactorId, data: u64) -> Self {
        // The generation in it is never zero.
        Self { name: NonZeroU64::new(data).unwrap_or(NonZeroU64::MIN), reactor }
    }

    /// Returns the 64 bits that epoll keeps with the source: the slot and its generation.
    #[inline]
    pub(crate) fn data(self) -> u64 {
        self.name.get()
    }

    /// Returns the slot and its generation.
    #[inline]
    pub(crate) fn parts(self) -> (u32, u32) {
        unpack(self.name.get())
    }

    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.parts().0
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.parts().1
    }
}

/// Returns the slot and the generation in the 64 bits that epoll gives back.
#[inline]
pub(crate) fn unpack(data: u64) -> (u32, u32) {
    (low(data), low(data >> 32))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn low(data: u64) -> u32 {
    data as u32
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, generation) = self.parts();
        write!(f, "Token({}:{index}.{generation})", self.reactor.0)
    }
}

/// A number that tells reactors of one process apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReactorId(u32);

impl ReactorId {
    /// The number of no reactor, until 2^32 of one process have been made.
    const DETACHED: Self = Self(u32::MAX);

    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the numbers have to differ, and order nothing else.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the slot and the generation that `token` names, if it is a token of this reactor.
    #[inline]
    pub(crate) fn parts_of(self, token: Token) -> Option<(u32, u32)> {
        if token.reactor == self { Some(token.parts()) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_trip_through_the_kernels_64_bits() {
        let reactor = ReactorId::new();
        for (index, generation) in [(0, 1), (1, 2), (u32::MAX, 7), (7, u32::MAX)] {
            let generation = Generation::new(generation).unwrap();
            let token = Token::new(reactor, index, generation);
            assert_eq!(unpack(token.data()), (index, generation.get()));
        }
    }

    #[test]
    fn a_reactor_knows_its_own_tokens_alone() {
        let (one, other) = (ReactorId::new(), ReactorId::new());
        let token = Token::new(one, 3, Generation::MIN);
        assert_eq!(one.parts_of(token), Some((3, 1)));
        assert_eq!(other.parts_of(token), None);
    }
}
