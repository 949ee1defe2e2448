//! Epoll instances and eventfds that take the place of others, in this process and in a forked child.

use crate::support::{look, wait};
use epoll_kit_testing::{assert_kind, close, eventually, in_own_process, sleeps_in_a_wait};
use epoll_sys::{
    Epoll, EventFd, Events, Interest, InterestEntry, Pipe, TimerFd, Watch, is_epoll, socket,
};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

fn entry(source: impl AsFd, watch: Watch, data: u64) -> InterestEntry {
    InterestEntry { fd: source.as_fd().as_raw_fd(), events: watch.bits(), data }
}

#[test]
fn an_entry_is_copied_and_the_old_instance_is_left_as_it_was() {
    let (old, new, source) =
        (Epoll::new().unwrap(), Epoll::new().unwrap(), EventFd::new(0).unwrap());
    let oneshot = Watch::oneshot(Interest::IN);
    old.add(&source, 1, oneshot).unwrap();
    let before = old.interest_list().unwrap();
    new.copy_entry(&old, entry(&source, Watch::edge(Interest::IN), 2)).unwrap();
    assert_eq!(old.interest_list().unwrap(), before);
    source.write(1).unwrap();
    assert_eq!(wait(&new)[0].data, 2);
    assert_eq!(look(&new), [], "the edge has been reported");
    assert_eq!(wait(&old)[0].data, 1);
    let again = new.copy_entry(&old, entry(&source, READABLE, 3));
    assert_kind(again, ErrorKind::AlreadyExists);
}

#[test]
fn a_descriptor_that_was_closed_is_not_taken_for_its_successor() {
    const NAME: &str = "carry_over::a_descriptor_that_was_closed_is_not_taken_for_its_successor";
    in_own_process(NAME, || {
        let (old, new) = (Epoll::new().unwrap(), Epoll::new().unwrap());
        let closed = EventFd::new(1).unwrap();
        let lost = entry(&closed, READABLE, 1);
        old.add(&closed, 1, READABLE).unwrap();
        close(closed);
        // Vacant, another file that can be watched, and one that cannot.
        assert_kind(new.copy_entry(&old, lost), ErrorKind::NotFound);
        let successor = EventFd::new(1).unwrap();
        assert_eq!(successor.as_raw_fd(), lost.fd);
        assert_kind(new.copy_entry(&old, lost), ErrorKind::NotFound);
        assert_eq!(old.interest_list().unwrap(), []);
        drop(successor);
        let file = File::open(".").unwrap();
        assert_eq!(file.as_raw_fd(), lost.fd);
        assert_kind(new.copy_entry(&old, lost), ErrorKind::NotFound);
        assert_eq!(new.interest_list().unwrap(), []);
    });
}

#[test]
fn a_number_that_is_none_is_refused() {
    let (old, new) = (Epoll::new().unwrap(), Epoll::new().unwrap());
    for fd in [-1, i32::MIN, i32::MAX, old.as_raw_fd(), new.as_raw_fd()] {
        let entry = InterestEntry { fd, events: READABLE.bits(), data: 0 };
        assert_kind(new.copy_entry(&old, entry), ErrorKind::NotFound);
    }
    assert_eq!(old.interest_list().unwrap(), []);
}

#[test]
fn an_instance_is_told_from_everything_else() {
    let (one, other) = socket::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    assert!(is_epoll(&epoll).unwrap());
    epoll.add(&one, 0, READABLE).unwrap();
    assert!(is_epoll(&epoll).unwrap());
    assert_eq!(epoll.interest_list().unwrap().len(), 1, "the question changes nothing");
    assert!(!is_epoll(&one).unwrap() && !is_epoll(&other).unwrap());
    assert!(!is_epoll(EventFd::new(0).unwrap()).unwrap());
    assert!(!is_epoll(TimerFd::new().unwrap()).unwrap());
    assert!(!is_epoll(File::open(".").unwrap()).unwrap());
    let (reader, writer) = Pipe::new().unwrap().into();
    assert!(!is_epoll(reader).unwrap() && !is_epoll(writer).unwrap());
}

