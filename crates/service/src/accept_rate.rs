//! The number of connections that may be accepted a second, by all threads together. What comes faster waits in the
//! queues of the listeners.

use epoll_connection::Allowance;
use epoll_timers::Timestamp;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time for which connections may be accepted at once after none came.
const AHEAD: Duration = Duration::from_millis(100);
/// The shortest pause: a thread that is woken for every single connection would do little else.
const PAUSE_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct AcceptRate {
    /// 0 is no limit.
    per_s: AtomicU32,
    allowance: Mutex<Allowance>,
}

/// A number of connections that may be accepted now. What is not used is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct AcceptPermits<'a> {
    /// The rate and the number a second by which they were taken; `None`: there is no limit.
    rate: Option<(&'a AcceptRate, NonZeroU64)>,
    left: usize,
}

impl AcceptRate {
    pub(crate) fn new(per_s: Option<NonZeroU32>) -> Self {
        let per_s = AtomicU32::new(as_number(per_s));
        Self { per_s, allowance: Mutex::new(Allowance::FULL) }
    }

    /// Changes the number of connections a second.
    pub(crate) fn set(&self, per_s: Option<NonZeroU32>) {
        self.per_s.store(as_number(per_s), Ordering::Relaxed);
    }

    /// Takes permits for at most `max` connections.
    ///
    /// # Errors
    ///
    /// The time for which to accept none.
    pub(crate) fn take(&self, max: usize, now: Timestamp) -> Result<AcceptPermits<'_>, Duration> {
        let Some(per_s) = NonZeroU64::new(self.per_s.load(Ordering::Relaxed).into()) else {
            return Ok(AcceptPermits::UNLIMITED);
        };
        // One connection is possible in any case.
        let time_of_one = Duration::from_nanos(1_000_000_000_u64.div_ceil(per_s.get()));
        let ahead = AHEAD.max(time_of_one);
        let mut allowance = self.lock();
        let available = allowance.available(per_s, now, ahead);
        let left = usize::try_from(available).unwrap_or(usize::MAX).min(max);
        if left == 0 {
            // With that many paid for, one is available.
            let pause = (allowance.paid_at() + time_of_one) - (now + ahead);
            return Err(pause.max(PAUSE_MIN));
        }
        allowance.take(left as u64, per_s, now);
        Ok(AcceptPermits { rate: Some((self, per_s)), left })
    }

    #[inline(never)]
    fn refund(&self, unused: usize, per_s: NonZeroU64) {
        self.lock().refund(unused as u64, per_s);
    }

    fn lock(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_number(per_s: Option<NonZeroU32>) -> u32 {
    per_s.map_or(0, NonZeroU32::get)
}

impl AcceptPermits<'_> {
    /// The permits of a service without a limit.
    pub(crate) const UNLIMITED: Self = Self { rate: None, left: usize::MAX };

    /// Returns the number of connections that may still be accepted.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Notes that one was accepted.
    #[inline]
    pub(crate) fn use_one(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

impl Drop for AcceptPermits<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((rate, per_s)) = self.rate.filter(|_| self.left > 0) {
            rate.refund(self.left, per_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_s: u32) -> AcceptRate {
        AcceptRate::new(NonZeroU32::new(per_s))
    }

    /// Accepts all that are allowed at once; returns how many.
    fn accept_all(rate: &AcceptRate, now: Timestamp) -> usize {
        rate.take(usize::MAX, now).map_or(0, |mut permits| {
            let count = permits.left();
            (0..count).for_each(|_| permits.use_one());
            count
        })
    }

    #[test]
    fn a_tenth_of_a_second_may_come_at_once_and_then_as_many_as_the_rate() {
        let rate = rate(1000);
        let mut now = Timestamp::after_epoch(Duration::from_secs(9));
        assert_eq!([accept_all(&rate, now), accept_all(&rate, now)], [100, 0]);
        assert_eq!(rate.take(1, now).unwrap_err(), PAUSE_MIN);
        for _ in 0..50 {
            now = now + Duration::from_millis(20);
            assert_eq!(accept_all(&rate, now), 20);
        }
    }

    #[test]
    fn a_low_rate_lets_one_at_a_time_come_and_says_how_long_to_wait() {
        let rate = rate(2);
        let now = Timestamp::after_epoch(Duration::from_secs(9));
        assert_eq!([accept_all(&rate, now), accept_all(&rate, now)], [1, 0]);
        let pause = rate.take(1, now).unwrap_err();
        assert_eq!(pause, Duration::from_millis(500));
        assert_eq!(accept_all(&rate, now + pause), 1);
    }

    #[test]
    fn what_is_not_used_is_given_back() {
        let rate = rate(1000);
        let now = Timestamp::after_epoch(Duration::from_secs(9));
        let mut permits = rate.take(80, now).unwrap();
        assert_eq!(permits.left(), 80);
        permits.use_one();
        drop(permits);
        assert_eq!(accept_all(&rate, now), 99);
    }

    #[test]
    fn a_rate_can_change_and_what_is_paid_for_stays_so() {
        let rate = rate(1000);
        let now = Timestamp::after_epoch(Duration::from_secs(9));
        assert_eq!(accept_all(&rate, now), 100);
        rate.set(NonZeroU32::new(100));
        let later = now + Duration::from_millis(100);
        assert_eq!([accept_all(&rate, now), accept_all(&rate, later)], [0, 10]);
        rate.set(None);
        assert_eq!(rate.take(1, later).unwrap().left(), usize::MAX);
    }

    #[test]
    fn the_highest_rate_is_none_to_speak_of() {
        let rate = rate(u32::MAX);
        let now = Timestamp::after_epoch(Duration::from_secs(9));
        assert!(rate.take(usize::MAX, now).unwrap().left() >= 400_000_000);
    }
}
