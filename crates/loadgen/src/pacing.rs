//! The times at which requests are due: whenever a connection has room (closed loop), or at fixed times
//! (open loop). Pure: the time is an argument.

use epoll_sys::Timestamp;
use std::time::Duration;

/// The share of the requests that one thread makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The index of the thread, from 0.
    pub index: u32,
    /// The number of threads.
    pub of: u32,
}

/// The condition that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The number of requests of all threads together.
    Requests(u64),
    /// The time of the run.
    Elapsed(Duration),
}

/// Hands out the requests of one thread.
///
/// ```
/// use epoll_load::{Pacer, Share, Until};
/// use epoll_sys::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::from_nanos(0);
/// let mut pacer = Pacer::new(start, Some(1000.0), Until::Requests(2), Share { index: 0, of: 1 });
/// assert_eq!(pacer.next(start), Some(start));
/// assert_eq!(pacer.next(start), None);
/// let later = start + Duration::from_secs(1);
/// assert_eq!(pacer.next(later), Some(start + Duration::from_millis(1)));
/// assert!(pacer.is_over(later));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    start: Timestamp,
    /// The time from which on no request is due.
    end: Timestamp,
    /// The time between two requests of all threads, in nanoseconds; 0 in a closed loop.
    interval_ns: f64,
    /// The number of the next request among those of all threads.
    number: u64,
    /// The number of threads, by which the numbers of one thread's requests differ.
    step: u64,
    /// The number of requests of all threads.
    count: u64,
    /// The time at which the next request is due; in a closed loop the start.
    due: Timestamp,
}

impl Pacer {
    /// Returns the pacer of a run that begins at `start`, with `rate` requests a second over all threads.
    /// `None` is a closed loop: a request is due whenever a connection has room.
    #[must_use]
    pub fn new(start: Timestamp, rate: Option<f64>, until: Until, share: Share) -> Self {
        let (count, end) = match until {
            Until::Requests(count) => (count, Timestamp::MAX),
            Until::Elapsed(time) => (u64::MAX, start + time),
        };
        let interval_ns = rate.map_or(0.0, |rate| 1e9 / rate);
        let (number, step) = (u64::from(share.index), u64::from(share.of));
        let mut pacer = Self { start, end, interval_ns, number, step, count, due: start };
        pacer.due = pacer.due_of(number);
        if pacer.is_open() {
            pacer.end = end.min(pacer.due_of(count));
        }
        pacer
    }

