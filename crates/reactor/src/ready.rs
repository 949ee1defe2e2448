//! The reports of a reactor.

use crate::Token;
use epoll_sys::Readiness;

/// One report of [`Reactor::next_ready`](crate::Reactor::next_ready).
#[derive(Debug)]
pub enum Ready<'a, T, S = ()> {
    /// A source that the reactor owns.
    Owned {
        /// Its name.
        token: Token,
        /// The source itself.
        source: &'a mut T,
        /// The events that the kernel reported, and the readiness of a revisit.
        readiness: Readiness,
    },
    /// A descriptor that lives elsewhere.
    Watched {
        /// The name of its registration.
        token: Token,
        /// The tag under which it was registered.
        tag: S,
        /// The events that the kernel reported, and the readiness of a revisit.
        readiness: Readiness,
    },
    /// A [`Waker`](crate::Waker) of this reactor was used.
    Woken,
}
