//! The drain as other threads see it: its phase, a call when it changes, and the participants that
//! have yet to finish. Invariant: the phase only moves on, and it is stored before anybody is called.

use crate::{DrainOutcome, Phase};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A view of a [`Drain`](crate::Drain) that threads share. Clones are the same view.
///
/// The thread that owns the drain [sets](Self::set) the phase after each change. The others read
/// [`phase`](Self::phase), which takes no lock, and register a callback with
/// [`on_change`](Self::on_change) that wakes them.
///
/// In the other direction, each thread that takes part holds a [`Participant`] until it has
/// finished. The callbacks are called when the last is dropped, and
/// [`wait_finished`](Self::wait_finished) returns.
///
/// **Fork:** a child has a copy of its own, whose participants in other threads never finish.
///
/// # Examples
///
/// With an event loop the callback would write to its eventfd; here it sends to a channel.
///
/// ```
/// use epoll_shutdown::{Drain, DrainWatch, Phase, Signal, Timestamp};
/// use std::sync::mpsc;
///
/// let watch = DrainWatch::new();
/// let (wake, woken) = mpsc::channel();
/// watch.on_change(move || drop(wake.send(())));
/// let other = watch.clone();
/// let thread = std::thread::spawn(move || {
///     woken.recv().unwrap();
///     other.phase()
/// });
///
/// let mut drain = Drain::new(None);
/// drain.on_signal(Signal::TERM, Timestamp::EPOCH);
/// watch.set(drain.phase());
/// assert!(matches!(thread.join().unwrap(), Phase::Draining { signal: Signal::TERM, .. }));
/// ```
#[derive(Clone, Default)]
pub struct DrainWatch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    // Each phase is entered once, so each has a place of its own that is read without a lock.
    draining: OnceLock<Phase>,
    stopped: OnceLock<Phase>,
    callbacks: Mutex<Vec<Callback>>,
    unfinished: Mutex<usize>,
    all_finished: Condvar,
}

type Callback = Arc<dyn Fn() + Send + Sync>;

