//! Readiness scenarios with known answers in which threads sleep in the kernel: who is woken.
//!
//! A thread is known to sleep before anything happens, by `/proc`. Wake-ups are given inside the
//! system call that causes them (a write, or the wait of a thread that passes the rest on), so once
//! a round finds every thread either returned or asleep and nobody has returned since the round
//! before, nobody will. Sleepers are released afterwards by a source of their own.

use crate::scene::Scene;
use crate::support::{look, wait_with};
use epoll_kit_testing::{DEADLINE, eventually, sleeps_in_a_wait};
use epoll_sys::Trigger::{Edge, Level, Oneshot};
use epoll_sys::{
    Epoll, Event, EventFd, ExclusiveInterest, ExclusiveWatch, Interest, Watch, socket,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// The data of the source that releases the sleepers.
const RELEASE: u64 = u64::MAX;

/// A thread that waits once for at most so many events, in `epoll_wait` or in `poll`.
#[derive(Clone, Copy, Debug)]
enum Call {
    EpollWait(usize),
    /// Then looks; where another thread was faster, polls again.
    Poll,
}

impl Call {
    fn wait(self, epoll: &Epoll) -> Vec<Event> {
        let Self::EpollWait(events_max) = self else { return polled(epoll) };
        wait_with(epoll, events_max, None)
    }
}

fn polled(epoll: &Epoll) -> Vec<Event> {
    loop {
        poll(&mut [PollFd::new(epoll, PollFlags::IN)], None).unwrap();
        let events = wait_with(epoll, 1, Some(Duration::ZERO));
        if !events.is_empty() {
            return events;
        }
    }
}

struct Waiter {
    tid: i32,
    result: Receiver<Vec<Event>>,
    events: Option<Vec<Event>>,
}

impl Waiter {
    /// Starts a thread that waits on `epoll`; returns when it sleeps.
    #[track_caller]
    fn asleep(epoll: &Arc<Epoll>, call: Call) -> Self {
        let epoll = Arc::clone(epoll);
        let (send_tid, tid) = mpsc::channel();
        let (send_result, result) = mpsc::channel();
        thread::spawn(move || {
            send_tid.send(own_tid()).unwrap();
            // Nobody listens any more when the test has failed.
            let _ = send_result.send(call.wait(&epoll));
        });
        let waiter = Self { tid: tid.recv_timeout(DEADLINE).unwrap(), result, events: None };
        eventually("the thread sleeps", || sleeps_in_a_wait(process::id(), waiter.tid));
        waiter
    }

    /// Returns when the wait has returned or sleeps again, and says whether it has returned.
    #[track_caller]
    fn has_returned(&mut self) -> bool {
        eventually("the thread returns or sleeps", || {
            if self.events.is_none() {
                match self.result.try_recv() {
                    Ok(events) => self.events = Some(events),
                    Err(TryRecvError::Empty) => return sleeps_in_a_wait(process::id(), self.tid),
                    Err(TryRecvError::Disconnected) => panic!("the waiting thread has panicked"),
                }
            }
            true
        });
        self.events.is_some()
    }
}

fn own_tid() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Returns the events that each thread received, or `None` for threads that still sleep, and releases these.
#[track_caller]
fn outcomes(mut waiters: Vec<Waiter>, epolls: &[&Epoll]) -> Vec<Option<Vec<u64>>> {
    let mut returned = 0;
    loop {
        let now = waiters.iter_mut().map(Waiter::has_returned).filter(|&it| it).count();
        if now == returned {
            break;
        }
        returned = now;
    }
    let release = EventFd::new(1).unwrap();
    for epoll in epolls {
        epoll.add(&release, RELEASE, Watch::level(Interest::IN)).unwrap();
    }
    let outcome = |waiter: Waiter| {
        if waiter.events.is_none() {
            let events = waiter.result.recv_timeout(DEADLINE).unwrap();
            assert!(events.iter().any(|event| event.data == RELEASE), "{events:?}");
        }
        Some(waiter.events?.iter().map(|event| event.data).collect())
    };
    waiters.into_iter().map(outcome).collect()
}

/// Puts a thread to sleep in each of `calls`, writes to all sources, and says what each brought.
#[track_caller]
fn after_a_write<const N: usize>(scene: &Scene, calls: [Call; N]) -> Vec<Option<Vec<u64>>> {
    let waiters = calls.map(|call| Waiter::asleep(&scene.epoll, call)).into();
    scene.write();
    outcomes(waiters, &[&scene.epoll])
}

fn woken(outcomes: &[Option<Vec<u64>>]) -> usize {
    outcomes.iter().flatten().count()
}

const ONE_EACH: [Call; 2] = [Call::EpollWait(1), Call::EpollWait(1)];
const TWO_EACH: [Call; 2] = [Call::EpollWait(2), Call::EpollWait(2)];
const WAIT_AND_POLL: [Call; 2] = [Call::EpollWait(1), Call::Poll];

#[test]
fn two_threads_on_flat_sources_9_to_16() {
    for (number, calls, trigger, sources_len, expected) in [
        (9, ONE_EACH, Level, 1, 2),
        (10, ONE_EACH, Edge, 1, 1),
        (11, TWO_EACH, Level, 2, 2),
        (12, ONE_EACH, Edge, 2, 2),
        (13, WAIT_AND_POLL, Level, 1, 2),
        (14, WAIT_AND_POLL, Edge, 1, 1),
        (15, WAIT_AND_POLL, Level, 2, 2),
        (16, WAIT_AND_POLL, Edge, 2, 2),
    ] {
        let scene = Scene::flat(trigger, sources_len);
        let outcomes = after_a_write(&scene, calls);
        assert_eq!(woken(&outcomes), expected, "scenario {number}: {outcomes:?}");
    }
}

#[test]
fn two_edges_go_one_to_each_thread() {
    for calls in [ONE_EACH, WAIT_AND_POLL] {
        let outcomes = after_a_write(&Scene::flat(Edge, 2), calls);
        let mut data: Vec<_> = outcomes.into_iter().flatten().flatten().collect();
        data.sort_unstable();
        assert_eq!(data, [0, 1], "{calls:?}");
    }
}

#[test]
fn two_threads_on_a_nested_instance_25_to_28() {
    for (number, outer, inner, expected) in
        [(25, Level, Level, 2), (26, Level, Edge, 2), (27, Edge, Level, 1), (28, Edge, Edge, 1)]
    {
        let outcomes = after_a_write(&Scene::nested(outer, inner), ONE_EACH);
        assert_eq!(woken(&outcomes), expected, "scenario {number}: {outcomes:?}");
    }
}

#[test]
fn a_modification_wakes_a_waiter_a_hundred_thousand_times_59() {
    let epoll = Arc::new(Epoll::new().unwrap());
    let ready = EventFd::new(1).unwrap();
    let watch = Watch::edge(Interest::IN);
    epoll.add(&ready, 0, watch).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let modifier = thread::spawn({
        let (epoll, done) = (Arc::clone(&epoll), Arc::clone(&done));
        move || {
            while !done.load(Ordering::Relaxed) {
                epoll.modify(&ready, 0, watch).unwrap();
            }
        }
    });
    let missed = (0..100_000).find(|_| wait_with(&epoll, 1, Some(DEADLINE)).len() != 1);
    done.store(true, Ordering::Relaxed);
    modifier.join().unwrap();
    assert_eq!(missed, None);
}

#[test]
fn ten_threads_and_ten_edges_are_one_each_three_hundred_times_60() {
    const THREADS: u64 = 10;
    const ROUNDS: usize = 300;
    let epoll = Arc::new(Epoll::new().unwrap());
    let counters: Arc<[_]> = (0..THREADS).map(|_| EventFd::new(0).unwrap()).collect();
    for (data, counter) in (0..).zip(counters.iter()) {
        epoll.add(counter, data, Watch::edge(Interest::IN)).unwrap();
    }
    let next_round = Arc::new(Barrier::new(counters.len() + 1));
    let (send_data, data) = mpsc::channel();
    let spawn = |_| {
        let (epoll, counters) = (Arc::clone(&epoll), Arc::clone(&counters));
        let (next_round, send_data) = (Arc::clone(&next_round), send_data.clone());
        let (send_tid, tid) = mpsc::channel();
        thread::spawn(move || {
            send_tid.send(own_tid()).unwrap();
            for _ in 0..ROUNDS {
                let event = wait_with(&epoll, 1, None)[0];
                counters[usize::try_from(event.data).unwrap()].read().unwrap();
                send_data.send(event.data).unwrap();
                next_round.wait();
            }
        });
        tid.recv_timeout(DEADLINE).unwrap()
    };
    let tids: Vec<_> = (0..THREADS).map(spawn).collect();
    for round in 0..ROUNDS {
        for &tid in &tids {
            eventually("the thread sleeps", || sleeps_in_a_wait(process::id(), tid));
        }
        counters.iter().for_each(|counter| counter.write(1).unwrap());
        let mut seen: Vec<_> = (0..THREADS).map(|_| data.recv_timeout(DEADLINE).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..THREADS).collect::<Vec<_>>(), "round {round}");
        next_round.wait();
    }
}

