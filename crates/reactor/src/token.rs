//! Names of registrations. A token is used up when its registration ends: whatever takes the slot
//! afterwards has another generation, so an old token, or an old event, can never reach it.

use crate::slots::Generation;
use std::fmt;

/// The name of one registration of one [`Reactor`](crate::Reactor).
///
/// It is a slot and the slot's generation; both travel in the 64 bits that epoll keeps with a
/// source. A token outlives its registration harmlessly: every call that is given such a token
/// answers that there is nothing by that name.
///
/// A token belongs to the reactor that gave it; another reactor would take it for one of its own. In
/// debug builds a token knows its reactor, and using it with another one panics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    pub(crate) index: u32,
    pub(crate) generation: Generation,
    pub(crate) reactor: ReactorId,
}

impl Token {
    /// The 64 bits that epoll keeps.
    #[inline]
    pub(crate) fn data(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    /// The slot and the generation.
    #[inline]
    pub(crate) fn name(self) -> (u32, u32) {
        (self.index, self.generation.get())
    }
}

/// The slot and the generation in the 64 bits that epoll gives back.
#[inline]
pub(crate) fn name(data: u64) -> (u32, u32) {
    (low(data), low(data >> 32))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low(data: u64) -> u32 {
    data as u32
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.{})", self.index, self.generation)
    }
}

/// Tells reactors apart in debug builds, and is nothing in release builds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReactorId {
    #[cfg(debug_assertions)]
    id: u32,
}

#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Option<Token>>() == 8);

impl ReactorId {
    pub(crate) fn new() -> Self {
        #[cfg(debug_assertions)]
        {
            use std::sync::atomic::{AtomicU32, Ordering};
            static NEXT: AtomicU32 = AtomicU32::new(0);
            Self { id: NEXT.fetch_add(1, Ordering::Relaxed) }
        }
        #[cfg(not(debug_assertions))]
        Self {}
    }

    #[inline]
    #[track_caller]
    pub(crate) fn check(self, token: Token) {
        debug_assert!(self == token.reactor, "{token:?} belongs to another reactor");
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
            let token = Token { index, generation, reactor };
            assert_eq!(name(token.data()), token.name());
        }
    }
}
