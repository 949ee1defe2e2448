//! Waits that signals interrupt: they go on, end no earlier, and lose nothing.

use crate::shared::{
    StopAtTheEnd, TRIGGERS, Told, Trigger, asleep, beside_workers, look, read, wait, with_ready,
    with_silent, work,
};
use crate::support::drain;
use epoll_kit_testing::{DEADLINE, OwnProcess, assert_kind, is_own_process, under_strace};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Watch};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Interrupts the first three waits of each thread; which of these calls it is depends on the
/// timeout and on the kernel's age.
const INTERRUPT: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:error=EINTR:when=1..3"];

/// Interrupts every second wait of each thread.
const STORM: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:error=EINTR:when=1+2"];

#[test]
fn an_interrupted_look_looks_again() {
    const NAME: &str = "shared::interruptions::an_interrupted_look_looks_again";
    under_strace(NAME, &INTERRUPT, || {
        let (reactor, token, _theirs) = with_ready(Watch::edge(Interest::IN));
        let mut worker = reactor.worker();
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
        assert_eq!(worker.counters().waits, 4);
    });
}

#[test]
fn an_interrupted_look_beside_revisits_looks_again() {
    const NAME: &str = "shared::interruptions::an_interrupted_look_beside_revisits_looks_again";
    under_strace(NAME, &INTERRUPT, || {
        let (reactor, token, _theirs) = with_silent(Watch::oneshot(Interest::IN));
        let mut worker = reactor.worker();
        reactor.lease(token).unwrap().revisit(Readiness::IN);
        assert!(worker.wait(None).unwrap());
        assert_eq!(worker.counters().waits, 4);
        assert_eq!(wait(&mut worker), [Told::brought(token, b"")]);
    });
}

#[test]
fn an_interrupted_wait_is_no_shorter() {
    const NAME: &str = "shared::interruptions::an_interrupted_wait_is_no_shorter";
    under_strace(NAME, &INTERRUPT, || {
        const TIMEOUT: Duration = Duration::from_millis(20);
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let start = Instant::now();
        assert!(worker.wait(Some(TIMEOUT)).unwrap());
        assert!(start.elapsed() >= TIMEOUT);
        assert!(worker.next_ready().is_none());
        assert!(worker.counters().waits >= 4);
    });
}

/// Refuses the first wait of each thread.
const REFUSE: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:error=ENOMEM:when=1"];

#[test]
fn a_wait_that_the_kernel_refuses_is_an_error() {
    const NAME: &str = "shared::interruptions::a_wait_that_the_kernel_refuses_is_an_error";
    under_strace(NAME, &REFUSE, || {
        let (reactor, token, _theirs) = with_ready(Watch::edge(Interest::IN));
        let mut worker = reactor.worker();
        assert_kind(worker.wait(None), ErrorKind::OutOfMemory);
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
    });
}

/// Echoes words of one byte through three workers.
fn converse(reactor: &SharedReactor<Stream>, watch: Trigger, words: u8) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    reactor.insert(ours.try_into().unwrap(), watch(Interest::IN)).unwrap();
    let serve = |mut lease: Lease<'_, Stream>| {
        let words = drain(&lease);
        lease.write_all(&words).unwrap();
    };
    beside_workers(reactor, 3, serve, || {
        for word in 0..words {
            theirs.write_all(&[word]).unwrap();
            let mut echo = [0];
            theirs.read_exact(&mut echo).unwrap();
            assert_eq!(echo, [word]);
        }
    });
}

#[test]
fn nothing_is_lost_where_every_second_wait_is_interrupted() {
    const NAME: &str =
        "shared::interruptions::nothing_is_lost_where_every_second_wait_is_interrupted";
    under_strace(NAME, &STORM, || {
        for watch in TRIGGERS {
            converse(&SharedReactor::new().unwrap(), watch, 100);
        }
    });
}

#[test]
fn a_stop_is_heard_where_every_second_wait_is_interrupted() {
    const NAME: &str =
        "shared::interruptions::a_stop_is_heard_where_every_second_wait_is_interrupted";
    under_strace(NAME, &STORM, || {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        beside_workers(&reactor, 10, |_| (), || ());
        assert!(reactor.is_stopped());
    });
}

/// The number of times the process is stopped and continued, which interrupts the waits of all its threads.
const STOPS: usize = 50;

/// Its process is stopped and continued while its threads wait without end.
#[test]
fn a_process_that_is_stopped_again_and_again_waits_on() {
    const NAME: &str = "shared::interruptions::a_process_that_is_stopped_again_and_again_waits_on";
    if is_own_process(NAME) {
        return report_what_ends_the_waits();
    }
    let child = OwnProcess::spawn(NAME);
    child.await_sleep();
    for _ in 0..STOPS {
        child.stop();
        child.proceed();
    }
    // The end of its standard input lets it go on.
    child.assert_passed();
}

fn report_what_ends_the_waits() {
    let (reactor, token, mut theirs) = with_silent(Watch::oneshot(Interest::IN));
    let (send, told) = mpsc::channel();
    let work = || work(&reactor, |lease| send.send(read(lease)).unwrap());
    thread::scope(|threads| {
        let _stop = StopAtTheEnd(&reactor);
        asleep(threads, 3, work);
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        assert!(told.try_recv().is_err(), "an interruption is no report");
        theirs.write_all(b"word").unwrap();
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), Told::brought(token, b"word"));
    });
}