#[test]
fn a_renewed_counter_is_another_one_under_the_same_number() {
    let counter = EventFd::new(3).unwrap();
    let clone = counter.as_fd().try_clone_to_owned().unwrap();
    let (number, epoll) = (counter.as_raw_fd(), Epoll::new().unwrap());
    epoll.add(&counter, 0, READABLE).unwrap();
    counter.renew().unwrap();
    assert_eq!(counter.as_raw_fd(), number);
    assert_kind(counter.read(), ErrorKind::WouldBlock);
    counter.write(1).unwrap();
    // The clone is the old counter, which the instance watches.
    let mut bytes = [0; 8];
    epoll_sys::read(&clone, &mut bytes).unwrap();
    assert_eq!(u64::from_ne_bytes(bytes), 3);
    assert_eq!(look(&epoll), []);
    assert_eq!(counter.read().unwrap(), 1);
    let flags = rustix::io::fcntl_getfd(&counter).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    assert!(epoll_sys::is_nonblocking(&counter).unwrap());
}

#[test]
fn an_instance_that_is_replaced_goes_on_for_those_who_wait() {
    let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
    epoll.add(&source, 1, READABLE).unwrap();
    thread::scope(|threads| {
        let (sender, tid) = mpsc::channel();
        let epoll = &epoll;
        let waiting = threads.spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let mut events = Events::with_capacity(1);
            epoll.wait(&mut events, None).unwrap();
            events.get(0).unwrap().data
        });
        let tid = tid.recv().unwrap();
        eventually("the thread sleeps", || sleeps_in_a_wait(process::id(), tid));
        let new = Epoll::new().unwrap();
        new.add(&source, 2, READABLE).unwrap();
        epoll.replace(&new).unwrap();
        drop(new);
        assert_eq!(epoll.interest_list().unwrap()[0].data, 2);
        source.write(1).unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
    assert_eq!(wait(&epoll)[0].data, 2);
    let flags = rustix::io::fcntl_getfd(&epoll).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn a_forked_child_gets_an_instance_and_a_counter_of_its_own() {
    const NAME: &str = "carry_over::a_forked_child_gets_an_instance_and_a_counter_of_its_own";
    in_own_process(NAME, || {
        let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
        let waker = EventFd::new(0).unwrap();
        epoll.add(&source, 1, READABLE).unwrap();
        epoll.add(&waker, 2, READABLE).unwrap();
        // SAFETY: the child calls nothing but system calls through this crate before it ends with
        // `_exit`: it takes no lock, and what it allocates another thread cannot have locked, for libtest
        // runs this one test and its main thread only waits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let status = i32::from(in_child(&epoll, &source, &waker).is_err());
            // SAFETY: `_exit` ends the child, and has no condition.
            unsafe { libc::_exit(status) };
        }
        let mut status = -1;
        // SAFETY: `status` is a live int, and `child` a child of this process.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        // Nothing that the child did has reached the parent, but for what it wrote to the source.
        assert_eq!(epoll.interest_list().unwrap().len(), 2);
        assert_kind(waker.read(), ErrorKind::WouldBlock);
        assert_eq!(wait(&epoll).iter().map(|event| event.data).collect::<Vec<_>>(), [1]);
    });
}

fn in_child(parents: &Epoll, source: &EventFd, waker: &EventFd) -> io::Result<()> {
    let own = Epoll::new()?;
    own.copy_entry(parents, entry(source, READABLE, 1))?;
    waker.renew()?;
    own.add(waker, 2, READABLE)?;
    let mut events = Events::with_capacity(4);
    let mut seen = |written: &EventFd| -> io::Result<u64> {
        written.write(1)?;
        own.wait(&mut events, Some(Duration::from_secs(10)))?;
        Ok(events.iter().map(|event| event.data).sum())
    };
    let sums = (seen(waker)?, seen(source)?);
    own.delete(source)?;
    if sums == (2, 3) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}
