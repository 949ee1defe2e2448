//! The series: what happened in each interval of a run. Each thread records into a slice of its own, which it
//! adds to the series of all threads when the interval is over.
//!
//! An interval is complete when every thread has come past it. Only then is it handed out, once, so that no
//! more than a few histograms are in memory however long a run lasts.

use crate::stats::histogram;
use epoll_sys::Timestamp;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The largest number of figures that are kept; later intervals are left out of the report.
pub(crate) const ROWS_MAX: usize = 1 << 20;

/// The interval that a thread records after its end.
const ENDED: u64 = u64::MAX;

/// The requests and failures of an interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The time from the beginning of the measurement to that of the interval.
    pub from: Duration,
    /// The length; the last interval may be shorter than the others.
    pub length: Duration,
    /// The latencies of the requests that were answered in it, in nanoseconds; `None` without any.
    pub latencies_ns: Option<Histogram<u64>>,
    /// The number of failures.
    pub failures: u64,
}

/// The figures of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The time from the beginning of the measurement to that of the interval.
    pub from: Duration,
    /// The length of the interval.
    pub length: Duration,
    /// The number of answered requests.
    pub answers: u64,
    /// The number of failures.
    pub failures: u64,
    /// The median, the 99th percentile and the maximum of the latencies, in microseconds; `None` without an
    /// answer.
    pub latencies_us: Option<[f64; 3]>,
}

impl Interval {
    /// Returns the figures.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "figures for people and plots")]
    pub fn row(&self) -> Row {
        let us = |ns: u64| ns as f64 / 1e3;
        let latencies = self.latencies_ns.as_ref();
        Row {
            from: self.from,
            length: self.length,
            answers: latencies.map_or(0, Histogram::len),
            failures: self.failures,
            latencies_us: latencies.map(|latencies| {
                let at = |percentile| us(latencies.value_at_percentile(percentile));
                [at(50.0), at(99.0), us(latencies.max())]
            }),
        }
    }
}

impl Row {
    /// Returns the number of answers a second; 0 if no time has passed.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "figures for people and plots")]
    pub fn per_second(&self) -> f64 {
        let seconds = self.length.as_secs_f64();
        if seconds > 0.0 { self.answers as f64 / seconds } else { 0.0 }
    }
}

/// The series of all threads.
#[derive(Debug)]
pub(crate) struct Series {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The interval that each thread records, by its index.
    reached: Vec<u64>,
    /// Intervals in which anything happened, until they are handed out.
    open: BTreeMap<u64, Open>,
    /// The next interval to be handed out.
    next: u64,
}

#[derive(Debug)]
struct Open {
    latencies_ns: Histogram<u64>,
    failures: u64,
}

impl Series {
    /// Returns an empty series of this many threads.
    pub(crate) fn new(interval: Duration, threads: u32) -> Self {
        let reached = (0..threads).map(|_| 0).collect();
        let state = State { reached, open: BTreeMap::new(), next: 0 };
        Self { interval, state: Mutex::new(state) }
    }

    /// Returns the complete intervals that were not handed out before, in their order.
    pub(crate) fn complete(&self) -> Vec<Interval> {
        let mut state = self.state();
        match state.reached.iter().copied().min() {
            // The last thread has ended: only the end of the run says how many intervals there are.
            None | Some(ENDED) => Vec::new(),
            Some(end) => self.hand_out(&mut state, end),
        }
    }

    /// Returns all intervals that were not handed out before, after the last thread has ended. The
    /// measurement was `elapsed` long.
    pub(crate) fn rest(&self, elapsed: Duration) -> Vec<Interval> {
        let mut state = self.state();
        let last = state.open.last_key_value().map_or(0, |(index, _)| index + 1);
        let whole = elapsed.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        let end = last.max(u64::try_from(whole).unwrap_or(u64::MAX));
        let mut rest = self.hand_out(&mut state, end);
        if let Some(interval) = rest.last_mut() {
            let length = elapsed.saturating_sub(interval.from);
            interval.length = length.min(self.interval);
        }
        rest
    }

    fn hand_out(&self, state: &mut State, end: u64) -> Vec<Interval> {
        let mut all = Vec::new();
        while state.next < end && all.len() < ROWS_MAX {
            let open = state.open.remove(&state.next);
            all.push(Interval {
                from: times(self.interval, state.next),
                length: self.interval,
                failures: open.as_ref().map_or(0, |open| open.failures),
                latencies_ns: open.map(|open| open.latencies_ns).filter(|it| !it.is_empty()),
            });
            state.next += 1;
        }
        all
    }

    fn add(&self, slice: &Slice, failures: u64, reached: u64) -> anyhow::Result<()> {
        let mut state = self.state();
        if let Some(place) = state.reached.get_mut(slice.thread) {
            *place = reached;
        }
        if failures == 0 && slice.latencies_ns.is_empty() {
            return Ok(());
        }
        // What comes later than its interval was handed out would be lost.
        let index = slice.index.max(state.next);
        if let Some(open) = state.open.get_mut(&index) {
            open.latencies_ns.add(&slice.latencies_ns)?;
            open.failures += failures;
        } else {
            let mut latencies_ns = histogram()?;
            latencies_ns.add(&slice.latencies_ns)?;
            state.open.insert(index, Open { latencies_ns, failures });
        }
        Ok(())
    }

