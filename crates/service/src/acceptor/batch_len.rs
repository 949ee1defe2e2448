//! The length of a batch of accepted connections.
//!
//! Only an attempt that fails tells that the queue is empty. Where connections come one by one that would be
//! every second attempt, so a batch is as long as the last one, and twice as long where the listener is
//! reported again and again.

use epoll_reactor::net::BatchEnd;
use std::time::{Duration, Instant};

/// The longest batch of accepted connections.
pub(super) const ACCEPT_BATCH_MAX: usize = 1024;
/// The shortest and the longest time for which batches have to be full before one is longer. A turn that serves
/// many takes longer than that, so a queue that it finds full is emptied in a few turns.
const GROW_AFTER_MIN: Duration = Duration::from_micros(100);
pub(super) const GROW_AFTER_MAX: Duration = Duration::from_millis(10);

/// The length of the next batch of accepted connections, and how it has come about.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLen {
    pub(super) len: usize,
    /// It is longer than the one before.
    has_grown: bool,
    /// The last one was full.
    is_full: bool,
    /// The beginning of the first one that has followed a full one at once, if all since then were full.
    full_since: Option<Instant>,
    /// The time for which they have to be full before it grows.
    grow_after: Duration,
    /// The number of the reactor's wait before the last one.
    wait: u64,
    /// The number of connections that were accepted before it.
    accepted_before: u64,
}

impl BatchLen {
    pub(super) fn first() -> Self {
        Self {
            len: 1,
            has_grown: false,
            is_full: false,
            full_since: None,
            grow_after: Duration::ZERO,
            wait: 0,
            accepted_before: 0,
        }
    }

    /// Begins a batch after the wait with this number. Connections that come one by one cost no look at the clock.
    pub(super) fn begin(&mut self, now: impl FnOnce() -> Instant, wait: u64, accepted_before: u64) {
        let is_next = self.is_full && wait == self.wait + 1;
        if is_next {
            let now = now();
            let since = *self.full_since.get_or_insert(now);
            self.has_grown = now - since >= self.grow_after;
            if self.has_grown {
                self.full_since = Some(now);
                self.len = (2 * self.len).min(ACCEPT_BATCH_MAX);
            }
        } else {
            (self.full_since, self.has_grown) = (None, false);
        }
        (self.wait, self.accepted_before) = (wait, accepted_before);
    }

    pub(super) fn end(&mut self, end: Option<BatchEnd>, accepted: u64) {
        // The listener's own limit may be less than ours.
        self.is_full = matches!(end, None | Some(BatchEnd::BatchFull));
        if self.has_grown {
            // A thread that does nothing else hears of every connection after the next wait, and need not try
            // each time whether there are two.
            self.grow_after = match self.is_full {
                true => Duration::ZERO,
                false => (2 * self.grow_after).clamp(GROW_AFTER_MIN, GROW_AFTER_MAX),
            };
        }
        if !self.is_full {
            let len = usize::try_from(accepted - self.accepted_before).unwrap_or(ACCEPT_BATCH_MAX);
            self.len = len.clamp(1, ACCEPT_BATCH_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts connections that arrive together, each batch `step` waits and `time` after the one before. Returns
    /// how many batches there were, and how many of them found the queue empty.
    fn accept_all(
        batch: &mut BatchLen,
        arrivals: &[usize],
        (step, time): (u64, Duration),
    ) -> (usize, usize) {
        let (mut queue, mut accepted, mut wait, mut empty) = (0, 0, batch.wait + 2, 0);
        let (mut now, mut batches) = (Instant::now(), 0);
        for arriving in arrivals {
            queue += arriving;
            while queue > 0 {
                (now, wait, batches) = (now + time, wait + step, batches + 1);
                batch.begin(|| now, wait, accepted);
                let taken = queue.min(batch.len);
                queue -= taken;
                accepted += taken as u64;
                let end = (taken < batch.len).then_some(BatchEnd::QueueEmpty);
                empty += usize::from(end.is_some());
                batch.end(end, accepted);
            }
        }
        (batches, empty)
    }

    /// The time of a turn in which nothing but a connection is accepted.
    const SHORT: Duration = Duration::from_micros(50);

    #[test]
    fn connections_that_come_one_by_one_cost_an_attempt_each() {
        let mut batch = BatchLen::first();
        let counts = accept_all(&mut batch, &[1; 1000], (2, SHORT));
        assert_eq!(counts, (1000, 0), "other waits are between them");
        let (batches, empty) = accept_all(&mut batch, &[1; 1000], (1, SHORT));
        assert_eq!((batches, batch.len), (1000, 1));
        assert!((6..=16).contains(&empty), "{empty} attempts failed");
    }

    #[test]
    fn a_queue_that_stays_full_is_emptied_in_ever_longer_batches() {
        let mut batch = BatchLen::first();
        accept_all(&mut batch, &[1; 1000], (1, SHORT));
        assert_eq!(batch.grow_after, GROW_AFTER_MAX);
        // 1, 2, 4, 8 … where turns are long.
        let (batches, empty) = accept_all(&mut batch, &[500], (1, GROW_AFTER_MAX));
        assert!(batches <= 10 && empty <= 1, "{batches} batches, {empty} not full");
        assert!(batch.grow_after <= GROW_AFTER_MIN, "{batch:?}");
        let (batches, empty) = accept_all(&mut batch, &[20; 100], (2, SHORT));
        assert!(batches <= 110 && empty <= 1, "{batches} batches, {empty} not full");
        batch.begin(Instant::now, 1, 0);
        batch.end(Some(BatchEnd::QueueEmpty), 0);
        assert_eq!(batch.len, 1);
    }
}
