//! Waking a loop from elsewhere.
//!
//! - `pending`: a wake while one is on its way.
//! - `not pending`: a wake of a loop that does not sleep, and that has seen the one before. The loop
//!   takes notice between any two; the wake alone is timed, and what reading the clock costs is
//!   subtracted.
//! - `wakes a second`: one thread wakes as fast as it can, another waits, again and again. Counted are
//!   the calls; how many of them are one wake-up is left to the contestant.
//! - `round trip`: two threads wake one another in turn, and wait.

mod wakeables;

use crate::contest::{Case, Contestant, Role, Timed, Unit};
use crate::{Options, Report};
use anyhow::{anyhow, ensure};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use wakeables::{Floor, Mio, Ours, Polling};

/// The longest time that a wake may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A loop that can be woken and watches nothing else.
pub(crate) trait Wakeable: Sized {
    /// The handle that other threads wake the loop with.
    type Waker: Send + Sync + 'static;

    fn new() -> io::Result<(Self, Self::Waker)>;

    fn wake(waker: &Self::Waker) -> io::Result<()>;

    /// Waits until it is woken or `timeout` has passed. Returns whether it was woken. It may return early.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool>;

    /// Waits until it is woken.
    #[inline]
    fn await_wake(&mut self) -> anyhow::Result<()> {
        // Nothing here reads a clock as long as wakes come.
        if self.wait(PATIENCE)? {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.wait(PATIENCE)? {
            ensure!(Instant::now() < deadline, "a wake was lost");
        }
        Ok(())
    }
}

type Measure = fn(u64) -> anyhow::Result<Timed>;

const CASES: [(&str, Unit); 4] = [
    ("pending", Unit::Nanoseconds),
    ("not pending", Unit::Nanoseconds),
    ("wakes a second", Unit::PerSecond),
    ("round trip", Unit::Nanoseconds),
];

/// Returns the measurements in the order of [`CASES`].
fn measures<W: Wakeable>() -> [Measure; CASES.len()] {
    [pending::<W>, not_pending::<W>, across_threads::<W>, round_trip::<W>]
}

/// Measures every case.
///
/// # Errors
///
/// What the system refuses, and a contestant that loses a wake or makes one up; polling does not say
/// whether it has.
pub fn measure(options: &Options, report: &mut Report<'_>) -> anyhow::Result<()> {
    for (number, (name, unit)) in CASES.into_iter().enumerate() {
        let contestants = vec![
            Contestant::new(Role::Floor, "floor", measures::<Floor>()[number]),
            Contestant::new(Role::FloorAgain, "floor", measures::<Floor>()[number]),
            Contestant::new(Role::Ours, "epoll-kit", measures::<Ours>()[number]),
            Contestant::new(Role::Peer, "mio", measures::<Mio>()[number]),
            Contestant::new(Role::Peer, "polling", measures::<Polling>()[number]),
        ];
        let (name, x) = (name.to_owned(), number + 1);
        let case = Case { suite: "wake", name, group: None, x, unit };
        case.compete(options, report, contestants)?;
    }
    Ok(())
}

fn pending<W: Wakeable>(count: u64) -> anyhow::Result<Timed> {
    let (mut woken, waker) = W::new()?;
    W::wake(&waker)?;
    let start = Instant::now();
    for _ in 0..count {
        W::wake(&waker)?;
    }
    let elapsed = start.elapsed();
    woken.await_wake()?;
    ensure!(!woken.wait(Duration::ZERO)?, "several wakes were several wake-ups");
    Ok(Timed { elapsed, count })
}

fn not_pending<W: Wakeable>(count: u64) -> anyhow::Result<Timed> {
    let (mut woken, waker) = W::new()?;
    let (mut elapsed, mut clock) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count {
        let start = Instant::now();
        W::wake(&waker)?;
        elapsed += start.elapsed();
        woken.await_wake()?;
        let start = Instant::now();
        clock += start.elapsed();
    }
    Ok(Timed { elapsed: elapsed.saturating_sub(clock), count })
}

fn across_threads<W: Wakeable>(count: u64) -> anyhow::Result<Timed> {
    let (mut woken, waker) = W::new()?;
    let (begin, is_over) = (Barrier::new(2), AtomicBool::new(false));
    let mut wake_ups = 0;
    let elapsed = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            begin.wait();
            let start = Instant::now();
            let sent = (0..count).try_for_each(|_| W::wake(&waker));
            let elapsed = start.elapsed();
            is_over.store(true, Ordering::Release);
            // The receiver sees that it is over, or is told once more: if this were lost, it would
            // wait for ever.
            sent.and_then(|()| W::wake(&waker)).map(|()| elapsed)
        });
        begin.wait();
        while !is_over.load(Ordering::Acquire) {
            woken.await_wake()?;
            wake_ups += 1;
        }
        anyhow::Ok(sender.join().map_err(|_| anyhow!("the thread that wakes has failed"))??)
    })?;
    ensure!(wake_ups <= count + 1, "{wake_ups} wake-ups of {count} wakes");
    Ok(Timed { elapsed, count })
}

fn round_trip<W: Wakeable>(count: u64) -> anyhow::Result<Timed> {
    // Borrowed by the thread: one that drops it may take a wake with it.
    let (mut here, ref waker_here) = W::new()?;
    let (sender, wakers) = mpsc::channel();
    thread::scope(|scope| {
        let there = scope.spawn(move || -> anyhow::Result<()> {
            let (mut there, waker_there) = W::new()?;
            // Nobody listens only if the other thread has failed.
            let _ = sender.send(waker_there);
            for _ in 0..count {
                there.await_wake()?;
                W::wake(waker_here)?;
            }
            Ok(())
        });
        let waker_there = wakers.recv()?;
        let start = Instant::now();
        for _ in 0..count {
            W::wake(&waker_there)?;
            here.await_wake()?;
        }
        let elapsed = start.elapsed();
        there.join().map_err(|_| anyhow!("the thread that answers has failed"))??;
        // One for each, and none left over.
        ensure!(!here.wait(Duration::ZERO)?, "more wake-ups than wakes");
        Ok(Timed { elapsed, count })
    })
}
