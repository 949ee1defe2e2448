//! `epoll_create1`, `epoll_ctl` and `epoll_wait`.
//!
//! Kernel facts: (a) an entry is the pair of an open file description and a descriptor number;
//! (b) closing removes it only with the last reference to the description, so after `dup` or `fork`
//! the events go on for a number that can no longer be deleted: delete before closing whatever may
//! have been cloned; (c) one batch can hold an event of a source that the handler of an earlier
//! event has closed, and another source may have its number by then: see the data, not the number.

use crate::{BusyPoll, Events, ExclusiveWatch, InterestEntry, Watch, busy_poll, interest_list};
use rustix::event::{Timespec, epoll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// An epoll instance, [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html).
///
/// Any thread may add, modify, delete and wait, several at once. A forked child shares the instance
/// with its parent: entries that one of them adds or deletes are added or deleted for both, and an event
/// that one of them fetches may be missing in the other. `exec` closes it.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Epoll, EventFd, Events, Interest, Watch};
///
/// let epoll = Epoll::new()?;
/// let source = EventFd::new(0)?;
/// epoll.add(&source, 42, Watch::level(Interest::IN))?;
///
/// source.write(1)?;
/// let mut events = Events::with_capacity(16);
/// assert_eq!(epoll.wait(&mut events, None)?, 1);
/// assert_eq!(events.get(0).unwrap().data, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// `epoll_create1(EPOLL_CLOEXEC)`: a new, empty instance,
    /// [epoll_create(2)](https://man7.org/linux/man-pages/man2/epoll_create.2.html).
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE` (no [`io::ErrorKind`] of their own): this process, or the system, is
    /// out of descriptors. [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel is out of memory.
    #[doc(alias = "epoll_create")]
    #[doc(alias = "epoll_create1")]
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// `epoll_ctl(EPOLL_CTL_ADD)`: watches `source`, whose events will carry `data`,
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
    ///
    /// The source is borrowed for the call alone. It is watched until it is deleted or the last
    /// descriptor of its open file description is closed.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this descriptor is watched already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it cannot be watched; regular files
    ///   and directories are always ready.
    /// - `EBADF`: the descriptor was opened with `O_PATH`.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): it is this instance itself.
    /// - `ELOOP`: it is an instance that watches this one, or the nesting is deeper than five.
    /// - [`StorageFull`](io::ErrorKind::StorageFull): `/proc/sys/fs/epoll/max_user_watches` is
    ///   reached.
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel has no memory for the entry.
    #[doc(alias = "epoll_ctl")]
    #[inline]
    pub fn add(&self, source: impl AsFd, data: u64, watch: Watch) -> io::Result<()> {
        self.add_bits(source.as_fd(), data, watch.bits())
    }

    /// `epoll_ctl(EPOLL_CTL_ADD)` with `EPOLLEXCLUSIVE`: like [`add`](Self::add), and of all
    /// instances that watch `source` this way at least one is woken, not all.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add), and [`InvalidInput`](io::ErrorKind::InvalidInput) when `source`
    /// is an epoll instance.
    #[doc(alias = "EPOLLEXCLUSIVE")]
    pub fn add_exclusive(
        &self,
        source: impl AsFd,
        data: u64,
        watch: ExclusiveWatch,
    ) -> io::Result<()> {
        self.add_bits(source.as_fd(), data, watch.bits())
    }

    #[inline]
    fn add_bits(&self, source: BorrowedFd<'_>, data: u64, bits: u32) -> io::Result<()> {
        Ok(epoll::add(&self.fd, source, epoll::EventData::new_u64(data), flags(bits))?)
    }

    /// `epoll_ctl(EPOLL_CTL_MOD)`: watches `source` another way from now on, with other data.
    ///
    /// The kernel looks at the source again: a source that is ready is reported anew, whatever
    /// the trigger. This is how a one-shot source is armed again.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): this descriptor is not watched.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): it is watched exclusively; delete it and
    ///   add it again. Or it is this instance itself.
    /// - `EBADF`, [`PermissionDenied`](io::ErrorKind::PermissionDenied): as for
    ///   [`add`](Self::add).
    #[doc(alias = "epoll_ctl")]
    #[inline]
    pub fn modify(&self, source: impl AsFd, data: u64, watch: Watch) -> io::Result<()> {
        let data = epoll::EventData::new_u64(data);
        Ok(epoll::modify(&self.fd, source.as_fd(), data, flags(watch.bits()))?)
    }

    /// `epoll_ctl(EPOLL_CTL_DEL)`: watches `source` no longer.
    ///
    /// Waits that begin later do not report it. A batch that was fetched earlier may hold an event
    /// of it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this descriptor is not watched. `EBADF`,
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): as for [`add`](Self::add).
    #[doc(alias = "epoll_ctl")]
    #[inline]
    pub fn delete(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, source.as_fd())?)
    }

    /// `epoll_wait`: waits until a source is ready or `timeout` is over, replaces the contents of
    /// `events` and returns how many there are,
    /// [epoll_wait(2)](https://man7.org/linux/man-pages/man2/epoll_wait.2.html).
    ///
    /// `None` waits without end; zero only looks. Any other timeout has the precision of
    /// nanoseconds (`epoll_pwait2`), or is rounded up to a millisecond where the kernel lacks that
    /// call. It is never cut short, but for two clamps: to 292 thousand million years, and to 24.8
    /// days on such an older kernel. The kernel adds slack to it, 50 microseconds or more.
    ///
    /// A result of zero after a timeout of zero does not prove that no source is ready while other
    /// threads wait on the same instance.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](io::ErrorKind::Interrupted): a signal handler ran, or the process was
    /// stopped and continued. The buffer is empty then; wait again with what is left of the
    /// timeout.
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "epoll_pwait2")]
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        use crate::timeout::{wait, wait_timespec};
        match timeout {
            None => wait_timespec(self.fd.as_fd(), events, None),
            Some(Duration::ZERO) => {
                let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
                wait_timespec(self.fd.as_fd(), events, Some(&zero))
            }
            Some(timeout) => wait(self.fd.as_fd(), events, timeout),
        }
    }

    /// Returns the interest list of this instance as the kernel shows it in `/proc/self/fdinfo`,
    /// [proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html).
    ///
    /// For tests and for debugging: the read holds the instance's lock while it walks every entry.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): `/proc` is not mounted. The message names the file.
    /// - `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    /// - [`InvalidData`](io::ErrorKind::InvalidData): a line has another form.
    pub fn interest_list(&self) -> io::Result<Vec<InterestEntry>> {
        interest_list::read(self.fd.as_fd())
    }

    /// `ioctl(EPIOCGPARAMS)`: returns how waits poll the network device before they sleep,
    /// [ioctl_eventpoll(2)](https://man7.org/linux/man-pages/man2/ioctl_eventpoll.2.html).
    ///
    /// # Errors
    ///
    /// `ENOTTY` before Linux 6.9, `EOPNOTSUPP` where the kernel is built without busy polling.
    #[doc(alias = "EPIOCGPARAMS")]
    pub fn busy_poll(&self) -> io::Result<BusyPoll> {
        busy_poll::get(self.fd.as_fd())
    }

    /// `ioctl(EPIOCSPARAMS)`: sets how waits poll the network device before they sleep.
    ///
    /// # Errors
    ///
    /// Those of [`busy_poll`](Self::busy_poll), [`InvalidInput`](io::ErrorKind::InvalidInput) for a
    /// time above `i32::MAX` microseconds, and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a packet budget above 64 without
    /// `CAP_NET_ADMIN`.
    #[doc(alias = "EPIOCSPARAMS")]
    pub fn set_busy_poll(&self, params: BusyPoll) -> io::Result<()> {
        busy_poll::set(self.fd.as_fd(), params)
    }
}

#[inline]
fn flags(bits: u32) -> epoll::EventFlags {
    epoll::EventFlags::from_bits_retain(bits)
}

impl AsFd for Epoll {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Epoll {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Epoll> for OwnedFd {
    fn from(epoll: Epoll) -> Self {
        epoll.fd
    }
}
