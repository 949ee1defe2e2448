//! Registrations: what a reactor watches, under which name, and the sources it owns.
//!
//! Invariant: a slot is occupied exactly while its registration lasts, and the kernel's entry carries
//! the slot and its generation. An exclusive registration cannot be modified, says the kernel.

use crate::reactor::{Armed, Reactor, Registration, Subject};
use crate::{InsertError, Source, Token};
use epoll_sys::{Epoll, ExclusiveWatch, Interest, Readiness, Watch, is_nonblocking};
use std::io;
use std::ops::{Index, IndexMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

impl<T: Source, S> Reactor<T, S> {
    /// Takes ownership of `source` and watches it.
    ///
    /// A source that is ready already is reported by the next wait, whatever the trigger.
    ///
    /// # Errors
    ///
    /// Each gives the source back.
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): an edge trigger on a descriptor that blocks.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this descriptor is registered already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is a regular file or a directory.
    /// - [`StorageFull`](io::ErrorKind::StorageFull) and
    ///   [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel takes no more, or no more than 2^32
    ///   registrations exist.
    ///
    /// The others of [`Epoll::add`].
    #[inline]
    pub fn insert(&mut self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Armed::Shared(watch))
    }

    /// Like [`insert`](Self::insert) with `EPOLLEXCLUSIVE`: of all epoll instances that watch this
    /// source exclusively at least one is woken, not all.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), and [`InvalidInput`](io::ErrorKind::InvalidInput) for an
    /// epoll instance.
    pub fn insert_exclusive(
        &mut self,
        source: T,
        watch: ExclusiveWatch,
    ) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Armed::Exclusive(watch))
    }

    fn insert_armed(&mut self, source: T, armed: Armed) -> Result<Token, InsertError<T>> {
        if !T::NONBLOCKING {
            if let Err(error) = refuse_blocking_edge(source.as_fd(), armed) {
                return Err(InsertError { source, error });
            }
        }
        match self.prepare(source.as_fd(), armed) {
            Ok(token) => {
                self.occupy(Subject::Owned(source), armed);
                Ok(token)
            }
            Err(error) => Err(InsertError { source, error }),
        }
    }

    /// Watches a descriptor that lives elsewhere; its reports carry `tag`.
    ///
    /// It is borrowed for the call alone. [`unwatch`](Self::unwatch) it before it is closed. A
    /// descriptor that was closed first leaves a registration that is never reported, until
    /// [`forget`](Self::forget).
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert).
    pub fn watch(&mut self, source: impl AsFd, tag: S, watch: Watch) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Armed::Shared(watch))
    }

    /// Like [`watch`](Self::watch) with `EPOLLEXCLUSIVE`.
    ///
    /// # Errors
    ///
    /// Those of [`insert_exclusive`](Self::insert_exclusive).
    pub fn watch_exclusive(
        &mut self,
        source: impl AsFd,
        tag: S,
        watch: ExclusiveWatch,
    ) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Armed::Exclusive(watch))
    }

    fn watch_armed(&mut self, fd: BorrowedFd<'_>, tag: S, armed: Armed) -> io::Result<Token> {
        refuse_blocking_edge(fd, armed)?;
        let token = self.prepare(fd, armed)?;
        self.occupy(Subject::Watched { tag, fd: fd.as_raw_fd() }, armed);
        Ok(token)
    }

    /// Issues the `EPOLL_CTL_ADD` for the slot that the next [`occupy`](Self::occupy) will fill.
    #[inline]
    pub(crate) fn prepare(&mut self, fd: BorrowedFd<'_>, armed: Armed) -> io::Result<Token> {
        let token = self.next_token()?;
        match armed {
            Armed::Shared(watch) => self.epoll.add(fd, token.data(), watch)?,
            Armed::Exclusive(watch) => self.epoll.add_exclusive(fd, token.data(), watch)?,
        }
        self.counters.adds += 1;
        Ok(token)
    }

    #[inline]
    pub(crate) fn occupy(&mut self, subject: Subject<T, S>, armed: Armed) {
        let watch = match armed {
            Armed::Shared(watch) => Some(watch),
            Armed::Exclusive(_) => None,
        };
        self.slots.insert(Registration { subject, revisit: Readiness::empty(), watch });
    }

    /// Watches an owned source another way from now on: `EPOLL_CTL_MOD`.
    ///
    /// The kernel looks at the source again, so one that is ready is reported anew by the next wait,
    /// whatever its trigger. A report of it that is in the present batch stays there.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): the token names no owned source.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the source is registered exclusively (remove
    ///   it and insert it again), or an edge trigger on a descriptor that blocks.
    ///
    /// The others of [`Epoll::modify`].
    pub fn modify(&mut self, token: Token, watch: Watch) -> io::Result<()> {
        self.id.check(token);
        let Some(Registration { subject: Subject::Owned(source), watch: present, .. }) =
            self.slots.get_mut(token.index, token.generation.get())
        else {
            return Err(no_such_source());
        };
        if !T::NONBLOCKING {
            refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        }
        modify(&self.epoll, source.as_fd(), token, present, watch)?;
        self.counters.mods += 1;
        Ok(())
    }

    /// Watches an owned source for `interest` from now on, with the trigger it has.
    ///
    /// Costs a system call only where it has an effect: when the interest differs from the one in
    /// force, or when the source is one-shot, which its report has disarmed.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify), for an exclusive registration even when nothing would
    /// change.
    #[inline]
    pub fn set_interest(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.id.check(token);
        match self.slots.get(token.index, token.generation.get()) {
            Some(Registration { subject: Subject::Owned(_), watch: Some(watch), .. }) => {
                let wanted = watch.with_interest(interest);
                if wanted == *watch && !wanted.is_oneshot() {
                    return Ok(());
                }
                self.modify(token, wanted)
            }
            Some(Registration { subject: Subject::Owned(_), watch: None, .. }) => Err(exclusive()),
            _ => Err(no_such_source()),
        }
    }

    /// Watches a descriptor that lives elsewhere another way from now on.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`NotFound`](io::ErrorKind::NotFound) also when `source`
    /// is another descriptor than the one that was registered.
    pub fn modify_watched(
        &mut self,
        token: Token,
        source: impl AsFd,
        watch: Watch,
    ) -> io::Result<()> {
        if !self.is_watched(token, Some(source.as_fd())) {
            return Err(no_such_source());
        }
        let Some(Registration { watch: present, .. }) =
            self.slots.get_mut(token.index, token.generation.get())
        else {
            return Err(no_such_source());
        };
        refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        modify(&self.epoll, source.as_fd(), token, present, watch)?;
        self.counters.mods += 1;
        Ok(())
    }

    /// Takes an owned source out and gives it back: `EPOLL_CTL_DEL`.
    ///
    /// It is not reported any more, not even if the present batch holds a report of it. `None`: the
    /// token names no owned source.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let source = self.take_owned(token)?;
        // It fails when the value has another descriptor by now, and then there is no entry to
        // delete for it.
        let _ = self.epoll.delete(source.as_fd());
        self.counters.dels += 1;
        Some(source)
    }

    /// Takes an owned source out and drops it, which closes its descriptor.
    ///
    /// Where the type promises that its descriptor is [unshared](Source::UNSHARED), closing alone
    /// ends the registration, and a system call is saved. `false`: the token names no owned source.
    #[inline]
    pub fn close(&mut self, token: Token) -> bool {
        if T::UNSHARED { self.take_owned(token).is_some() } else { self.remove(token).is_some() }
    }

    fn take_owned(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        match self.slots.remove(token.index, token.generation.get())?.subject {
            Subject::Owned(source) => Some(source),
            Subject::Watched { .. } | Subject::Waker => None,
        }
    }

    /// Ends the registration of a descriptor that lives elsewhere: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one; then the registration stays.
    pub fn unwatch(&mut self, token: Token, source: impl AsFd) -> io::Result<()> {
        if !self.is_watched(token, Some(source.as_fd())) {
            return Err(no_such_source());
        }
        self.epoll.delete(source)?;
        self.counters.dels += 1;
        self.slots.remove(token.index, token.generation.get());
        Ok(())
    }

    /// Ends the registration of a descriptor that was closed without [`unwatch`](Self::unwatch).
    /// `false`: the token names no watched descriptor.
    ///
    /// Closing has removed the kernel's entry, unless the descriptor had been cloned.
    pub fn forget(&mut self, token: Token) -> bool {
        self.is_watched(token, None)
            && self.slots.remove(token.index, token.generation.get()).is_some()
    }

    /// Whether the token names a watched descriptor, and `source`, if given, is that one.
    fn is_watched(&self, token: Token, source: Option<BorrowedFd<'_>>) -> bool {
        self.id.check(token);
        match self.slots.get(token.index, token.generation.get()) {
            Some(Registration { subject: Subject::Watched { fd, .. }, .. }) => {
                source.is_none_or(|source| source.as_raw_fd() == *fd)
            }
            _ => false,
        }
    }

    /// The token that the next registration will have, for a source that wants to know its own, or
    /// for two that want to know one another's.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory): 2^32 registrations exist.
    pub fn next_token(&self) -> io::Result<Token> {
        let (index, generation) = self.slots.next().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Token { index, generation, reactor: self.id })
    }

    /// The source that the reactor owns under this name.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        self.id.check(token);
        match self.slots.get(token.index, token.generation.get()) {
            Some(Registration { subject: Subject::Owned(source), .. }) => Some(source),
            _ => None,
        }
    }

    /// The source that the reactor owns under this name, to change it.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.id.check(token);
        match self.slots.get_mut(token.index, token.generation.get()) {
            Some(Registration { subject: Subject::Owned(source), .. }) => Some(source),
            _ => None,
        }
    }

    /// Two sources at once; `None` when one of the tokens names no owned source, or both the same.
    #[inline]
    pub fn get_disjoint_mut(&mut self, tokens: [Token; 2]) -> Option<[&mut T; 2]> {
        tokens.iter().for_each(|&token| self.id.check(token));
        let [one, other] = tokens.map(|token| (token.index, token.generation.get()));
        match self.slots.get_disjoint_mut(one, other)? {
            (
                Registration { subject: Subject::Owned(one), .. },
                Registration { subject: Subject::Owned(other), .. },
            ) => Some([one, other]),
            _ => None,
        }
    }

    /// The sources that the reactor owns, in no order that means anything. Visits every slot.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let reactor = self.id;
        self.slots.iter().filter_map(move |(index, generation, registration)| {
            match &registration.subject {
                Subject::Owned(source) => Some((Token { index, generation, reactor }, source)),
                Subject::Watched { .. } | Subject::Waker => None,
            }
        })
    }

    /// Like [`iter`](Self::iter), to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let reactor = self.id;
        self.slots.iter_mut().filter_map(move |(index, generation, registration)| {
            match &mut registration.subject {
                Subject::Owned(source) => Some((Token { index, generation, reactor }, source)),
                Subject::Watched { .. } | Subject::Waker => None,
            }
        })
    }
}