#[test]
fn one_write_to_a_level_counter_wakes_both_threads_64() {
    let epoll = Arc::new(Epoll::new().unwrap());
    let counter = EventFd::new(0).unwrap();
    epoll.add(&counter, 0, Watch::level(Interest::IN)).unwrap();
    let waiters = ONE_EACH.map(|call| Waiter::asleep(&epoll, call)).into();
    counter.write(1).unwrap();
    assert_eq!(woken(&outcomes(waiters, &[&epoll])), 2);
}

#[test]
fn a_oneshot_source_goes_to_one_thread_and_an_edge_to_two() {
    // The first thread has its event and reads nothing; then more arrives.
    for (trigger, expected) in [(Edge, 2), (Oneshot, 1)] {
        let scene = Scene::flat(trigger, 1);
        let mut waiters: Vec<_> = ONE_EACH.map(|call| Waiter::asleep(&scene.epoll, call)).into();
        scene.write();
        eventually("one thread returns", || waiters.iter_mut().any(Waiter::has_returned));
        scene.write();
        assert_eq!(woken(&outcomes(waiters, &[&scene.epoll])), expected, "{trigger:?}");
    }
}

#[test]
fn the_thread_that_slept_last_is_woken_first() {
    let outcomes = after_a_write(&Scene::flat(Edge, 1), [Call::EpollWait(1); 3]);
    assert_eq!(outcomes, [None, None, Some(vec![0])]);
}