    /// A panic of another thread leaves the counts as they are, and ends the run anyway.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns `index` times `interval`.
fn times(interval: Duration, index: u64) -> Duration {
    let ns = interval.as_nanos().saturating_mul(index.into());
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// The record of one thread for the present interval.
#[derive(Debug)]
pub(crate) struct Slice {
    thread: usize,
    begin: Timestamp,
    interval: Duration,
    index: u64,
    /// The end of the interval.
    end: Timestamp,
    latencies_ns: Histogram<u64>,
    /// The number of failures of the thread up to the beginning of the interval.
    failures_before: u64,
}

impl Slice {
    /// Returns the first slice of the thread with this index.
    pub(crate) fn new(thread: u32, interval: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            thread: usize::try_from(thread)?,
            begin: Timestamp::MAX,
            interval,
            index: 0,
            end: Timestamp::MAX,
            latencies_ns: histogram()?,
            failures_before: 0,
        })
    }

    /// Sets the beginning of the measurement.
    pub(crate) fn begin(&mut self, begin: Timestamp) {
        self.begin = begin;
        self.end = begin + self.interval;
    }

    /// Records the latency of an answer.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.latencies_ns.saturating_record(latency_ns);
    }

    /// Returns whether the interval is over at `now`.
    #[inline]
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.end
    }

    /// Adds the interval to `series` and begins the one of `now`. `failures` is the number of all failures of
    /// the thread.
    #[cold]
    pub(crate) fn roll(&mut self, now: Timestamp, failures: u64, series: &Series) {
        let passed = (now - self.begin).as_nanos() / self.interval.as_nanos().max(1);
        let reached = u64::try_from(passed).unwrap_or(u64::MAX);
        let failed = failures - self.failures_before;
        // Histograms of one range can be added.
        let _ = series.add(self, failed, reached);
        self.latencies_ns.reset();
        self.failures_before = failures;
        self.index = reached;
        self.end = self.begin + times(self.interval, reached.saturating_add(1));
    }

    /// Adds the interval to `series` when the thread ends.
    pub(crate) fn finish(&mut self, failures: u64, series: &Series) {
        let failed = failures - self.failures_before;
        let _ = series.add(self, failed, ENDED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at_ms(milliseconds: u64) -> Timestamp {
        Timestamp::from_nanos(5_000_000_000) + Duration::from_millis(milliseconds)
    }

    fn slices(count: u32) -> Vec<Slice> {
        let slice = |thread| {
            let mut slice = Slice::new(thread, SECOND).unwrap();
            slice.begin(at_ms(0));
            slice
        };
        (0..count).map(slice).collect()
    }

    fn counts(intervals: &[Interval]) -> Vec<(u64, u64)> {
        intervals.iter().map(Interval::row).map(|row| (row.answers, row.failures)).collect()
    }

    #[test]
    fn an_interval_is_complete_when_every_thread_is_past_it() {
        let series = Series::new(SECOND, 2);
        let [mut one, mut two] = <[Slice; 2]>::try_from(slices(2)).unwrap();
        one.record(1000);
        two.record(3000);
        assert!(!one.is_over(at_ms(999)) && one.is_over(at_ms(1000)));
        one.roll(at_ms(1000), 2, &series);
        assert!(series.complete().is_empty());
        two.roll(at_ms(2500), 0, &series);
        let complete = series.complete();
        assert_eq!(counts(&complete), [(2, 2)]);
        let row = complete[0].row();
        assert_eq!((row.from, row.length, row.per_second()), (Duration::ZERO, SECOND, 2.0));
        assert!(row.latencies_us.is_some_and(|[_, _, max]| (max - 3.0).abs() < 0.01));
        assert!(series.complete().is_empty());
    }

    #[test]
    fn intervals_without_anything_have_their_place() {
        let series = Series::new(SECOND, 1);
        let mut slice = slices(1).remove(0);
        slice.record(1);
        slice.roll(at_ms(3200), 1, &series);
        slice.record(1);
        slice.record(1);
        slice.finish(4, &series);
        let all = series.rest(Duration::from_millis(3700));
        assert_eq!(counts(&all), [(1, 1), (0, 0), (0, 0), (2, 3)]);
        assert_eq!(all[3].from, 3 * SECOND);
        assert_eq!(all[3].length, Duration::from_millis(700));
        assert_eq!(all[1].row().latencies_us, None);
    }

    #[test]
    fn the_rest_reaches_to_the_end_of_the_run() {
        let series = Series::new(SECOND, 1);
        let mut slice = slices(1).remove(0);
        slice.record(1);
        slice.finish(0, &series);
        // There is no telling yet how long the run was.
        assert!(series.complete().is_empty());
        assert_eq!(counts(&series.rest(Duration::from_millis(2001))), [(1, 0), (0, 0), (0, 0)]);
    }

    #[test]
    fn the_time_before_the_measurement_is_none_of_it() {
        let series = Series::new(SECOND, 1);
        let mut slice = Slice::new(0, SECOND).unwrap();
        assert!(!slice.is_over(at_ms(0)));
        slice.begin(at_ms(5000));
        assert!(!slice.is_over(at_ms(5999)));
        slice.roll(at_ms(6000), 1, &series);
        assert_eq!(counts(&series.complete()), [(0, 1)]);
    }
}
