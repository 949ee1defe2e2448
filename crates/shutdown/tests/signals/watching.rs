//! Threads with event loops of their own learn of the phase, and their owner of their end.

use crate::support::{PATIENCE, block, send_to_self};
use epoll_shutdown::{Drain, DrainOutcome, DrainWatch, Participant, Phase, Signal, Timestamp};
use epoll_sys::{Epoll, EventFd, Events, Interest, Watch};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// A counter that is written to when something has changed.
fn waker_of(watch: &DrainWatch) -> Arc<EventFd> {
    let wake = Arc::new(EventFd::new(0).expect("an eventfd"));
    let waker = Arc::clone(&wake);
    watch.on_change(move || waker.write(1).expect("a counter with room"));
    wake
}

/// A thread that sleeps in an epoll until it is woken, and tells of each phase that it then sees.
fn sleeper(participant: Participant, tell: mpsc::Sender<Phase>) -> JoinHandle<()> {
    let wake = waker_of(participant.watch());
    thread::spawn(move || {
        let epoll = Epoll::new().expect("an epoll");
        epoll.add(&*wake, 0, Watch::level(Interest::IN)).expect("a registration");
        let mut events = Events::with_capacity(1);
        let mut phase = Phase::Running;
        // A look at the watch here could end it before the wake that it has to tell of.
        while !matches!(phase, Phase::Stopped { .. }) {
            assert_eq!(epoll.wait(&mut events, Some(PATIENCE)).expect("a wait"), 1, "no wake");
            // The counter first: a change after the look would be lost otherwise.
            wake.read().expect("a counter");
            phase = participant.watch().phase();
            tell.send(phase).expect("a listener");
        }
    })
}

const THREADS: usize = 4;

pub(crate) fn a_phase_wakes_threads_that_wait() {
    let signals = block([Signal::TERM, Signal::INT]);
    let watch = DrainWatch::new();
    let (tell, told) = mpsc::channel();
    let threads: Vec<_> =
        (0..THREADS).map(|_| sleeper(watch.participant(), tell.clone())).collect();
    let mut drain = Drain::new(None);
    for signal in [Signal::TERM, Signal::INT] {
        send_to_self(signal);
        let info = signals.read().expect("a signal").expect("one that has come");
        let phase = drain.on_signal(info.signal, Timestamp::now()).expect("another phase");
        watch.set(phase);
        for _ in 0..THREADS {
            assert_eq!(told.recv_timeout(PATIENCE), Ok(phase));
        }
    }
    let outcome = DrainOutcome::Forced(Signal::INT);
    assert_eq!(watch.phase(), Phase::Stopped { outcome });
    threads.into_iter().for_each(|thread| thread.join().expect("a thread that returns"));
    assert_eq!(watch.unfinished(), 0);
}

pub(crate) fn the_last_to_finish_wakes_the_event_loop_of_the_owner() {
    let watch = DrainWatch::new();
    let wake = waker_of(&watch);
    let epoll = Epoll::new().expect("an epoll");
    epoll.add(&*wake, 0, Watch::level(Interest::IN)).expect("a registration");
    let mut events = Events::with_capacity(1);
    // Held until the owner says so; one of them panics.
    let (end, ended): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel::<bool>()).unzip();
    let threads: Vec<_> = watch
        .participants(THREADS)
        .into_iter()
        .zip(ended)
        .map(|(participant, ended)| {
            thread::spawn(move || {
                let _participant = participant;
                assert!(ended.recv().expect("a word"), "on purpose");
            })
        })
        .collect();
    let mut results = Vec::new();
    for ((index, end), thread) in end.into_iter().enumerate().zip(threads) {
        let is_woken = wake.read().is_ok();
        assert!(!is_woken, "{index} have finished");
        assert_eq!(watch.unfinished(), THREADS - index);
        end.send(index != 1).expect("a listener");
        results.push(thread.join().is_ok());
    }
    assert_eq!(results, [true, false, true, true]);
    assert_eq!(epoll.wait(&mut events, Some(PATIENCE)).expect("a wait"), 1);
    assert_eq!((wake.read().expect("a counter"), watch.unfinished()), (1, 0), "woken once");
}
