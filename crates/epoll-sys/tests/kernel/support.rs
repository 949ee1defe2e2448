//! Functions for all modules: waits as lists of events, sockets, and threads without a capability.

use epoll_kit_testing::DEADLINE;
use epoll_sys::{Epoll, Event, Events, Interest, Watch, socket};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use std::{panic, thread};

/// The events of a wait with timeout zero.
#[track_caller]
pub(crate) fn look(epoll: &Epoll) -> Vec<Event> {
    wait_with(epoll, 16, Some(Duration::ZERO))
}

/// The events of a wait that has to bring some.
#[track_caller]
pub(crate) fn wait(epoll: &Epoll) -> Vec<Event> {
    let events = wait_with(epoll, 16, Some(DEADLINE));
    assert!(!events.is_empty(), "no event before the deadline");
    events
}

/// The events of one wait for at most `events_max`.
#[track_caller]
pub(crate) fn wait_with(epoll: &Epoll, events_max: usize, timeout: Option<Duration>) -> Vec<Event> {
    let mut events = Events::with_capacity(events_max);
    let count = epoll.wait(&mut events, timeout).unwrap();
    assert_eq!(count, events.len());
    events.iter().collect()
}

/// A TCP socket of this machine that listens on a port of the kernel's choice.
pub(crate) fn tcp_listener() -> (OwnedFd, SocketAddr) {
    let listener = socket::stream(socket::Family::Inet).unwrap();
    socket::bind(&listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket::listen(&listener, 16).unwrap();
    let address = socket::local_address(&listener).unwrap().inet().unwrap();
    (listener, address)
}

/// Both ends of a TCP connection, the accepted one second.
pub(crate) fn tcp_pair() -> (OwnedFd, OwnedFd) {
    let (listener, address) = tcp_listener();
    tcp_connected(&listener, &address)
}

/// Both ends of a new connection to `listener`, the accepted one second.
pub(crate) fn tcp_connected(listener: &OwnedFd, address: &SocketAddr) -> (OwnedFd, OwnedFd) {
    let ours = socket::stream(socket::Family::Inet).unwrap();
    socket::connect(&ours, address).unwrap();
    await_readiness(listener, Interest::IN);
    let (theirs, _) = socket::accept(listener).unwrap();
    await_readiness(&ours, Interest::OUT);
    (ours, theirs)
}

/// Returns when `source` is ready for `interest`.
#[track_caller]
pub(crate) fn await_readiness(source: impl AsFd, interest: Interest) {
    let epoll = Epoll::new().unwrap();
    epoll.add(source, 0, Watch::level(interest)).unwrap();
    wait(&epoll);
}

/// Runs `body` in a thread of its own, whose mask and capabilities go with it.
#[track_caller]
pub(crate) fn on_own_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(body).join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Runs `body` in a thread that lacks `capability`, which a privileged user would have.
#[track_caller]
pub(crate) fn without<T: Send + 'static>(
    capability: CapabilitySet,
    body: impl FnOnce() -> T + Send + 'static,
) -> T {
    on_own_thread(move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(capability);
        set_capabilities(None, sets).unwrap();
        body()
    })
}
