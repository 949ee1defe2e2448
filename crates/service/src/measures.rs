//! Measurements of a thread for live metrics. Invariants: only the thread itself writes them, and it waits for
//! nobody; a thread without metrics runs a loop that contains no code for them.
//!
//! A turn is the time between two waits. The clock is read at both ends of it, and no more often.

// Only those who serve metrics read it.
#![cfg_attr(not(feature = "metrics"), allow(dead_code))]

use crate::stats::Count;
use epoll_reactor::net::AcceptCounters;
use epoll_timers::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The upper bounds of the buckets for times, in nanoseconds: from 10 µs, which few turns take less than, to a
/// second, after which a thread counts as stuck.
const TIMES: &[u64] = &[
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

/// The upper bounds of the buckets for events. A wait reports at most 256.
const EVENTS: &[u64] = &[0, 1, 2, 4, 8, 16, 32, 64, 128, 255];

/// The measures of a thread.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) turn_time: Histogram,
    pub(crate) turn_events: Histogram,
    /// The times by which timers of connections fired late.
    pub(crate) timer_lateness: Histogram,
    pub(crate) accept: AcceptCounts,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            turn_time: Histogram::new(TIMES),
            turn_events: Histogram::new(EVENTS),
            timer_lateness: Histogram::new(TIMES),
            accept: AcceptCounts::default(),
        }
    }
}

/// The outcomes of accepting, as [`AcceptCounters`].
#[derive(Debug, Default)]
pub(crate) struct AcceptCounts {
    pub(crate) accepted: Count,
    pub(crate) aborted: Count,
    pub(crate) shed: Count,
    pub(crate) pauses: Count,
}

impl AcceptCounts {
    /// Adds what a listener has counted since `before`.
    pub(crate) fn add(&self, before: AcceptCounters, now: AcceptCounters) {
        self.accepted.add(now.accepted - before.accepted);
        self.aborted.add(now.aborted - before.aborted);
        self.shed.add(now.shed - before.shed);
        self.pauses.add(now.pauses - before.pauses);
    }
}

/// Counts of values by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The largest value of each bucket but the last one, which has none.
    bounds: &'static [u64],
    counts: Box<[Count]>,
    sum: Count,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| Count::default()).collect();
        Self { bounds, counts, sum: Count::default() }
    }

    fn add(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].add(1);
        self.sum.add(value);
    }

    /// Counts a time.
    pub(crate) fn observe(&self, time: Duration) {
        // The difference of two timestamps fits.
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the largest value of each bucket but the last one, and the number of values that are no larger.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count.get();
            Some((bound, *sum))
        })
    }

    /// Returns the sum of all values.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// Observes the turns of a loop.
pub(crate) trait Meter {
    /// The next wait is about to begin; `events` returns how many events were reported so far.
    fn end_turn(&mut self, events: impl FnOnce() -> u64);

    /// A wait is over.
    fn begin_turn(&mut self);
}

/// Observes nothing: the loop is compiled as if there were no meter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unmeasured;

impl Meter for Unmeasured {
    #[inline(always)]
    fn end_turn(&mut self, _: impl FnOnce() -> u64) {}

    #[inline(always)]
    fn begin_turn(&mut self) {}
}

/// Observes the turns of a thread.
#[derive(Debug)]
pub(crate) struct TurnMeter {
    measures: Arc<Measures>,
    began: Timestamp,
    /// The number of events before this turn.
    events: u64,
}

impl TurnMeter {
    /// Returns the meter of the calling thread, whose first turn begins.
    pub(crate) fn new(measures: Arc<Measures>) -> Self {
        Self { measures, began: Timestamp::now(), events: 0 }
    }
}

impl Meter for &mut TurnMeter {
    fn end_turn(&mut self, events: impl FnOnce() -> u64) {
        let events = events();
        self.measures.turn_events.add(events - self.events);
        self.events = events;
        self.measures.turn_time.observe(Timestamp::now() - self.began);
    }

    fn begin_turn(&mut self) {
        self.began = Timestamp::now();
    }
}

/// Observes the turns of a thread that may have no meter.
impl<M: Meter> Meter for Option<M> {
    fn end_turn(&mut self, events: impl FnOnce() -> u64) {
        if let Some(meter) = self {
            meter.end_turn(events);
        }
    }

    fn begin_turn(&mut self) {
        if let Some(meter) = self {
            meter.begin_turn();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&[0, 10, 20]);
        for value in [0, 1, 10, 11, 20, 21, 1000] {
            histogram.add(value);
        }
        let buckets: Vec<_> = histogram.cumulative().collect();
        assert_eq!(buckets, [(Some(0), 1), (Some(10), 3), (Some(20), 5), (None, 7)]);
        assert_eq!(histogram.sum(), 1063);
        for bounds in [TIMES, EVENTS] {
            assert!(bounds.windows(2).all(|two| two[0] < two[1]), "{bounds:?}");
        }
    }

    #[test]
    fn a_turn_is_measured_with_the_events_since_the_one_before() {
        let measures = Arc::new(Measures::default());
        let mut meter = TurnMeter::new(Arc::clone(&measures));
        let mut meter = Some(&mut meter);
        for events in [0, 3, 3] {
            meter.end_turn(|| events);
            meter.begin_turn();
        }
        None::<&mut TurnMeter>.end_turn(|| unreachable!("nobody asks"));
        Unmeasured.end_turn(|| unreachable!("nobody asks"));
        let turns: Vec<_> = measures.turn_events.cumulative().map(|(_, count)| count).collect();
        assert_eq!(turns[..4], [2, 2, 2, 3]);
        assert_eq!((measures.turn_events.sum(), *turns.last().unwrap()), (3, 3));
        assert_eq!(measures.turn_time.cumulative().last(), Some((None, 3)));
    }

    #[test]
    fn what_listeners_have_counted_meanwhile_is_added() {
        let counts = AcceptCounts::default();
        let before = AcceptCounters { accepted: 5, aborted: 6, shed: 7, pauses: 8 };
        counts.add(before, AcceptCounters { accepted: 6, aborted: 8, shed: 10, pauses: 12 });
        counts.add(before, before);
        let AcceptCounts { accepted, aborted, shed, pauses } = counts;
        assert_eq!([accepted, aborted, shed, pauses].map(|count| count.get()), [1, 2, 3, 4]);
    }
}