fn modify(
    epoll: &Epoll,
    fd: BorrowedFd<'_>,
    token: Token,
    present: &mut Option<Watch>,
    watch: Watch,
) -> io::Result<()> {
    if present.is_none() {
        return Err(exclusive());
    }
    epoll.modify(fd, token.data(), watch)?;
    *present = Some(watch);
    Ok(())
}

/// An edge is reported once, so its handler reads until nothing is left: a descriptor that blocks
/// would hang the loop there.
pub(crate) fn refuse_blocking_edge(fd: BorrowedFd<'_>, armed: Armed) -> io::Result<()> {
    let edge = match armed {
        Armed::Shared(watch) => watch.is_edge(),
        Armed::Exclusive(watch) => watch.is_edge(),
    };
    if edge && !is_nonblocking(fd)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an edge-triggered source must be non-blocking, and this one blocks",
        ));
    }
    Ok(())
}

fn exclusive() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "an exclusive registration cannot be modified; remove it and insert it again",
    )
}

pub(crate) fn no_such_source() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such source in this reactor")
}

impl<T: Source, S> Index<Token> for Reactor<T, S> {
    type Output = T;

    /// The source under this name.
    ///
    /// # Panics
    ///
    /// When the token names no owned source; see [`Reactor::get`].
    #[inline]
    fn index(&self, token: Token) -> &T {
        self.get(token).expect("the token names no source of this reactor")
    }
}

impl<T: Source, S> IndexMut<Token> for Reactor<T, S> {
    #[inline]
    fn index_mut(&mut self, token: Token) -> &mut T {
        self.get_mut(token).expect("the token names no source of this reactor")
    }
}
