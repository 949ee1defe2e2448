//! The same timers in loops of others: mio watches their descriptor as a `SourceFd`, tokio as an
//! `AsyncFd`. Both are edge-triggered.

use crate::support::MILLISECOND;
use epoll_kit_testing::Random;
use epoll_timers::Timers;
use mio::unix::SourceFd;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const TIMERS: u32 = 100;

/// Fewer than are due at a time now and then, so that a pass is continued by a report.
const STEPS: usize = 3;

/// Longer than any machine needs, however busy.
const DEADLINE: Duration = Duration::from_secs(10);

/// A hundred timers, inserted in some order, with as many ticks between them and more.
fn timers() -> Timers<u32> {
    let mut timers = Timers::new().unwrap();
    timers.set_steps_max(STEPS);
    let mut values: Vec<_> = (0..TIMERS).collect();
    Random::seeded(6).shuffle(&mut values);
    let start = timers.now();
    for value in values {
        timers.insert(start + value * MILLISECOND, value).unwrap();
    }
    timers
}

/// Lets timers fire, and appends their values.
fn expire(timers: &mut Timers<u32>, order: &mut Vec<u32>) {
    let (now, before) = (timers.now(), order.len());
    while let Some(fired) = timers.next_due(now).unwrap() {
        order.push(fired.value);
    }
    assert!(order.len() - before <= STEPS);
}

#[track_caller]
fn assert_in_order(order: &[u32]) {
    assert!(order.iter().copied().eq(0..TIMERS), "{order:?}");
}

#[test]
fn mio_watches_the_timers() {
    let mut timers = timers();
    let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(1));
    let fd = timers.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), mio::Token(7), mio::Interest::READABLE).unwrap();
    let mut order = Vec::new();
    while !timers.is_empty() {
        poll.poll(&mut events, Some(DEADLINE)).unwrap();
        let tokens: Vec<_> = events.iter().map(mio::event::Event::token).collect();
        assert_eq!(tokens, [mio::Token(7)], "no report before the deadline");
        expire(&mut timers, &mut order);
    }
    assert_in_order(&order);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty());
}

/// Timers as tokio takes a descriptor.
struct Watched(Timers<u32>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The timers own their descriptor, so what tokio's newer constructors ask for holds; but those are
/// `unsafe`, which this crate is without.
#[allow(deprecated, reason = "newer versions of tokio have no safe constructor")]
fn watched() -> io::Result<AsyncFd<Watched>> {
    AsyncFd::with_interest(Watched(timers()), Interest::READABLE)
}

#[test]
fn tokio_watches_the_timers() {
    let (send, done) = mpsc::channel();
    // In a thread of its own, for it might wait for ever.
    let running = thread::spawn(move || send.send(order_by_tokio()));
    let order = done.recv_timeout(DEADLINE).expect("a report before the deadline");
    assert_in_order(&order.unwrap());
    running.join().unwrap().unwrap();
}

fn order_by_tokio() -> io::Result<Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut timers = watched()?;
        let mut order = Vec::new();
        while !timers.get_ref().0.is_empty() {
            let mut ready = timers.readable_mut().await?;
            // Before the pass, which may have the descriptor reported once more.
            ready.clear_ready();
            expire(&mut ready.get_inner_mut().0, &mut order);
        }
        Ok(order)
    })
}