impl DrainWatch {
    /// Makes a watch of a drain that is running, with no callbacks and no participants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the phase that was set last. It costs two atomic loads.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        // The later one first: a phase that was set does not disappear.
        let entered = self.shared.stopped.get().or_else(|| self.shared.draining.get());
        entered.copied().unwrap_or(Phase::Running)
    }

    /// Calls `callback` whenever the phase has changed, and when the last participant has finished.
    ///
    /// It is called by the thread that sets the phase or finishes last, and should do no more than
    /// wake a thread. It must not panic: it would take that thread with it. A change that came
    /// before is not told again, so read [`phase`](Self::phase) afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{DrainWatch, Phase};
    /// use epoll_sys::{EventFd, poll_readable};
    /// use std::sync::Arc;
    ///
    /// let watch = DrainWatch::new();
    /// let wake = Arc::new(EventFd::new(0)?);
    /// let writer = Arc::clone(&wake);
    /// // WouldBlock: the counter is full, so the reader is awake already.
    /// watch.on_change(move || drop(writer.write(1)));
    ///
    /// watch.abort();
    /// assert!(poll_readable(&wake, None)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) {
        lock(&self.shared.callbacks).push(Arc::new(callback));
    }

    /// Sets the phase and calls every callback, if `phase` is a later one than the phase so far.
    /// Otherwise it does nothing.
    pub fn set(&self, phase: Phase) {
        let Shared { draining, stopped, .. } = &*self.shared;
        let has_changed = match phase {
            Phase::Running => false,
            Phase::Draining { .. } => stopped.get().is_none() && draining.set(phase).is_ok(),
            Phase::Stopped { .. } => stopped.set(phase).is_ok(),
        };
        if has_changed {
            self.notify();
        }
    }

    /// Sets the phase to [`Stopped`](Phase::Stopped) with [`DrainOutcome::Aborted`], unless it is
    /// stopped already: for a thread that cannot go on, whether or not it owns the drain.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{DrainOutcome, DrainWatch, Phase};
    ///
    /// let watch = DrainWatch::new();
    /// watch.abort();
    /// assert_eq!(watch.phase(), Phase::Stopped { outcome: DrainOutcome::Aborted });
    /// ```
    pub fn abort(&self) {
        self.set(Phase::Stopped { outcome: DrainOutcome::Aborted });
    }

    /// Registers a participant, which counts as unfinished until it is dropped.
    ///
    /// To register several one after another may let the count reach zero in between, which calls
    /// the callbacks: use [`participants`](Self::participants) where they are known in advance.
    #[must_use = "it finishes when it is dropped"]
    pub fn participant(&self) -> Participant {
        *lock(&self.shared.unfinished) += 1;
        Participant { watch: self.clone() }
    }

    /// Registers `count` participants at once.
    ///
    /// # Examples
    ///
    /// Without an event loop:
    ///
    /// ```
    /// use epoll_shutdown::{DrainWatch, Phase};
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// let watch = DrainWatch::new();
    /// for participant in watch.participants(4) {
    ///     thread::spawn(move || {
    ///         while participant.watch().phase() == Phase::Running {
    ///             thread::sleep(Duration::from_millis(1));
    ///         }
    ///     });
    /// }
    /// assert!(!watch.wait_finished(Some(Duration::ZERO)));
    /// watch.abort();
    /// assert!(watch.wait_finished(Some(Duration::from_secs(10))));
    /// ```
    #[must_use = "each finishes when it is dropped"]
    pub fn participants(&self, count: usize) -> Vec<Participant> {
        *lock(&self.shared.unfinished) += count;
        (0..count).map(|_| Participant { watch: self.clone() }).collect()
    }

    /// Returns how many participants have not finished.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        *lock(&self.shared.unfinished)
    }

    /// Waits until every participant has finished or `timeout` has passed, and returns whether all
    /// have. `None` waits without an end.
    #[must_use = "whether all have finished"]
    pub fn wait_finished(&self, timeout: Option<Duration>) -> bool {
        let unfinished = lock(&self.shared.unfinished);
        let all_finished = &self.shared.all_finished;
        let is_any_left = |left: &mut usize| *left > 0;
        // A participant does nothing with the count that could panic and leave it wrong.
        let left = match timeout {
            Some(timeout) => all_finished
                .wait_timeout_while(unfinished, timeout, is_any_left)
                .map_or_else(|poisoned| *poisoned.into_inner().0, |(left, _)| *left),
            None => all_finished
                .wait_while(unfinished, is_any_left)
                .map_or_else(|poisoned| *poisoned.into_inner(), |left| *left),
        };
        left == 0
    }

    fn notify(&self) {
        // Called without the lock, so that a callback may register another one.
        let callbacks = lock(&self.shared.callbacks).clone();
        callbacks.iter().for_each(|callback| callback());
    }
}

/// A list and a count are right at every moment, whatever has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for DrainWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("DrainWatch");
        debug.field("phase", &self.phase()).field("unfinished", &self.unfinished());
        debug.finish_non_exhaustive()
    }
}

/// A guard of something that has to finish before a drain is over, usually held by a thread.
///
/// It finishes when it is dropped, also by a panic. Made by [`DrainWatch::participant`] and
/// [`DrainWatch::participants`].
#[derive(Debug)]
#[must_use = "it finishes when it is dropped"]
pub struct Participant {
    watch: DrainWatch,
}

