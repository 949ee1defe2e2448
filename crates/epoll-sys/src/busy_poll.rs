//! Busy-poll parameters of an epoll instance (Linux 6.9). They act on network devices that have a
//! NAPI id; the loopback device has none.

use rustix::ioctl::{self, Getter, Setter, opcode};
use std::io;
use std::os::fd::BorrowedFd;

/// The polling of the network device before a wait sleeps, `struct epoll_params`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusyPoll {
    /// The time to poll, in microseconds; zero turns it off.
    pub usecs: u32,
    /// The most packets that a poll may take.
    pub budget: u16,
    /// Keeps the device's interrupts masked while the program keeps polling.
    pub prefer: bool,
}

/// `struct epoll_params` of linux/eventpoll.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Params {
    busy_poll_usecs: u32,
    busy_poll_budget: u16,
    prefer_busy_poll: u8,
    padding: u8,
}

const _: () = assert!(size_of::<Params>() == 8);

const EPOLL_IOC_TYPE: u8 = 0x8A;
const EPIOCSPARAMS: ioctl::Opcode = opcode::write::<Params>(EPOLL_IOC_TYPE, 1);
const EPIOCGPARAMS: ioctl::Opcode = opcode::read::<Params>(EPOLL_IOC_TYPE, 2);

pub(crate) fn get(epoll: BorrowedFd<'_>) -> io::Result<BusyPoll> {
    // SAFETY: EPIOCGPARAMS fills a `struct epoll_params`, which `Params` mirrors, and any bytes the
    // kernel may write are a valid `Params`.
    let getter = unsafe { Getter::<EPIOCGPARAMS, Params>::new() };
    // SAFETY: the operation has the opcode that it was made for, and it is issued on an epoll
    // descriptor, which is what gives that opcode its meaning.
    let params = unsafe { ioctl::ioctl(epoll, getter) }?;
    Ok(BusyPoll {
        usecs: params.busy_poll_usecs,
        budget: params.busy_poll_budget,
        prefer: params.prefer_busy_poll != 0,
    })
}

pub(crate) fn set(epoll: BorrowedFd<'_>, params: BusyPoll) -> io::Result<()> {
    let params = Params {
        busy_poll_usecs: params.usecs,
        busy_poll_budget: params.budget,
        prefer_busy_poll: u8::from(params.prefer),
        padding: 0,
    };
    // SAFETY: EPIOCSPARAMS reads a `struct epoll_params`, which `Params` mirrors, padding zeroed.
    let setter = unsafe { Setter::<EPIOCSPARAMS, Params>::new(params) };
    // SAFETY: the operation has the opcode that it was made for, and it is issued on an epoll
    // descriptor, which is what gives that opcode its meaning.
    Ok(unsafe { ioctl::ioctl(epoll, setter) }?)
}