/// Two instances that watch one counter, a thread asleep on each; says who returns from a write.
#[track_caller]
fn herd(add: impl Fn(&Epoll, &EventFd)) -> [bool; 2] {
    let counter = EventFd::new(0).unwrap();
    let epolls = [Epoll::new().unwrap(), Epoll::new().unwrap()].map(Arc::new);
    epolls.iter().for_each(|epoll| add(epoll, &counter));
    // Asleep in the other order, so that it is not this order that decides.
    let waiters = epolls.iter().rev().map(|epoll| Waiter::asleep(epoll, Call::EpollWait(1)));
    let waiters = waiters.collect();
    counter.write(1).unwrap();
    let outcomes = outcomes(waiters, &[&epolls[0], &epolls[1]]);
    [outcomes[1].is_some(), outcomes[0].is_some()]
}

#[test]
fn every_instance_is_woken_without_exclusive_and_the_first_added_with_it() {
    let shared = |epoll: &Epoll, counter: &EventFd| {
        epoll.add(counter, 0, Watch::level(Interest::IN)).unwrap();
    };
    assert_eq!(herd(shared), [true, true]);

    for watch in
        [ExclusiveWatch::level(ExclusiveInterest::IN), ExclusiveWatch::edge(ExclusiveInterest::IN)]
    {
        for round in 0..5 {
            let woken = herd(|epoll, counter| epoll.add_exclusive(counter, 0, watch).unwrap());
            assert_eq!(woken, [true, false], "{watch:?}, round {round}");
        }
    }
}

#[test]
fn a_source_that_is_added_ready_wakes_a_waiter() {
    let epoll = Arc::new(Epoll::new().unwrap());
    let ready = EventFd::new(1).unwrap();
    let waiter = Waiter::asleep(&epoll, Call::EpollWait(1));
    epoll.add(&ready, 7, Watch::edge(Interest::IN)).unwrap();
    assert_eq!(outcomes(vec![waiter], &[&epoll]), [Some(vec![7])]);
}

#[test]
fn a_source_that_is_modified_to_be_ready_wakes_a_waiter() {
    let epoll = Arc::new(Epoll::new().unwrap());
    let (ours, theirs) = socket::pair().unwrap();
    epoll.add(&ours, 7, Watch::level(Interest::PRI)).unwrap();
    socket::send(&theirs, b"a").unwrap();
    let waiter = Waiter::asleep(&epoll, Call::EpollWait(1));
    epoll.modify(&ours, 8, Watch::level(Interest::IN)).unwrap();
    assert_eq!(outcomes(vec![waiter], &[&epoll]), [Some(vec![8])]);
}

#[test]
fn a_look_may_miss_a_ready_source_beside_other_threads_but_a_wait_never_does() {
    const ROUNDS: usize = 20_000;
    let epoll = Arc::new(Epoll::new().unwrap());
    let ready = EventFd::new(1).unwrap();
    epoll.add(&ready, 0, Watch::level(Interest::IN)).unwrap();
    let looker = thread::spawn({
        let epoll = Arc::clone(&epoll);
        move || (0..ROUNDS).all(|_| look(&epoll).len() <= 1)
    });
    for round in 0..ROUNDS {
        assert_eq!(wait_with(&epoll, 1, Some(DEADLINE)).len(), 1, "round {round}");
    }
    assert!(looker.join().unwrap());
}