impl Participant {
    /// Returns the watch that it was registered with.
    #[must_use]
    pub fn watch(&self) -> &DrainWatch {
        &self.watch
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let mut unfinished = lock(&self.watch.shared.unfinished);
        *unfinished -= 1;
        let is_last = *unfinished == 0;
        // Callbacks may ask for the count.
        drop(unfinished);
        if is_last {
            self.watch.shared.all_finished.notify_all();
            self.watch.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_sys::{Signal, Timestamp};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    const DRAINING: Phase =
        Phase::Draining { signal: Signal::TERM, since: Timestamp::EPOCH, deadline: None };
    const FINISHED: Phase = Phase::Stopped { outcome: DrainOutcome::Finished };
    const ABORTED: Phase = Phase::Stopped { outcome: DrainOutcome::Aborted };

    /// How long anything may take that is bound to happen.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

    /// A watch, and how often its callback was called.
    fn counted() -> (DrainWatch, Arc<AtomicUsize>) {
        let (watch, calls) = (DrainWatch::new(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        watch.on_change(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (watch, calls)
    }

    #[test]
    fn each_change_calls_once() {
        let (watch, calls) = counted();
        watch.set(Phase::Running);
        assert_eq!((calls.load(Ordering::Relaxed), watch.phase()), (0, Phase::Running));
        for (expected, phase) in [(1, DRAINING), (2, FINISHED)] {
            watch.set(phase);
            watch.set(phase);
            assert_eq!((calls.load(Ordering::Relaxed), watch.phase()), (expected, phase));
        }
    }

    #[test]
    fn an_earlier_phase_does_not_replace_a_later_one() {
        for (later, earlier) in
            [(DRAINING, Phase::Running), (FINISHED, DRAINING), (FINISHED, ABORTED)]
        {
            let (watch, calls) = counted();
            watch.set(later);
            watch.set(earlier);
            assert_eq!((calls.load(Ordering::Relaxed), watch.phase()), (1, later));
        }
    }

    #[test]
    fn abort_stops_from_any_phase_and_calls() {
        for phase in [Phase::Running, DRAINING] {
            let (watch, calls) = counted();
            watch.set(phase);
            let before = calls.load(Ordering::Relaxed);
            watch.abort();
            assert_eq!((calls.load(Ordering::Relaxed), watch.phase()), (before + 1, ABORTED));
        }
    }

    #[test]
    fn a_callback_may_register_another_one_and_ask() {
        let watch = DrainWatch::new();
        let inner = watch.clone();
        watch.on_change(move || {
            assert_eq!((inner.phase(), inner.unfinished()), (DRAINING, 0));
            inner.on_change(|| ());
        });
        watch.set(DRAINING);
    }

    #[test]
    fn the_last_participant_that_finishes_calls_once() {
        let (watch, calls) = counted();
        let mut participants = watch.participants(3);
        participants.push(watch.participant());
        for left in (0..4).rev() {
            assert_eq!((calls.load(Ordering::Relaxed), watch.unfinished()), (0, left + 1));
            assert!(!watch.wait_finished(Some(Duration::ZERO)));
            drop(participants.pop());
        }
        assert_eq!((calls.load(Ordering::Relaxed), watch.unfinished()), (1, 0));
        assert!(watch.wait_finished(Some(Duration::ZERO)) && watch.wait_finished(None));
        // The phase is another matter.
        assert_eq!(watch.phase(), Phase::Running);
    }

    #[test]
    fn a_watch_without_participants_has_finished() {
        let (watch, calls) = counted();
        assert!(watch.participants(0).is_empty());
        assert_eq!((watch.unfinished(), watch.wait_finished(None)), (0, true));
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_panic_finishes_too() {
        let (watch, calls) = counted();
        let [good, bad] = [(); 2].map(|()| watch.participant());
        let panicked = thread::spawn(move || {
            let _participant = bad;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!((watch.unfinished(), calls.load(Ordering::Relaxed)), (1, 0));
        drop(good);
        assert!(watch.wait_finished(PATIENCE));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_wait_ends_with_the_timeout_or_with_the_last_participant() {
        for timeout in [PATIENCE, None] {
            let watch = DrainWatch::new();
            let participants = watch.participants(8);
            let start = Instant::now();
            assert!(!watch.wait_finished(Some(Duration::from_millis(10))));
            assert!(start.elapsed() >= Duration::from_millis(10));
            let waiting = {
                let watch = watch.clone();
                thread::spawn(move || watch.wait_finished(timeout))
            };
            for participant in participants {
                thread::spawn(move || {
                    while participant.watch().phase() == Phase::Running {
                        thread::yield_now();
                    }
                });
            }
            assert!(!waiting.is_finished());
            watch.set(DRAINING);
            assert!(waiting.join().unwrap());
        }
    }

    #[test]
    fn it_prints_what_it_knows() {
        let watch = DrainWatch::new();
        let _participant = watch.participant();
        let text = format!("{watch:?}");
        assert!(text.contains("phase: Running") && text.contains("unfinished: 1"), "{text}");
    }
}
