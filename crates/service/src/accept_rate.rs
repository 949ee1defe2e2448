//! The number of connections that may be accepted a second, by all threads together. What comes faster waits in the
//! queues of the listeners.

use epoll_connection::Allowance;
use epoll_timers::Timestamp;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time for which connections may be accepted at once after none came.
const AHEAD: Duration = Duration::from_millis(100);
/// The shortest pause: a thread that is woken for every single connection would do little else.
const PAUSE_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct AcceptRate {
    per_s: NonZeroU64,
    allowance: Mutex<Allowance>,
}

/// A number of connections that may be accepted now. What is not used is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct AcceptPermits<'a> {
    /// `None`: there is no limit.
    rate: Option<&'a AcceptRate>,
    left: usize,
}

impl AcceptRate {
    pub(crate) fn new(per_s: NonZeroU32) -> Self {
        Self { per_s: per_s.into(), allowance: Mutex::new(Allowance::FULL) }
    }

    /// Takes permits for at most `max` connections.
    ///
    /// # Errors
    ///
    /// The time for which to accept none.
    pub(crate) fn take(&self, max: usize, now: Timestamp) -> Result<AcceptPermits<'_>, Duration> {
        let mut allowance = self.lock();
        let available = allowance.available(self.per_s, now, self.ahead());
        let left = usize::try_from(available).unwrap_or(usize::MAX).min(max);
        if left == 0 {
            // With that many paid for, one is available.
            let pause = (allowance.paid_at() + self.time_of_one()) - (now + self.ahead());
            return Err(pause.max(PAUSE_MIN));
        }
        allowance.take(left as u64, self.per_s, now);
        Ok(AcceptPermits { rate: Some(self), left })
    }

    /// One connection is possible in any case.
    fn ahead(&self) -> Duration {
        AHEAD.max(self.time_of_one())
    }

    fn time_of_one(&self) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(self.per_s.get()))
    }

    fn lock(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AcceptPermits<'_> {
    /// For a service without a limit.
    pub(crate) const UNLIMITED: Self = Self { rate: None, left: usize::MAX };

    /// Returns how many connections may still be accepted.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Notes that one was accepted.
    pub(crate) fn use_one(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

impl Drop for AcceptPermits<'_> {
    fn drop(&mut self) {
        if let Some(rate) = self.rate.filter(|_| self.left > 0) {
            rate.lock().refund(self.left as u64, rate.per_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_s: u32) -> AcceptRate {
        AcceptRate::new(NonZeroU32::new(per_s).unwrap())
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
    fn the_highest_rate_is_none_to_speak_of() {
        let rate = rate(u32::MAX);
        let now = Timestamp::after_epoch(Duration::from_secs(9));
        assert!(rate.take(usize::MAX, now).unwrap().left() >= 400_000_000);
    }
}
