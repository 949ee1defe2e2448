//! A registered source in hand, with one set of methods, whichever reactor it is registered with.

use crate::{Reactor, Source, Token};
use epoll_sys::{Interest, Readiness};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

/// A registered source in hand: the [`Entry`] of a [`Reactor`], or the
/// [`Lease`](crate::shared::Lease) of a [`SharedReactor`](crate::shared::SharedReactor).
///
/// Code that serves connections is written once against this trait, and serves the connections of a
/// single thread as well as those that threads share.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::{Interest, Reactor, Readiness, Registration, Watch};
/// use std::io::{self, ErrorKind, Read};
///
/// /// Reads what there is, up to a budget, and closes the stream at its end.
/// fn serve(mut stream: impl Registration<Source = Stream>, bytes: &mut Vec<u8>) -> io::Result<()> {
///     let mut buffer = [0; 64];
///     match stream.read(&mut buffer) {
///         Ok(0) => stream.close(),
///         Ok(len) => {
///             bytes.extend_from_slice(&buffer[..len]);
///             stream.revisit(Readiness::IN);
///         }
///         Err(error) if error.kind() == ErrorKind::WouldBlock => {
///             stream.set_interest(Interest::IN)?;
///         }
///         Err(_) => stream.close(),
///     }
///     Ok(())
/// }
///
/// let (ours, theirs) = Stream::pair()?;
/// let mut reactor: Reactor<Stream> = Reactor::new()?;
/// let token = reactor.insert(ours, Watch::edge(Interest::IN))?;
/// drop(theirs);
///
/// let mut bytes = Vec::new();
/// let entry = reactor.entry(token).expect("it is registered");
/// serve(entry, &mut bytes)?;
/// assert!(reactor.entry(token).is_none(), "its peer was gone");
/// # Ok::<(), io::Error>(())
/// ```
pub trait Registration: DerefMut<Target = Self::Source> {
    /// The type of the source.
    type Source: Source;

    /// Returns the name of the registration.
    fn token(&self) -> Token;

    /// Returns the interest; of a leased source the one that takes effect when the lease ends. `None` if the
    /// source is parked.
    fn interest(&self) -> Option<Interest>;

    /// Changes the interest of the source and keeps its trigger; of a leased source when the lease
    /// ends. A source that is parked is parked no longer.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::set_interest`]. With a lease it does not fail: a refusal of the kernel is
    /// reported with the next lease, see [`Lease::is_unwatched`](crate::shared::Lease::is_unwatched).
    fn set_interest(&mut self, interest: Interest) -> io::Result<()>;

    /// Reports the source again after the others, with `readiness`; see [`Reactor::revisit`]. An empty
    /// `readiness` does nothing.
    fn revisit(&mut self, readiness: Readiness);

    /// Silences the source until it is unparked; see [`Reactor::park`].
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::park`]. With a lease, which acts when it ends, it does not fail.
    fn park(&mut self) -> io::Result<()>;

    /// Watches a source that is parked as before; see [`Reactor::unpark`].
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::unpark`]. With a lease, which acts when it ends, it does not fail.
    fn unpark(&mut self) -> io::Result<()>;

    /// Ends the registration and drops the source, which closes its descriptor.
    fn close(self)
    where
        Self: Sized;

    /// Ends the registration and gives the source back.
    fn remove(self) -> Self::Source
    where
        Self: Sized;
}

/// A source of a [`Reactor`] in hand; see [`Reactor::entry`].
pub struct Entry<'a, T: Source, S = ()> {
    reactor: &'a mut Reactor<T, S>,
    /// The token of a source that `reactor` owns.
    token: Token,
}

impl<T: Source, S> Reactor<T, S> {
    /// Returns a source as a [`Registration`], for code that serves the sources of any reactor; there is
    /// an example there. `None` if the token names no owned source.
    #[inline]
    pub fn entry(&mut self, token: Token) -> Option<Entry<'_, T, S>> {
        self.get(token).is_some().then_some(Entry { reactor: self, token })
    }
}

impl<T: Source, S> Registration for Entry<'_, T, S> {
    type Source = T;

    #[inline]
    fn token(&self) -> Token {
        self.token
    }

    fn interest(&self) -> Option<Interest> {
        match self.reactor.is_parked(self.token) {
            true => None,
            false => self.reactor.record(self.token).map(|record| record.watch().interest()),
        }
    }

    #[inline]
    fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        self.reactor.set_interest(self.token, interest)
    }

    #[inline]
    fn revisit(&mut self, readiness: Readiness) {
        self.reactor.revisit(self.token, readiness);
    }

    fn park(&mut self) -> io::Result<()> {
        self.reactor.park(self.token)
    }

    fn unpark(&mut self) -> io::Result<()> {
        self.reactor.unpark(self.token)
    }

    fn close(self) {
        self.reactor.close(self.token);
    }

    fn remove(self) -> T {
        match self.reactor.remove(self.token) {
            Some(source) => source,
            None => not_registered(),
        }
    }
}

impl<T: Source, S> Deref for Entry<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.reactor.get(self.token) {
            Some(source) => source,
            None => not_registered(),
        }
    }
}

impl<T: Source, S> DerefMut for Entry<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match self.reactor.get_mut(self.token) {
            Some(source) => source,
            None => not_registered(),
        }
    }
}

/// An entry borrows the reactor, so its source stays registered.
#[cold]
fn not_registered() -> ! {
    unreachable!("the source of an entry is registered")
}

impl<T: Source + fmt::Debug, S> fmt::Debug for Entry<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("token", &self.token)
            .field("source", &**self)
            .finish_non_exhaustive()
    }
}
