//! A steady number of timers, on which operations are measured in batches: what a batch has changed
//! is put right outside the measured time. Whatever a contestant answers is checked.

use crate::Keeper;
use fastrand::Rng;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The longest time to a deadline: about a minute.
pub const DELAY_MAX: u64 = 60_000;

/// The seed of the random deadlines and of the order of use. It is fixed, so every run has the same ones.
const SEED: u64 = 7;

/// Timers of a batch, of those that live; a small population has this many.
const BATCH_PART: usize = 8;
const BATCH_MIN: usize = 250;

/// Some contestants keep what was cancelled until its time comes, which it never does here. Such a
/// population is worn out after so many operations for each of its timers, and begins anew.
const WEAR_MAX: usize = 16;

/// The time and the number of operations that were measured.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// The time of the operations, without the work that undoes their changes.
    pub elapsed: Duration,
    /// The number of operations.
    pub count: usize,
}

/// Timers of one contestant.
pub struct Population<T: Keeper> {
    timers: T,
    now: u64,
    /// The key of each timer, indexed by its value.
    keys: Vec<T::Key>,
    deadlines: Vec<u64>,
    /// Values in the order in which they are used.
    order: Vec<usize>,
    used: usize,
    wear: usize,
    random: Rng,
}

/// An operation that is measured at least `count` times.
pub type Operation<T> = fn(&mut Population<T>, count: usize) -> Took;

impl<T: Keeper> Population<T> {
    /// Every operation, with its name, in the order of the tables.
    pub const OPERATIONS: [(&'static str, Operation<T>); 5] = [
        ("insert", Self::insert),
        ("cancel", Self::cancel),
        ("reschedule", Self::reschedule),
        ("put off", Self::put_off),
        ("expire", Self::expire),
    ];

    /// Creates `len` timers with random deadlines.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut random = Rng::with_seed(SEED);
        let mut order: Vec<_> = (0..len).collect();
        random.shuffle(&mut order);
        let mut population = Self {
            timers: T::new(),
            now: 0,
            keys: Vec::with_capacity(len),
            deadlines: Vec::with_capacity(len),
            order,
            used: 0,
            wear: 0,
            random,
        };
        population.fill();
        population
    }

    fn fill(&mut self) {
        for value in 0..self.order.len() {
            let deadline = self.any_deadline();
            self.keys.push(self.timers.insert(deadline, value as u64));
            self.deadlines.push(deadline);
        }
    }

    /// Inserts `count` timers.
    pub fn insert(&mut self, count: usize) -> Took {
        self.in_batches(count, |own, values| {
            let batch: Vec<_> = values.iter().map(|value| (*value, own.any_deadline())).collect();
            let mut keys = Vec::with_capacity(batch.len());
            let start = Instant::now();
            for (value, deadline) in &batch {
                keys.push(own.timers.insert(*deadline, *value as u64));
            }
            let elapsed = start.elapsed();
            assert_eq!(own.timers.len(), own.keys.len() + batch.len());
            for ((value, deadline), key) in batch.into_iter().zip(keys) {
                assert!(own.timers.cancel(own.keys[value]));
                (own.keys[value], own.deadlines[value]) = (key, deadline);
            }
            elapsed
        })
    }

    /// Cancels so many timers.
    pub fn cancel(&mut self, count: usize) -> Took {
        self.in_batches(count, |own, values| {
            let keys: Vec<_> = values.iter().map(|value| own.keys[*value]).collect();
            let (start, mut cancelled) = (Instant::now(), 0);
            for key in &keys {
                cancelled += usize::from(own.timers.cancel(*key));
            }
            let elapsed = start.elapsed();
            assert_eq!((cancelled, own.timers.len()), (keys.len(), own.keys.len() - keys.len()));
            own.put_back(values);
            elapsed
        })
    }

