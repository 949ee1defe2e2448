//! Registrations: what a reactor watches, under which name, and the sources it owns.
//!
//! Invariants: a slot is occupied exactly while its registration lasts, and the kernel's entry carries
//! the slot and its generation; a watched descriptor's number names one registration, the latest.
//!
//! Kernel facts: (a) `EPOLL_CTL_ADD` of a number that is watched already succeeds if the number names
//! another file by now: then the older descriptor was closed; (b) an exclusive entry cannot be
//! modified, only deleted and added again; (c) HUP and ERR are reported whatever the interest is, so
//! only an entry that is deleted, or one-shot and disarmed, is silent.

use crate::reactor::Reactor;
use crate::record::{Arm, Record, State};
use crate::{InsertError, Source, Token};
use epoll_sys::{ExclusiveWatch, Interest, Watch, is_epoll, is_nonblocking};
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
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the descriptor blocks, so a handler that reads
    ///   or writes more than is there would stop the loop. Make it non-blocking
    ///   ([`epoll_sys::set_nonblocking`]), or use [`insert_blocking`](Self::insert_blocking).
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this descriptor is registered already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is a regular file or a directory.
    /// - [`StorageFull`](io::ErrorKind::StorageFull) and
    ///   [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel takes no more, or no more than 2^32
    ///   registrations exist.
    ///
    /// The others of [`Epoll::add`](epoll_sys::Epoll::add).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::io::ErrorKind;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut reactor: Reactor<UnixStream> = Reactor::new()?;
    /// let refused = reactor.insert(ours, Watch::level(Interest::IN)).unwrap_err();
    /// assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "it blocks");
    ///
    /// let ours = refused.source;
    /// ours.set_nonblocking(true)?;
    /// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    /// assert!(reactor.get(token).is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn insert(&mut self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Arm::Normal(watch), Blocking::Refused)
    }

    /// Like [`insert`](Self::insert), for a descriptor that blocks: a child's output, a terminal that
    /// other processes share.
    ///
    /// Its handler makes one read or write for each report and no more: another one may block.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), but [`InvalidInput`](io::ErrorKind::InvalidInput) only with
    /// an edge trigger, which asks for reading until nothing is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    /// use std::io::Read;
    /// use std::process::{ChildStdout, Command, Stdio};
    ///
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let mut reactor: Reactor<ChildStdout> = Reactor::new()?;
    /// let output = child.stdout.take().expect("it is piped");
    /// reactor.insert_blocking(output, Watch::level(Interest::IN))?;
    ///
    /// let mut printed = Vec::new();
    /// while !reactor.is_empty() {
    ///     reactor.wait(None)?;
    ///     while let Some(ready) = reactor.next_ready() {
    ///         let Ready::Owned { token, source, .. } = ready else { continue };
    ///         let mut buffer = [0; 64];
    ///         match source.read(&mut buffer)? {
    ///             0 => {
    ///                 reactor.close(token);
    ///             }
    ///             len => printed.extend_from_slice(&buffer[..len]),
    ///         }
    ///     }
    /// }
    /// assert_eq!(printed, b"hello\n");
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert_blocking(&mut self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Arm::Normal(watch), Blocking::Allowed)
    }

    /// Like [`insert`](Self::insert) with `EPOLLEXCLUSIVE`: of all epoll instances that watch this
    /// source exclusively at least one is woken, not all.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), and [`InvalidInput`](io::ErrorKind::InvalidInput) for an
    /// epoll instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Reactor, Ready};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let address = listener.local_addr()?;
    /// // Each thread has a clone in a reactor of its own.
    /// let mut reactor: Reactor<TcpListener> = Reactor::new()?;
    /// let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
    /// reactor.insert_exclusive(listener.try_clone()?, watch)?;
    ///
    /// let _client = TcpStream::connect(address)?;
    /// reactor.wait(None)?;
    /// let Some(Ready::Owned { source, .. }) = reactor.next_ready() else { panic!("a report") };
    /// assert!(source.accept().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "EPOLLEXCLUSIVE")]
    pub fn insert_exclusive(
        &mut self,
        source: T,
        watch: ExclusiveWatch,
    ) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Arm::Exclusive(watch), Blocking::Refused)
    }

    fn insert_armed(
        &mut self,
        source: T,
        arm: Arm,
        blocking: Blocking,
    ) -> Result<Token, InsertError<T>> {
        // A type that promises it saves an fcntl for each insertion.
        if !source.is_nonblocking() {
            if let Err(error) = refuse_blocking(source.as_fd(), arm, blocking) {
                return Err(InsertError { source, error });
            }
        }
        // Named before there is a slot: the kernel's entry carries the name, and if the kernel refuses,
        // there is no slot to undo.
        let token = match self.next_token() {
            Ok(token) => token,
            Err(error) => return Err(InsertError { source, error }),
        };
        match self.add(source.as_fd(), token, arm) {
            Ok(closed) => {
                self.slots.insert(Record::owned(source, arm));
                closed.map(|closed| self.end_watched(closed));
                Ok(token)
            }
            Err(error) => Err(InsertError { source, error }),
        }
    }

    /// Watches a descriptor that lives elsewhere; its reports carry `tag`.
    ///
    /// It is borrowed for the call alone. [`unwatch`](Self::unwatch) it before it is closed. If it is
    /// closed first, its registration lasts until [`forget`](Self::forget) or until a descriptor with
    /// its number is registered, and is reported only while a clone of the descriptor is open. While the
    /// descriptor is parked, the kernel does not have it: to register it again ends this registration
    /// instead of failing with [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), but [`InvalidInput`](io::ErrorKind::InvalidInput) only for
    /// an edge trigger on a descriptor that blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{Listener, ListenOptions, Stream};
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    ///
    /// let listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?;
    /// let mut reactor: Reactor<Stream, &str> = Reactor::new()?;
    /// let token = reactor.watch(&listener, "listener", Watch::level(Interest::IN))?;
    ///
    /// let _client = Stream::connect(listener.address())?;
    /// reactor.wait(None)?;
    /// assert!(matches!(reactor.next_ready(), Some(Ready::Watched { tag: "listener", .. })));
    /// reactor.unwatch(token, &listener)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&mut self, source: impl AsFd, tag: S, watch: Watch) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Arm::Normal(watch))
    }

    /// Like [`watch`](Self::watch) with `EPOLLEXCLUSIVE`.
    ///
    /// # Errors
    ///
    /// Those of [`watch`](Self::watch), and [`InvalidInput`](io::ErrorKind::InvalidInput) for an epoll
    /// instance, a [`Listener`](crate::net::Listener) that pauses by itself among them.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{ListenOptions, Listener, PausedBy, Stream};
    /// use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Reactor, Ready};
    ///
    /// let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
    /// let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, &options)?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
    /// reactor.watch_exclusive(&listener, (), watch)?;
    ///
    /// let _client = Stream::connect(listener.address())?;
    /// reactor.wait(None)?;
    /// assert!(matches!(reactor.next_ready(), Some(Ready::Watched { .. })));
    /// assert_eq!(listener.accept_batch().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "EPOLLEXCLUSIVE")]
    pub fn watch_exclusive(
        &mut self,
        source: impl AsFd,
        tag: S,
        watch: ExclusiveWatch,
    ) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Arm::Exclusive(watch))
    }

    fn watch_armed(&mut self, fd: BorrowedFd<'_>, tag: S, arm: Arm) -> io::Result<Token> {
        refuse_blocking(fd, arm, Blocking::Allowed)?;
        let token = self.next_token()?;
        let closed = self.add(fd, token, arm)?;
        let number = fd.as_raw_fd();
        self.slots.insert(Record::watched(number, tag, arm));
        // First: to end the registration that had the number would otherwise take it from the new one.
        self.numbers.insert(number, token);
        closed.map(|closed| self.end_watched(closed));
        Ok(token)
    }

    /// Issues the `EPOLL_CTL_ADD` for the slot that the next insertion will fill. Returns the watched
    /// registration that has the same number, if there is one: its descriptor was closed, or the kernel
    /// would have answered `EEXIST`.
    #[inline]
    fn add(&mut self, fd: BorrowedFd<'_>, token: Token, arm: Arm) -> io::Result<Option<Token>> {
        arm.add(&self.epoll, fd, token.data())?;
        self.counters.adds += 1;
        Ok(self.numbers.remove(fd.as_raw_fd()))
    }

    /// Ends the registration of a watched descriptor, as far as the reactor is concerned.
    pub(crate) fn end_watched(&mut self, token: Token) -> bool {
        let (index, generation) = token.parts();
        match self.slots.remove(index, generation) {
            Some(Record::Watched { fd, .. }) => {
                // A newer registration may have the number by now.
                if self.numbers.get(fd) == Some(token) {
                    self.numbers.remove(fd);
                }
                true
            }
            _ => false,
        }
    }

    /// Changes the interest and the trigger of an owned source: `EPOLL_CTL_MOD`.
    ///
    /// The kernel polls the source again, so one that is ready is reported anew by the next wait,
    /// whatever its trigger. A report of it that is left of the present batch is still handed out. A
    /// source that is [parked](Self::park) is parked no longer.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): the token names no owned source.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the source is registered exclusively (remove
    ///   it and insert it again), or an edge trigger on a descriptor that blocks.
    ///
    /// The others of [`Epoll::modify`](epoll_sys::Epoll::modify), and of
    /// [`Epoll::add`](epoll_sys::Epoll::add) for a source that is parked.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    ///
    /// let (ours, _theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    /// reactor.modify(token, Watch::edge(Interest::OUT))?;
    /// reactor.wait(None)?;
    /// assert!(matches!(reactor.next_ready(), Some(Ready::Owned { .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify(&mut self, token: Token, watch: Watch) -> io::Result<()> {
        let Some(record) = self.record(token) else { return Err(no_such_source()) };
        let Record::Owned { source, .. } = record else { return Err(no_such_source()) };
        // The kernel would say EINVAL, without a word about the way out.
        if record.state().contains(State::EXCLUSIVE) {
            return Err(exclusive());
        }
        // Inserted as one that blocks, which a level trigger allows and an edge trigger does not.
        if !source.is_nonblocking() {
            refuse_blocking(source.as_fd(), Arm::Normal(watch), Blocking::Allowed)?;
        }
        self.arm(token, None, watch)
    }

    /// Changes the interest of an owned source and keeps its trigger.
    ///
    /// Costs a system call only if it has an effect: the interest differs from the one in force, the
    /// source is one-shot and its report has disarmed it, or it is [parked](Self::park), which it then
    /// is no longer.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify), for an exclusive registration even when nothing would
    /// change.
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
    /// let before = reactor.counters().mods;
    /// reactor.set_interest(token, Interest::IN)?;
    /// assert_eq!(reactor.counters().mods, before, "nothing to change");
    /// reactor.set_interest(token, Interest::OUT)?;
    /// assert_eq!(reactor.counters().mods, before + 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn set_interest(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let Some(record) = self.record(token) else { return Err(no_such_source()) };
        let wanted = record.watch().with_interest(interest);
        // Called after every message, so the usual answer, that nothing changes, is decided here.
        match record {
            Record::Owned { .. } if wanted == record.watch() && record.state().is_empty() => Ok(()),
            Record::Owned { .. } => self.set_other_interest(token, wanted),
            Record::Watched { .. } | Record::Waker { .. } => Err(no_such_source()),
        }
    }

    fn set_other_interest(&mut self, token: Token, wanted: Watch) -> io::Result<()> {
        match self.record(token) {
            Some(record)
                if wanted == record.watch()
                    && !record.state().intersects(
                        State::PARKED | State::DETACHED | State::ONESHOT | State::EXCLUSIVE,
                    ) =>
            {
                Ok(())
            }
            _ => self.modify(token, wanted),
        }
    }

    /// Changes the interest and the trigger of a descriptor that lives elsewhere, or arms it again.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`NotFound`](io::ErrorKind::NotFound) also when `source`
    /// is another descriptor than the one that was registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::time::Duration;
    ///
    /// let counter = EventFd::new(1)?;
    /// let mut reactor = Reactor::watch_only()?;
    /// let oneshot = Watch::oneshot(Interest::IN);
    /// let token = reactor.watch(&counter, (), oneshot)?;
    /// for expected in [true, false] {
    ///     reactor.wait(Some(Duration::ZERO))?;
    ///     assert_eq!(reactor.next_ready().is_some(), expected, "it is reported once");
    /// }
    /// reactor.modify_watched(token, &counter, oneshot)?;
    /// reactor.wait(None)?;
    /// assert!(reactor.next_ready().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify_watched(
        &mut self,
        token: Token,
        source: impl AsFd,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = source.as_fd();
        self.check_watched(token, fd)?;
        if self.record(token).is_some_and(|record| record.state().contains(State::EXCLUSIVE)) {
            return Err(exclusive());
        }
        refuse_blocking(fd, Arm::Normal(watch), Blocking::Allowed)?;
        self.arm(token, Some(fd), watch)
    }

    /// Takes an owned source out and gives it back: `EPOLL_CTL_DEL`.
    ///
    /// It is not reported any more, not even if the present batch holds a report of it. Returns `None`
    /// if the token names no owned source.
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
    /// let stream = reactor.remove(token).expect("it is registered");
    /// reactor.insert(stream, Watch::edge(Interest::IN))?;
    /// assert!(reactor.remove(token).is_none(), "it has another token now");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let (source, state) = self.take_owned(token)?;
        if !state.is_detached() {
            // Ignored: it fails when the value has another descriptor by now, which has no entry to
            // delete. Closing the registered one has removed its entry.
            let _ = self.epoll.delete(source.as_fd());
            self.counters.dels += 1;
        }
        Some(source)
    }

    /// Takes an owned source out and drops it, which closes its descriptor.
    ///
    /// Where the source promises that its descriptor is [unshared](Source::is_unshared), closing alone
    /// ends the registration, and a system call is saved. Returns `false` if the token names no owned
    /// source.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::io::Read;
    ///
    /// let (ours, mut theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    /// assert!(reactor.close(token));
    /// assert_eq!(theirs.read(&mut [0; 8])?, 0, "the end of the stream");
    /// assert!(!reactor.close(token), "it is closed already");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn close(&mut self, token: Token) -> bool {
        match self.get(token) {
            // The kernel deletes an entry with the last descriptor of its file.
            Some(source) if source.is_unshared() => self.take_owned(token).is_some(),
            Some(_) => self.remove(token).is_some(),
            None => false,
        }
    }

    fn take_owned(&mut self, token: Token) -> Option<(T, State)> {
        // Asked before the slot is emptied, which may be a watched descriptor's.
        self.get(token)?;
        let (index, generation) = token.parts();
        let record = self.slots.remove(index, generation)?;
        match record {
            Record::Owned { state, source, .. } => Some((source, state)),
            Record::Watched { .. } | Record::Waker { .. } => None,
        }
    }

    /// Ends the registration of a descriptor that lives elsewhere: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one; then the registration stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    ///
    /// let (counter, other) = (EventFd::new(0)?, EventFd::new(0)?);
    /// let mut reactor = Reactor::watch_only()?;
    /// let token = reactor.watch(&counter, (), Watch::level(Interest::IN))?;
    /// assert!(reactor.unwatch(token, &other).is_err());
    /// reactor.unwatch(token, &counter)?;
    /// assert!(reactor.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unwatch(&mut self, token: Token, source: impl AsFd) -> io::Result<()> {
        self.check_watched(token, source.as_fd())?;
        // The kernel's entry first: if that fails, the registration is as it was.
        if self.record(token).is_some_and(|record| !record.state().is_detached()) {
            self.epoll.delete(source)?;
            self.counters.dels += 1;
        }
        self.end_watched(token);
        Ok(())
    }

    /// Ends the registration of a descriptor that was closed without [`unwatch`](Self::unwatch).
    /// Returns `false` if the token names no watched descriptor.
    ///
    /// Closing has removed the kernel's entry, unless the descriptor had been cloned: then the kernel
    /// goes on reporting it until the reactor [rebuilds](Self::rebuild) its epoll instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    ///
    /// let counter = EventFd::new(0)?;
    /// let mut reactor = Reactor::watch_only()?;
    /// let token = reactor.watch(&counter, (), Watch::level(Interest::IN))?;
    /// drop(counter);
    /// assert!(reactor.forget(token));
    /// assert!(reactor.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn forget(&mut self, token: Token) -> bool {
        match self.record(token) {
            Some(Record::Watched { .. }) => self.end_watched(token),
            _ => false,
        }
    }

    /// Refuses a token that names no watched descriptor, or another one than `source`.
    pub(crate) fn check_watched(&self, token: Token, source: BorrowedFd<'_>) -> io::Result<()> {
        match self.record(token) {
            Some(Record::Watched { fd, .. }) if *fd == source.as_raw_fd() => Ok(()),
            _ => Err(no_such_source()),
        }
    }

    /// Returns the token that the next registration will have, for a source that has to know its own.
    /// [`next_tokens`](Self::next_tokens) does so for several that have to know one another.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory): 2^32 registrations exist.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    ///
    /// let (ours, _theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let next = reactor.next_token()?;
    /// assert_eq!(reactor.insert(ours, Watch::level(Interest::IN))?, next);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_token(&self) -> io::Result<Token> {
        let [token] = self.next_tokens()?;
        Ok(token)
    }

    /// Returns the tokens that the next registrations will have, in this order, as long as none ends
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`next_token`](Self::next_token).
    ///
    /// # Examples
    ///
    /// Two ends of a proxied connection, each of which knows the other:
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Source, Token, Watch};
    /// use std::os::fd::{AsFd, BorrowedFd};
    ///
    /// struct Side {
    ///     stream: Stream,
    ///     other: Token,
    /// }
    /// # impl AsFd for Side {
    /// #     fn as_fd(&self) -> BorrowedFd<'_> { self.stream.as_fd() }
    /// # }
    /// # impl Source for Side {
    /// #     fn is_nonblocking(&self) -> bool { self.stream.is_nonblocking() }
    /// # }
    ///
    /// let (client, backend) = Stream::pair()?;
    /// let mut reactor: Reactor<Side> = Reactor::new()?;
    /// let [first, second] = reactor.next_tokens()?;
    /// let watch = Watch::edge(Interest::IN);
    /// assert_eq!(reactor.insert(Side { stream: client, other: second }, watch)?, first);
    /// assert_eq!(reactor.insert(Side { stream: backend, other: first }, watch)?, second);
    /// assert_eq!(reactor[reactor[first].other].other, first);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_tokens<const N: usize>(&self) -> io::Result<[Token; N]> {
        let names = self.slots.next_ones().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(names.map(|(index, generation)| Token::new(self.id, index, generation)))
    }

    /// Returns the source that the reactor owns under this name.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        match self.record(token) {
            Some(Record::Owned { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// Returns the source that the reactor owns under this name, to change it.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.record_mut(token) {
            Some(Record::Owned { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// Returns two sources at once, or `None` when one of the tokens names no owned source, or both
    /// name the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    ///
    /// let (one, other) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let one = reactor.insert(one, Watch::level(Interest::IN))?;
    /// let other = reactor.insert(other, Watch::level(Interest::IN))?;
    /// assert!(reactor.get_disjoint_mut([one, other]).is_some());
    /// assert!(reactor.get_disjoint_mut([one, one]).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn get_disjoint_mut(&mut self, tokens: [Token; 2]) -> Option<[&mut T; 2]> {
        let [one, other] = tokens.map(|token| self.id.parts_of(token));
        match self.slots.get_disjoint_mut(one?, other?)? {
            (Record::Owned { source: one, .. }, Record::Owned { source: other, .. }) => {
                Some([one, other])
            }
            _ => None,
        }
    }

    /// Iterates over the sources that the reactor owns, in no particular order. Takes a step for each slot
    /// that was ever used.
    ///
    /// # Examples
    ///
    /// Closing every source, as at the end of a drain:
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Token, Watch};
    ///
    /// let (one, other) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.insert(one, Watch::level(Interest::IN))?;
    /// reactor.insert(other, Watch::level(Interest::IN))?;
    /// let tokens: Vec<Token> = reactor.iter().map(|(token, _)| token).collect();
    /// for token in tokens {
    ///     reactor.close(token);
    /// }
    /// assert!(reactor.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let reactor = self.id;
        self.slots.iter().filter_map(move |(index, generation, record)| match record {
            Record::Owned { source, .. } => Some((Token::new(reactor, index, generation), source)),
            Record::Watched { .. } | Record::Waker { .. } => None,
        })
    }

    /// Like [`iter`](Self::iter), to change the sources.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let reactor = self.id;
        self.slots.iter_mut().filter_map(move |(index, generation, record)| match record {
            Record::Owned { source, .. } => Some((Token::new(reactor, index, generation), source)),
            Record::Watched { .. } | Record::Waker { .. } => None,
        })
    }
}

/// The treatment of a descriptor that may block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocking {
    Refused,
    /// Except with an edge trigger: its handler reads until nothing is left, and would hang there.
    Allowed,
}

/// Refuses a descriptor that blocks where it must not.
pub(crate) fn refuse_blocking(fd: BorrowedFd<'_>, arm: Arm, blocking: Blocking) -> io::Result<()> {
    if (blocking == Blocking::Allowed && !arm.is_edge()) || is_nonblocking(fd)? {
        return Ok(());
    }
    // An epoll descriptor (another loop's) is never read, and O_NONBLOCK means nothing for it.
    if is_epoll(fd)? {
        return Ok(());
    }
    let message = match blocking {
        Blocking::Refused => "a source must be non-blocking, and this one blocks",
        Blocking::Allowed => "an edge-triggered source must be non-blocking, and this one blocks",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
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

    /// Returns the source under this name.
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
    /// Returns the source under this name, to change it.
    ///
    /// # Panics
    ///
    /// When the token names no owned source; see [`Reactor::get_mut`].
    #[inline]
    fn index_mut(&mut self, token: Token) -> &mut T {
        self.get_mut(token).expect("the token names no source of this reactor")
    }
}