    /// Returns whether a request is due at `now` or earlier.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now && !self.is_over(now)
    }

    /// Takes the next request if it is due at `now` or earlier, and returns its due time.
    #[inline]
    pub fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_due(now) {
            return None;
        }
        let due = if self.is_open() { self.due } else { now };
        self.number = self.number.saturating_add(self.step);
        self.due = self.due_of(self.number);
        Some(due)
    }

    /// Returns whether no request is left at `now`. In an open loop a request that was due before the end
    /// is left until it is taken.
    #[inline]
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let time = if self.is_open() { self.due } else { now };
        self.number >= self.count || time >= self.end
    }

    /// Returns the due time of the next request in an open loop; `None` in a closed one.
    #[inline]
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.is_open().then_some(self.due)
    }

    /// Returns the time from which on no request is due; [`Timestamp::MAX`] in a closed loop that ends
    /// after a number of requests.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// Drops the requests that were due by `now` and were not begun, and returns their number.
    pub fn skip_due(&mut self, now: Timestamp) -> u64 {
        let skipped = self.overdue(now);
        self.number = self.number.saturating_add(skipped.saturating_mul(self.step));
        self.due = self.due_of(self.number);
        skipped
    }

    /// Returns the number of requests that were not begun; meaningless without a number of requests.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.count.saturating_sub(self.number).div_ceil(self.step)
    }

    /// Drops all requests that are left.
    pub fn stop(&mut self) {
        self.count = 0;
    }

    /// Returns the number of requests that were due by `now` and were not begun; 0 in a closed loop.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 104 days")]
    #[allow(clippy::cast_possible_truncation, reason = "a conversion from a float saturates")]
    #[allow(clippy::cast_sign_loss, reason = "none is negative")]
    pub fn overdue(&self, now: Timestamp) -> u64 {
        if !self.is_due(now) || !self.is_open() {
            return 0;
        }
        let last = now.min(self.end - Duration::from_nanos(1));
        let elapsed_ns = (last - self.start).as_nanos() as f64;
        let reached = ((elapsed_ns / self.interval_ns) as u64).saturating_add(1).min(self.count);
        reached.saturating_sub(self.number).div_ceil(self.step)
    }

    #[inline]
    fn is_open(&self) -> bool {
        self.interval_ns > 0.0
    }

    #[inline]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
    #[allow(clippy::cast_possible_truncation, reason = "a conversion from a float saturates")]
    #[allow(clippy::cast_sign_loss, reason = "none is negative")]
    fn due_of(&self, number: u64) -> Timestamp {
        self.start + Duration::from_nanos((number as f64 * self.interval_ns) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000);

    fn at_us(microseconds: u64) -> Timestamp {
        START + Duration::from_micros(microseconds)
    }

    fn alone() -> Share {
        Share { index: 0, of: 1 }
    }

    /// Takes the requests that are due at `now`, a hundred at most.
    fn taken(pacer: &mut Pacer, now: Timestamp) -> Vec<Timestamp> {
        std::iter::from_fn(|| pacer.next(now)).take(100).collect()
    }

    #[test]
    fn a_closed_loop_takes_whenever_it_may() {
        let mut pacer = Pacer::new(START, None, Until::Requests(3), alone());
        assert_eq!(pacer.next_due(), None);
        assert_eq!(taken(&mut pacer, at_us(5)), [at_us(5); 3]);
        assert!(pacer.is_over(at_us(5)));
    }

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let mut pacer = Pacer::new(START, None, Until::Elapsed(Duration::from_micros(10)), alone());
        assert_eq!(pacer.next(at_us(9)), Some(at_us(9)));
        assert_eq!(pacer.next(at_us(10)), None);
        assert!(pacer.is_over(at_us(10)));
        assert_eq!(pacer.overdue(at_us(10)), 0);
    }

    #[test]
    fn an_open_loop_makes_up_for_what_it_has_missed() {
        let until = Until::Elapsed(Duration::from_micros(50));
        let mut pacer = Pacer::new(START, Some(100_000.0), until, alone());
        assert_eq!(taken(&mut pacer, at_us(0)), [at_us(0)]);
        assert_eq!(pacer.next_due(), Some(at_us(10)));
        assert_eq!(pacer.overdue(at_us(9)), 0);
        assert_eq!(pacer.overdue(at_us(10)), 1);
        // Long after the end: what was due before it is still handed out, with the time it was due.
        assert_eq!(pacer.overdue(at_us(700)), 4);
        assert_eq!(taken(&mut pacer, at_us(700)), [10, 20, 30, 40].map(at_us));
        assert!(pacer.is_over(at_us(700)));
        assert_eq!(pacer.overdue(at_us(700)), 0);
    }

    #[test]
    fn skipped_requests_are_gone_and_the_schedule_goes_on() {
        let mut pacer = Pacer::new(START, Some(100_000.0), Until::Requests(8), alone());
        assert_eq!(pacer.next(at_us(0)), Some(at_us(0)));
        assert_eq!(pacer.skip_due(at_us(35)), 3);
        assert_eq!(pacer.skip_due(at_us(35)), 0);
        assert_eq!((pacer.next_due(), pacer.left()), (Some(at_us(40)), 4));
        assert_eq!(pacer.skip_due(at_us(1000)), 4);
        assert!(pacer.is_over(at_us(1000)));
        let share = |index| Share { index, of: 3 };
        let mut skipped = [0, 1, 2].map(|index| {
            let mut pacer = Pacer::new(START, Some(1_000_000.0), Until::Requests(10), share(index));
            pacer.skip_due(at_us(4)) + pacer.left()
        });
        skipped.sort_unstable();
        assert_eq!(skipped, [3, 3, 4]);
    }

    #[test]
    fn threads_take_turns() {
        let share = |index| Share { index, of: 3 };
        let mut all: Vec<Timestamp> = (0..3)
            .flat_map(|index| {
                let until = Until::Requests(10);
                let mut pacer = Pacer::new(START, Some(1_000_000.0), until, share(index));
                assert_eq!(pacer.overdue(at_us(100)), [4, 3, 3][index as usize]);
                taken(&mut pacer, at_us(100))
            })
            .collect();
        all.sort();
        assert_eq!(all, (0..10).map(at_us).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_of_requests_is_split_without_rest() {
        let count = |index| {
            let share = Share { index, of: 3 };
            taken(&mut Pacer::new(START, None, Until::Requests(11), share), START).len()
        };
        assert_eq!([count(0), count(1), count(2)], [4, 4, 3]);
    }
}
