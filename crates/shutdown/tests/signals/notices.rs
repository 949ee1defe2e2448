//! Other threads learn of the phase.

use crate::support::{PATIENCE, send_to_self};
use epoll_shutdown::{Drain, Notice, Signal, Signals, State, Timestamp};
use epoll_sys::{Epoll, EventFd, Events, Interest, Watch};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// A thread that sleeps in an epoll until it is woken, and tells of each state it then sees.
fn sleeper(notice: &Notice, tell: mpsc::Sender<State>) -> JoinHandle<()> {
    let wake = Arc::new(EventFd::new(0).expect("an eventfd"));
    let waker = Arc::clone(&wake);
    notice.wake_with(move || waker.write(1).expect("a counter with room"));
    let notice = notice.clone();
    thread::spawn(move || {
        let epoll = Epoll::new().expect("an epoll");
        epoll.add(&*wake, 0, Watch::level(Interest::IN)).expect("a registration");
        let mut events = Events::with_capacity(1);
        let mut state = State::Running;
        // A look at the notice here could end it before the wake that it has to tell of.
        while state != State::Stopped {
            assert_eq!(epoll.wait(&mut events, Some(PATIENCE)).expect("a wait"), 1, "no wake");
            // The counter first: a change after the look would be lost otherwise.
            wake.read().expect("a counter");
            state = notice.state();
            tell.send(state).expect("a listener");
        }
    })
}

pub(crate) fn a_publication_wakes_threads_that_wait() {
    const THREADS: usize = 4;
    let signals = Signals::block([Signal::TERM, Signal::INT]).expect("signals");
    let notice = Notice::new();
    let (tell, told) = mpsc::channel();
    let threads: Vec<_> = (0..THREADS).map(|_| sleeper(&notice, tell.clone())).collect();
    let mut drain = Drain::new(None);
    for (signal, state) in [(Signal::TERM, State::Draining), (Signal::INT, State::Stopped)] {
        send_to_self(signal);
        let info = signals.read().expect("a signal").expect("one that has come");
        drain.signal(info.signal, Timestamp::now());
        notice.publish(&drain);
        for _ in 0..THREADS {
            assert_eq!(told.recv_timeout(PATIENCE), Ok(state));
        }
    }
    threads.into_iter().for_each(|thread| thread.join().expect("a thread that returns"));
}
