//! Waits for conditions.
//!
//! Nothing here relies on a duration: the deadline is only there to turn a hang into a failure.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{panic, thread};

/// Longer than any machine needs, however busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The longest time between two looks at a condition.
const PAUSE_MAX: Duration = Duration::from_millis(1);

/// Returns when `condition` holds.
///
/// It pauses between two looks: a condition that takes a lock again and again keeps it from those who would make
/// the condition true.
///
/// # Panics
///
/// If it does not hold by the deadline, and says `what` did not.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut pause = Duration::from_micros(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not before the deadline: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Runs `body`, which might wait for ever, in a thread of its own.
///
/// # Panics
///
/// If `body` panics, with the same, or has not ended by the deadline.
#[track_caller]
pub fn before_the_deadline<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, done) = mpsc::channel();
    let running = thread::spawn(move || drop(send.send(body())));
    match done.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("it had not ended by the deadline"),
        Err(RecvTimeoutError::Disconnected) => panic::resume_unwind(running.join().unwrap_err()),
    }
}
