//! Epoll instances and eventfds that take the place of others, after `fork` for example.
//!
//! Kernel facts: (a) an entry is the pair of an open file description and a descriptor number, and
//! `EPOLL_CTL_ADD` answers `EEXIST` for a pair that is there: so it tells whether a number still
//! names the file that was added, and changes nothing if it does; (b) a child of `fork` shares the
//! epoll instance and the eventfd of its parent, and what it deletes there is deleted for both;
//! (c) `dup3` replaces what a number refers to in one step, for this process alone.

use crate::{Epoll, EventFd, Interest, InterestEntry, Watch};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// `EPOLLONESHOT`, without an interest.
const ONESHOT: u32 = Watch::oneshot(Interest::empty()).bits();

impl Epoll {
    /// `epoll_ctl(EPOLL_CTL_ADD)`: watches the descriptor that `from` watches as `entry`, with the
    /// entry's events and data.
    ///
    /// The entry names its descriptor by number. Nothing is added unless `from` watches the file
    /// that has this number now: a descriptor that was closed is never taken for its successor.
    /// Nothing changes in `from`, which another process may share.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): the descriptor was closed, and its number is vacant
    ///   or belongs to a file that `from` does not watch.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this instance watches it already.
    /// - [`StorageFull`](io::ErrorKind::StorageFull), [`OutOfMemory`](io::ErrorKind::OutOfMemory):
    ///   as for [`add`](Self::add).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Epoll, EventFd, Events, Interest, InterestEntry, Watch};
    /// use std::os::fd::{AsFd, AsRawFd};
    ///
    /// let (old, source) = (Epoll::new()?, EventFd::new(1)?);
    /// let watch = Watch::level(Interest::IN);
    /// old.add(&source, 7, watch)?;
    ///
    /// let new = Epoll::new()?;
    /// let fd = source.as_fd().as_raw_fd();
    /// new.copy_entry(&old, InterestEntry { fd, events: watch.bits(), data: 7 })?;
    /// let mut events = Events::with_capacity(1);
    /// assert_eq!(new.wait(&mut events, None)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "epoll_ctl")]
    pub fn copy_entry(&self, from: &Self, entry: InterestEntry) -> io::Result<()> {
        let InterestEntry { fd, events, data } = entry;
        // In case that it is added, which shows that it was not there: it is deleted at once.
        match control(from, libc::EPOLL_CTL_ADD, fd, ONESHOT, 0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                control(self, libc::EPOLL_CTL_ADD, fd, events, data)
            }
            added => {
                if added.is_ok() {
                    control(from, libc::EPOLL_CTL_DEL, fd, 0, 0)?;
                }
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the descriptor was closed since it was added",
                ))
            }
        }
    }
}

impl Epoll {
    /// `dup3`: puts the instance of `new` under the number of this one too, in one step.
    ///
    /// Every call that begins afterwards goes to the new instance. A wait that has begun goes on in the
    /// old one, which is closed when the last such wait has ended.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today for two open descriptors; the `Result` leaves room for what the
    /// kernel may refuse. This instance stays then.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Epoll, EventFd, Events, Interest, Watch};
    ///
    /// let (epoll, new, source) = (Epoll::new()?, Epoll::new()?, EventFd::new(1)?);
    /// new.add(&source, 7, Watch::level(Interest::IN))?;
    /// epoll.replace(&new)?;
    /// assert_eq!(epoll.wait(&mut Events::with_capacity(1), None)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "dup3")]
    pub fn replace(&self, new: &Self) -> io::Result<()> {
        replace(self.as_fd(), new.as_fd())
    }
}

fn control(epoll: &Epoll, operation: i32, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the arguments are those of epoll_ctl(2). `event` lives for the call. The number `fd`
    // need not be open: epoll neither reads, writes nor closes what it names, and the kernel refuses
    // a number that names nothing.
    let result =
        unsafe { libc::epoll_ctl(epoll.as_fd().as_raw_fd(), operation, fd, &raw mut event) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns whether a descriptor is an epoll instance, also one that other code has made.
///
/// Such a descriptor is readable while the instance has events. It is never read itself, and
/// `O_NONBLOCK` means nothing for it.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`: the question takes a descriptor for a moment.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Epoll, EventFd, is_epoll};
///
/// assert!(is_epoll(Epoll::new()?)?);
/// assert!(!is_epoll(EventFd::new(0)?)?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_epoll(fd: impl AsFd) -> io::Result<bool> {
    // An instance answers ENOENT, for nobody watches a descriptor that is new; EINVAL is the answer of
    // everything else. Without /proc there is no other way to ask.
    let stranger = EventFd::new(0)?;
    let answer = rustix::event::epoll::delete(fd.as_fd(), stranger.as_fd());
    Ok(answer == Err(rustix::io::Errno::NOENT))
}

impl EventFd {
    /// `dup3`: puts a new counter, which starts at zero, under the number of this one.
    ///
    /// After `fork` parent and child share a counter, and a write of either wakes the other. A child
    /// that renews it has one of its own, and all references to it use the new one. An epoll
    /// instance that watches the old counter does not watch the new one.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. The old counter
    /// stays then.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::EventFd;
    ///
    /// let counter = EventFd::new(3)?;
    /// counter.renew()?;
    /// assert_eq!(counter.read().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "dup3")]
    pub fn renew(&self) -> io::Result<()> {
        let new = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        replace(self.as_fd(), new.as_fd())
    }
}

/// Puts the file of `new`, which is of the same kind, under the number of `old`.
fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    let (old, new) = (old.as_raw_fd(), new.as_raw_fd());
    // SAFETY: the arguments are those of dup3(2). Both descriptors are borrowed, so open. The number
    // stays open throughout and stays its owner's, who closes it; it refers to the same kind of file as
    // before, so whoever borrows it finds what its type promises.
    let result = unsafe { libc::dup3(new, old, libc::O_CLOEXEC) };
    if result == old { Ok(()) } else { Err(io::Error::last_os_error()) }
}
