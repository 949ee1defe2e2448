//! Linux readiness I/O, one to one with the man pages and safe: `epoll`, `eventfd`, `timerfd`,
//! `signalfd`, the thread's signal mask, pipes to splice through, and the socket calls that a server
//! needs.
//!
//! Every descriptor made here is close-on-exec. It is non-blocking too, except for [`Epoll`], whose waits have
//! a timeout. Descriptors are owned by the types
//! ([`OwnedFd`](std::os::fd::OwnedFd)) and borrowed by the calls ([`AsFd`](std::os::fd::AsFd)).
//! Errors are [`std::io::Error`] and keep the errno. Each call documents its errors, by
//! [`ErrorKind`](std::io::ErrorKind) if the standard library has a stable one and by errno otherwise. The caller
//! handles `EINTR`.
//!
//! [`ClaimCell`], by which threads share a value, makes no system call. It is here because only this crate may
//! contain `unsafe`.
//!
//! Not here: an event loop (see `epoll-reactor`), buffering, other operating systems.
//!
//! # Examples
//!
//! Waiting for a socket:
//!
//! ```
//! use epoll_sys::{Epoll, Events, Interest, Readiness, Watch, socket};
//!
//! let (ours, theirs) = socket::pair()?;
//! let epoll = Epoll::new()?;
//! epoll.add(&ours, 1, Watch::edge(Interest::IN | Interest::RDHUP))?;
//!
//! socket::send(&theirs, b"hello")?;
//! drop(theirs);
//!
//! let mut events = Events::with_capacity(64);
//! epoll.wait(&mut events, None)?;
//! let event = events.get(0).unwrap();
//! assert_eq!(event.data, 1);
//! assert!(event.readiness.contains(Readiness::IN | Readiness::RDHUP));
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("epoll-sys wraps system calls of Linux and builds for no other system");

mod epoll;
mod events;
mod flags;
mod interest_list;
mod timeout;

mod busy_poll;
mod carry_over;
mod claim_cell;
mod clock;
mod descriptor;
mod eventfd;
mod mask_guard;
mod pipe;
mod signal;
mod signal_set;
mod signalfd;
mod thread_masks;
mod timerfd;

pub mod errno;
#[cfg(feature = "net")]
pub mod socket;

pub use busy_poll::BusyPoll;
pub use carry_over::is_epoll;
pub use claim_cell::{ClaimCell, ClaimGuard, Updated};
pub use clock::{Boottime, Clock, ClockTime, Monotonic, Realtime, Timestamp};
pub use descriptor::{is_nonblocking, poll_readable, read, replace, set_nonblocking, try_lock};
pub use epoll::Epoll;
pub use eventfd::EventFd;
pub use events::{Event, Events};
pub use flags::{ExclusiveInterest, ExclusiveWatch, Interest, Readiness, Trigger, Watch};
pub use interest_list::InterestEntry;
pub use mask_guard::MaskGuard;
pub use pipe::Pipe;
pub use signal::Signal;
pub use signal_set::SignalSet;
pub use signalfd::{SignalFd, SignalInfo};
pub use thread_masks::{ThreadMask, set_child_mask, thread_masks};
pub use timerfd::{Expiry, TimerFd};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
