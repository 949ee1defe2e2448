//! Waiting for a time: nanoseconds where the kernel has `epoll_pwait2`, whole milliseconds rounded
//! up elsewhere. Never early, and only zero is zero.
//!
//! Kernel facts: (a) `epoll_pwait2` came with Linux 5.11; older kernels, and emulators such as
//! valgrind, answer `ENOSYS`, some seccomp filters `EPERM`; (b) `epoll_wait` counts milliseconds in
//! an `int`, about 24.8 days.

use crate::{Events, errno};
use rustix::event::{Timespec, epoll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set once, when the kernel has answered that it has no `epoll_pwait2`.
static MILLISECONDS_ONLY: AtomicBool = AtomicBool::new(false);

/// `struct __kernel_timespec`: 64 bits each, on 32-bit machines too.
#[repr(C)]
#[derive(Debug, PartialEq, Eq)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Duration,
) -> io::Result<usize> {
    if !MILLISECONDS_ONLY.load(Ordering::Relaxed) {
        match wait_nanoseconds(epoll, events, timeout) {
            Err(error) if is_missing(&error) => MILLISECONDS_ONLY.store(true, Ordering::Relaxed),
            done => return done,
        }
    }
    wait_milliseconds(epoll, events, timeout)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

fn wait_nanoseconds(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Duration,
) -> io::Result<usize> {
    let timeout = nanoseconds(timeout);
    events.list.clear();
    let room = events.list.spare_capacity_mut();
    let room_len = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the arguments are those of epoll_pwait2(2). The descriptor is borrowed, so open. The
    // kernel writes at most `room_len` events to `room`, which has room for as many and is not
    // touched elsewhere during the call. The timeout is a live `__kernel_timespec`. The signal mask
    // is null, in which case its size is not looked at.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            room.as_mut_ptr(),
            room_len,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: `count` is at most `room_len`, which is at most the capacity, and the kernel has
    // written the first `count` events.
    unsafe { events.list.set_len(count) };
    Ok(count)
}

fn wait_milliseconds(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Duration,
) -> io::Result<usize> {
    wait_timespec(epoll, events, Some(&milliseconds(timeout)))
}

/// `epoll_wait` for ever (`None`), or for a time that is a number of milliseconds in an `int`.
#[inline]
pub(crate) fn wait_timespec(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Option<&Timespec>,
) -> io::Result<usize> {
    events.list.clear();
    let room = rustix::buffer::spare_capacity(&mut events.list);
    epoll::wait(epoll.as_fd(), room, timeout).map_err(errno::error)
}

fn nanoseconds(timeout: Duration) -> KernelTimespec {
    KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    }
}

/// Rounds up to a millisecond and clamps to what `epoll_wait` can count.
fn milliseconds(timeout: Duration) -> Timespec {
    const NANOSECONDS: u128 = 1_000_000;
    let rounded = timeout.as_nanos().div_ceil(NANOSECONDS);
    let clamped = i64::from(i32::try_from(rounded).unwrap_or(i32::MAX));
    Timespec { tv_sec: clamped / 1000, tv_nsec: (clamped % 1000 * 1_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoll, EventFd, Interest, Watch};
    use proptest::prelude::*;
    use std::time::Instant;

    type Wait = fn(BorrowedFd<'_>, &mut Events, Duration) -> io::Result<usize>;
    const BOTH: [Wait; 2] = [wait_nanoseconds, wait_milliseconds];

    fn as_duration(time: &Timespec) -> Duration {
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    }

    proptest! {
        #[test]
        fn milliseconds_are_never_early_and_less_than_one_late(
            seconds in 0_u64..2_000_000, nanoseconds in 0_u32..1_000_000_000,
        ) {
            let timeout = Duration::new(seconds, nanoseconds);
            let rounded = as_duration(&milliseconds(timeout));
            prop_assert!(rounded >= timeout);
            prop_assert!(rounded - timeout < Duration::from_millis(1));
        }
    }

    #[test]
    fn huge_timeouts_clamp() {
        assert_eq!(
            as_duration(&milliseconds(Duration::MAX)),
            Duration::from_millis(u64::from(i32::MAX.unsigned_abs()))
        );
        assert_eq!(nanoseconds(Duration::MAX).seconds, i64::MAX);
    }

    #[test]
    fn huge_timeouts_are_taken_by_the_kernel() {
        for wait in BOTH {
            let (epoll, ready) = (Epoll::new().unwrap(), EventFd::new(1).unwrap());
            epoll.add(&ready, 7, Watch::level(Interest::IN)).unwrap();
            let mut events = Events::with_capacity(4);
            assert_eq!(wait(epoll.as_fd(), &mut events, Duration::MAX).unwrap(), 1);
            assert_eq!(events.get(0).unwrap().data, 7);
        }
    }

    #[test]
    fn neither_way_to_wait_returns_early() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(1);
        for wait in BOTH {
            for timeout in [Duration::from_nanos(1), Duration::from_micros(1_300)] {
                let start = Instant::now();
                assert_eq!(wait(epoll.as_fd(), &mut events, timeout).unwrap(), 0);
                assert!(start.elapsed() >= timeout);
            }
        }
    }

    #[test]
    fn a_kernel_without_nanoseconds_is_recognised() {
        for errno in [libc::ENOSYS, libc::EPERM] {
            assert!(is_missing(&io::Error::from_raw_os_error(errno)));
        }
        assert!(!is_missing(&io::Error::from_raw_os_error(libc::EINTR)));
    }
}
