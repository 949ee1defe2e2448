//! The drain as other threads see it: its phase, callbacks when it changes, and the participants that have
//! not finished. Invariant: the phase only moves on, and it is stored before the callbacks are called.

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
/// finished. When the last one is dropped, the callbacks are called and
/// [`wait_finished`](Self::wait_finished) returns.
///
/// **Threads:** any thread may call any method.
///
/// **Fork:** a child has a copy of its own. Participants of other threads never finish there, because a
/// child has none of these threads.
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
    // Each phase is entered once, so each has a cell of its own, which is read without a lock.
    draining: OnceLock<Phase>,
    stopped: OnceLock<Phase>,
    callbacks: Mutex<Vec<Callback>>,
    unfinished: Mutex<usize>,
    all_finished: Condvar,
}

type Callback = Arc<dyn Fn() + Send + Sync>;

impl DrainWatch {
    /// Creates a watch of a drain that is running, with no callbacks and no participants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the phase that was set last. It costs two atomic loads.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        // The later one first: after a drain that has stopped, both are set.
        let entered = self.shared.stopped.get().or_else(|| self.shared.draining.get());
        entered.copied().unwrap_or(Phase::Running)
    }

    /// Calls `callback` whenever the phase has changed, and when the last participant has finished.
    ///
    /// The thread that sets the phase or finishes last calls it, so it should only wake another thread. It
    /// must not panic, or that thread panics. It is not called for earlier changes, so read
    /// [`phase`](Self::phase) after registering it.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::epoll_sys::{EventFd, poll_readable};
    /// use epoll_shutdown::{DrainWatch, Phase};
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

    /// Sets the phase and calls every callback, if `phase` is later than the present one. Otherwise it
    /// does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Drain, DrainWatch, Phase, Signal, Timestamp};
    ///
    /// let (mut drain, watch) = (Drain::new(None), DrainWatch::new());
    /// drain.on_signal(Signal::TERM, Timestamp::now());
    /// watch.set(drain.phase());
    /// assert_eq!(watch.phase(), drain.phase());
    /// watch.set(Phase::Running);
    /// assert_eq!(watch.phase(), drain.phase(), "an earlier phase changes nothing");
    /// ```
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
    /// stopped already: for a thread that cannot continue, the owner of the drain or another one.
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
    /// If several are registered one after another, the count may reach zero in between, which calls the
    /// callbacks. If their number is known, use [`participants`](Self::participants).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::DrainWatch;
    ///
    /// let watch = DrainWatch::new();
    /// let participant = watch.participant();
    /// assert_eq!(watch.unfinished(), 1);
    /// let worker = std::thread::spawn(move || {
    ///     // Finishes when it is dropped, also by a panic.
    ///     let _participant = participant;
    /// });
    /// worker.join().unwrap();
    /// assert_eq!(watch.unfinished(), 0);
    /// ```
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

    /// Returns the number of participants that have not finished.
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
        // Poisoned or not, the count is right: nothing under its lock panics halfway.
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

/// Locks a list or a count. Both are right at every moment, so poison is ignored.
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

/// A guard of work that has to finish before a drain is over, usually held by a thread.
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
        // Released first: callbacks may read the count.
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

    /// The longest that anything may take that is bound to happen.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

    /// Returns a watch, and the number of calls of its callback.
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