    /// Gives so many timers another deadline, earlier or later.
    pub fn reschedule(&mut self, count: usize) -> Took {
        self.in_batches(count, |own, values| {
            let deadlines: Vec<_> = values.iter().map(|_| own.any_deadline()).collect();
            own.reschedule_to(values, &deadlines)
        })
    }

    /// Gives so many timers a later deadline.
    pub fn put_off(&mut self, count: usize) -> Took {
        self.in_batches(count, |own, values| {
            let before: Vec<_> = values.iter().map(|value| own.deadlines[*value]).collect();
            let later: Vec<_> =
                before.iter().map(|deadline| deadline + 1 + own.random.u64(..DELAY_MAX)).collect();
            let elapsed = own.reschedule_to(values, &later);
            own.reschedule_to(values, &before);
            elapsed
        })
    }

    fn reschedule_to(&mut self, values: &[usize], deadlines: &[u64]) -> Duration {
        let mut batch: Vec<_> = values.iter().map(|value| (self.keys[*value], *value)).collect();
        let (start, mut known) = (Instant::now(), 0);
        for ((key, value), deadline) in batch.iter_mut().zip(deadlines) {
            known += usize::from(self.timers.reschedule(key, *deadline, *value as u64));
        }
        let elapsed = start.elapsed();
        assert_eq!((known, self.timers.len()), (batch.len(), self.keys.len()));
        for ((key, value), deadline) in batch.into_iter().zip(deadlines) {
            (self.keys[value], self.deadlines[value]) = (key, *deadline);
        }
        elapsed
    }

    /// Lets time pass until so many timers or more have fired.
    pub fn expire(&mut self, count: usize) -> Took {
        let (mut elapsed, mut fired) = (Duration::ZERO, 0);
        while fired < count {
            self.now += DELAY_MAX / BATCH_PART as u64;
            let now = self.now;
            let (due, sum) = self.due();
            self.timers.advance(now);
            let (start, mut left) = (Instant::now(), sum);
            self.timers.expire(now, |value| left = left.wrapping_sub(black_box(value)));
            elapsed += start.elapsed();
            assert_eq!((left, self.timers.len()), (0, self.keys.len() - due.len()));
            fired += due.len();
            self.put_back(&due);
        }
        Took { elapsed, count: fired }
    }

    /// Returns the timers that have expired, and the sum of their values.
    fn due(&self) -> (Vec<usize>, u64) {
        let due = |value: &usize| self.deadlines[*value] <= self.now;
        let due: Vec<_> = (0..self.keys.len()).filter(due).collect();
        let sum = due.iter().map(|value| *value as u64).sum();
        (due, sum)
    }

    fn put_back(&mut self, values: &[usize]) {
        for &value in values {
            let deadline = self.any_deadline();
            self.keys[value] = self.timers.insert(deadline, value as u64);
            self.deadlines[value] = deadline;
        }
    }

    fn in_batches(
        &mut self,
        count: usize,
        mut run: impl FnMut(&mut Self, &[usize]) -> Duration,
    ) -> Took {
        let (mut elapsed, mut left) = (Duration::ZERO, count);
        while left > 0 {
            let batch_max = (self.order.len() / BATCH_PART).max(BATCH_MIN).min(self.order.len());
            let values = self.next_values(left.min(batch_max));
            elapsed += run(self, &values);
            left -= values.len();
        }
        Took { elapsed, count }
    }

    /// Values of timers, none of them twice.
    fn next_values(&mut self, count: usize) -> Vec<usize> {
        self.wear += count;
        if self.wear > WEAR_MAX * self.order.len().max(BATCH_MIN * BATCH_PART) {
            *self = Self::new(self.order.len());
        }
        let values = self.order.iter().cycle().skip(self.used).take(count).copied().collect();
        self.used = (self.used + count) % self.order.len();
        values
    }

    fn any_deadline(&mut self) -> u64 {
        self.now + 1 + self.random.u64(..DELAY_MAX)
    }
}
