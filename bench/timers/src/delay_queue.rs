//! tokio-util's `DelayQueue`, on a clock that is paused. It has to be used in the context of a
//! runtime.

use crate::Keeper;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::time::{Instant, advance};
use tokio_util::time::delay_queue::Key;

/// [`tokio_util::time::DelayQueue`].
pub struct DelayQueue {
    queue: tokio_util::time::DelayQueue<u64>,
    start: Instant,
}

thread_local! {
    /// One for each thread, whose clock nobody else turns. It lives as long as the process.
    static RUNTIME: &'static Runtime = {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        Box::leak(Box::new(runtime.expect("a runtime without I/O starts")))
    };
}

/// Enters the context in which a [`DelayQueue`] works. Hold the guard while one is used.
pub fn enter_runtime() -> EnterGuard<'static> {
    RUNTIME.with(|runtime| runtime.enter())
}

impl DelayQueue {
    #[inline]
    fn time(&self, tick: u64) -> Instant {
        self.start + Duration::from_millis(tick)
    }
}

impl Keeper for DelayQueue {
    const NAME: &'static str = "DelayQueue";

    type Key = Key;

    fn new() -> Self {
        Self { queue: tokio_util::time::DelayQueue::new(), start: Instant::now() }
    }

    fn len(&self) -> usize {
        self.queue.len()
    }

    #[inline]
    fn insert(&mut self, deadline: u64, value: u64) -> Key {
        self.queue.insert_at(value, self.time(deadline))
    }

    #[inline]
    fn cancel(&mut self, key: Key) -> bool {
        self.queue.try_remove(&key).is_some()
    }

    /// Gives the timer another deadline. Panics if there is no such timer.
    #[inline]
    fn reschedule(&mut self, key: &mut Key, deadline: u64, _value: u64) -> bool {
        self.queue.reset_at(key, self.time(deadline));
        true
    }

    fn advance(&mut self, now: u64) {
        let by = self.time(now) - Instant::now();
        RUNTIME.with(|runtime| runtime.block_on(advance(by)));
        assert_eq!(Instant::now(), self.time(now));
    }

    #[inline]
    fn expire(&mut self, _now: u64, mut fire: impl FnMut(u64)) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(expired)) = self.queue.poll_expired(&mut context) {
            fire(expired.into_inner());
        }
    }
}
