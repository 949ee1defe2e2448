//! `eventfd`: a 64-bit counter that can be waited for.
//!
//! Kernel fact: with an edge-triggered registration each write is a new edge, so a descriptor that
//! only wakes never has to be read.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A counter in the kernel, [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).
///
/// Watched with an edge trigger it is reported once for each write and need not be read.
///
/// Any thread may read and write it. A forked child shares the counter with its parent: if one reads it,
/// it is zero for both. `exec` closes it.
///
/// # Examples
///
/// ```
/// use epoll_sys::EventFd;
///
/// let counter = EventFd::new(0)?;
/// counter.write(2)?;
/// counter.write(3)?;
/// assert_eq!(counter.read()?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// `eventfd(EFD_CLOEXEC | EFD_NONBLOCK)`: creates a counter that starts at `initial`.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    #[doc(alias = "eventfd")]
    pub fn new(initial: u32) -> io::Result<Self> {
        Self::with(initial, EventfdFlags::empty())
    }

    /// `eventfd(EFD_SEMAPHORE)`: creates a counter like [`new`](Self::new), from which a read takes
    /// one instead of all.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    #[doc(alias = "EFD_SEMAPHORE")]
    pub fn semaphore(initial: u32) -> io::Result<Self> {
        Self::with(initial, EventfdFlags::SEMAPHORE)
    }

    fn with(initial: u32, flags: EventfdFlags) -> io::Result<Self> {
        Ok(Self { fd: eventfd(initial, flags | EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// `write`: adds `value` to the counter.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): the sum would pass `u64::MAX - 1`.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): `value` is `u64::MAX`.
    #[inline]
    pub fn write(&self, value: u64) -> io::Result<()> {
        rustix::io::write(&self.fd, &value.to_ne_bytes())?;
        Ok(())
    }

    /// `read`: takes the counter's value and leaves zero; a semaphore gives one and keeps the rest.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): the counter is zero.
    #[inline]
    pub fn read(&self) -> io::Result<u64> {
        read_u64(self.fd.as_fd())
    }
}

/// Reads eight bytes. An eventfd or a timerfd never answers with fewer.
#[inline]
pub(crate) fn read_u64(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::io::read(fd, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

impl AsFd for EventFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for EventFd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<EventFd> for OwnedFd {
    fn from(counter: EventFd) -> Self {
        counter.fd
    }
}
