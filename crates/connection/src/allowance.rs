//! Rates: so many bytes, connections or datagrams a second. No clock is read here.

use epoll_reactor::epoll_sys::Timestamp;
use std::num::NonZeroU64;
use std::time::Duration;

const NANOS_PER_S: u128 = 1_000_000_000;

/// An allowance of a number of units a second, and the part of it that is used up.
///
/// It is stored as one time: the moment at which everything that was taken is paid for. The caller decides how
/// much may be taken in advance, so an allowance that nobody uses costs nothing and is never looked at.
///
/// # Examples
///
/// Ten a second, and five at once:
///
/// ```
/// use epoll_connection::{Allowance, Timestamp};
/// use std::num::NonZeroU64;
/// use std::time::Duration;
///
/// let (ten, ahead) = (NonZeroU64::new(10).unwrap(), Duration::from_millis(500));
/// let mut allowance = Allowance::FULL;
/// let now = Timestamp::now();
/// assert_eq!(allowance.available(ten, now, ahead), 5);
/// allowance.take(5, ten, now);
/// assert_eq!(allowance.available(ten, now, ahead), 0);
/// assert_eq!(allowance.paid_at(), now + Duration::from_millis(500));
/// assert_eq!(allowance.available(ten, now + Duration::from_millis(200), ahead), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    paid_at: Timestamp,
}

impl Allowance {
    /// The allowance from which nothing was taken.
    pub const FULL: Self = Self { paid_at: Timestamp::EPOCH };

    /// Takes `units`, also more than there are: then they are paid for later.
    pub fn take(&mut self, units: u64, per_s: NonZeroU64, now: Timestamp) {
        self.paid_at = self.paid_at.max(now) + time_of(units, per_s);
    }

    /// Gives back `units` of those that were taken last.
    pub fn refund(&mut self, units: u64, per_s: NonZeroU64) {
        self.paid_at = self.paid_at - time_of(units, per_s);
    }

    /// Returns this allowance as it is if units that were taken and are not paid for are paid for by `after` a second
    /// from now on, instead of `before`.
    pub(crate) fn at_rate(self, before: NonZeroU64, after: NonZeroU64, now: Timestamp) -> Self {
        let left = (self.paid_at.max(now) - now).as_nanos();
        // Of 64 bits each, so the product fits.
        let nanos = (left * u128::from(before.get())).div_ceil(after.get().into());
        Self { paid_at: now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) }
    }

    /// Returns this allowance as it is if everything that was taken is paid for at this time, or was before.
    pub(crate) fn paid_by(self, time: Timestamp) -> Self {
        Self { paid_at: self.paid_at.min(time) }
    }

    /// Returns how many units may be taken now so that they are paid for after `ahead` at the latest.
    #[must_use]
    pub fn available(self, per_s: NonZeroU64, now: Timestamp, ahead: Duration) -> u64 {
        let latest = now + ahead;
        let time = latest - self.paid_at.max(now).min(latest);
        let units = time.as_nanos() * u128::from(per_s.get()) / NANOS_PER_S;
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Returns the time at which everything that was taken is paid for.
    #[must_use]
    pub fn paid_at(self) -> Timestamp {
        self.paid_at
    }
}

/// Returns the time in which so many units are allowed, rounded up.
fn time_of(units: u64, per_s: NonZeroU64) -> Duration {
    let nanos = (u128::from(units) * NANOS_PER_S).div_ceil(per_s.get().into());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn per_s(units: u64) -> NonZeroU64 {
        NonZeroU64::new(units).unwrap()
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_is_allowed_and_what_was_saved(
            units_per_s in 1_u64..1_000_000,
            ahead_ms in 0_u64..2_000,
            steps in prop::collection::vec((0_u64..500_000, 0_u64..1_000_000_000), 1..100),
        ) {
            let (rate, ahead) = (per_s(units_per_s), Duration::from_millis(ahead_ms));
            let begin = Timestamp::after_epoch(Duration::from_secs(100));
            let (mut allowance, mut now, mut taken) = (Allowance::FULL, begin, 0_u128);
            for (wanted, nanos) in steps {
                now = now + Duration::from_nanos(nanos);
                let units = wanted.min(allowance.available(rate, now, ahead));
                allowance.take(units, rate, now);
                taken += u128::from(units);
                let time = now - begin + ahead;
                prop_assert!(taken * NANOS_PER_S <= time.as_nanos() * u128::from(units_per_s));
            }
            // And not much less, if it is asked for.
            now = allowance.paid_at().max(now) + Duration::from_secs(1);
            let available = allowance.available(rate, now, ahead);
            let expected = ahead.as_nanos() * u128::from(units_per_s) / NANOS_PER_S;
            prop_assert_eq!(u128::from(available), expected);
        }
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let now = Timestamp::after_epoch(Duration::from_secs(5));
        let mut allowance = Allowance::FULL;
        allowance.take(7, per_s(10), now);
        let before = allowance;
        allowance.take(5, per_s(10), now);
        allowance.refund(5, per_s(10));
        assert_eq!(allowance, before);
    }

    #[test]
    fn no_number_overflows() {
        let now = Timestamp::after_epoch(Duration::from_secs(5));
        let mut allowance = Allowance::FULL;
        assert_eq!(allowance.available(NonZeroU64::MAX, now, Duration::MAX), u64::MAX);
        allowance.take(u64::MAX, NonZeroU64::MIN, now);
        assert_eq!(allowance.paid_at(), Timestamp::MAX);
        assert_eq!(allowance.available(NonZeroU64::MAX, now, Duration::ZERO), 0);
        allowance.refund(u64::MAX, NonZeroU64::MIN);
        assert_eq!(allowance, Allowance::FULL);
    }
}
