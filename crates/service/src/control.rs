//! State that the threads of a service share: the limits, the state of the drain, requests for
//! statistics, changes of settings, and the waker of the first thread, which decides.

use crate::Config;
use crate::accept_rate::{AcceptPermits, AcceptRate};
use crate::admission::Admission;
use crate::drain::DrainState;
use crate::error::Error;
use crate::refusals::RefusalLog;
use crate::signals::{SignalQueue, is_ending};
use crate::stats::ThreadStats;
use crate::timing::{Timing, lock};
use epoll_connection::Buffered;
use epoll_reactor::Waker;
use epoll_shutdown::Signal;
use epoll_timers::Timestamp;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub(crate) struct Control {
    pub(crate) admission: Admission,
    pub(crate) drain: DrainState,
    pub(crate) refusals: RefusalLog,
    accept_rate: Option<AcceptRate>,
    memory: Option<Memory>,
    /// Signals for the first thread.
    pub(crate) signals: SignalQueue,
    /// The wakers of the threads that wait for a reactor of their own; the first one decides.
    wakers: Vec<Waker>,
    /// The timers of each of these threads.
    timings: Vec<Arc<Mutex<Timing>>>,
    adjusted: Mutex<Adjusted>,
    /// The number of bytes that a connection may receive a second; 0 is no limit. Not among those: it is read for each
    /// connection that is opened.
    bytes_per_s_max: AtomicU64,
    /// The number of times that settings were changed.
    settings_epoch: AtomicU64,
    stats: Mutex<StatsRequest>,
    /// The error of the first thread that failed.
    failure: Mutex<Option<Error>>,
    /// Every thread serves, or has.
    is_serving: AtomicBool,
    hand_over: OnceLock<HandOver>,
}

/// The settings that can change and are read only when they are needed.
struct Adjusted {
    drain_delay: Duration,
    /// The time within which a header of the PROXY protocol has to be complete.
    header_timeout: Duration,
    /// The time that a new process has to become ready.
    ready_timeout: Option<Duration>,
}

impl Adjusted {
    /// Takes the settings over from `config`, but for those of what it does not have.
    fn take_over(&mut self, config: &Config) {
        self.drain_delay = config.drain_delay;
        if let Some(proxy_protocol) = config.proxy_protocol {
            self.header_timeout = proxy_protocol.timeout;
        }
        if let Some(restart) = &config.restart {
            self.ready_timeout = restart.timeout();
        }
    }
}

/// The hand-over of sockets to another process, which serves.
#[derive(Debug)]
struct HandOver {
    /// The signal that asked for it, and then begins the drain.
    signal: Signal,
    /// The flag of each address: `true` if the other process listens there.
    taken: Vec<bool>,
}

/// The memory of the buffers of all connections.
struct Memory {
    /// [`u64::MAX`] is no limit.
    max: AtomicU64,
    in_use: AtomicU64,
}

/// A request for statistics: every thread logs its counters, the last one the sums over all connections.
#[derive(Default)]
struct StatsRequest {
    /// The number of requests so far.
    epoch: u64,
    missing: usize,
    threads: Vec<ThreadStats>,
    /// The channels of callers that wait for these statistics.
    waiting: Vec<Sender<Vec<ThreadStats>>>,
    /// There was another request meanwhile, which begins when this one is over.
    is_repeated: bool,
    /// The channels of callers that wait for that one.
    waiting_next: Vec<Sender<Vec<ThreadStats>>>,
    /// The server has ended: there is nobody to answer.
    is_closed: bool,
}

impl StatsRequest {
    /// Begins a request to so many threads.
    fn begin(&mut self, threads: usize) {
        self.epoch += 1;
        self.missing = threads;
    }
}

/// Guard of a server that may still answer requests. Dropping it ends the wait of those who have asked.
pub(crate) struct StatsGuard(pub(crate) Arc<Control>);

impl Drop for StatsGuard {
    fn drop(&mut self) {
        let mut request = self.0.stats();
        request.is_closed = true;
        request.waiting.clear();
        request.waiting_next.clear();
    }
}

impl Control {
    pub(crate) fn new(config: &Config, admission: Admission, wakers: Vec<Waker>) -> Self {
        let drain = DrainState::new();
        for waker in &wakers {
            let waker = waker.clone();
            drain.on_change(move || wake(&waker));
        }
        let mut adjusted = Adjusted {
            drain_delay: Duration::ZERO,
            header_timeout: Duration::MAX,
            ready_timeout: None,
        };
        adjusted.take_over(config);
        Self {
            admission,
            drain,
            refusals: RefusalLog::default(),
            // Where limits can be changed, one may be set later, and what is there already counts.
            accept_rate: (config.adjustable || config.connections_per_s_max.is_some())
                .then(|| AcceptRate::new(config.connections_per_s_max)),
            memory: (config.adjustable || config.buffered_bytes_max.is_some())
                .then(|| Memory::new(config.buffered_bytes_max)),
            signals: SignalQueue::default(),
            wakers,
            timings: Vec::new(),
            adjusted: Mutex::new(adjusted),
            bytes_per_s_max: AtomicU64::new(as_number(config.limits.bytes_per_s_max)),
            settings_epoch: AtomicU64::new(0),
            stats: Mutex::default(),
            failure: Mutex::default(),
            is_serving: AtomicBool::new(false),
            hand_over: OnceLock::new(),
        }
    }

    /// Notes that every thread serves.
    pub(crate) fn set_serving(&self) {
        self.is_serving.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.is_serving.load(Ordering::SeqCst)
    }

    /// Begins the drain because another process serves at the addresses that are `taken`.
    pub(crate) fn hand_over(&self, signal: Signal, taken: Vec<bool>) {
        // There is one hand-over.
        let _ = self.hand_over.set(HandOver { signal, taken });
        self.on_signal(signal);
    }

    /// Returns whether another process serves in the place of this one.
    pub(crate) fn has_handed_over(&self) -> bool {
        self.hand_over.get().is_some()
    }

    /// Returns whether another process listens at the address with this index.
    pub(crate) fn is_handed_over(&self, entry: usize) -> bool {
        let taken = self.hand_over.get().and_then(|done| done.taken.get(entry));
        taken.copied().unwrap_or(false)
    }

    /// Returns permits for a batch of accepted connections.
    ///
    /// # Errors
    ///
    /// The time for which to accept none.
    #[inline]
    pub(crate) fn accept_permits(&self, max: usize) -> Result<AcceptPermits<'_>, Duration> {
        match &self.accept_rate {
            None => Ok(AcceptPermits::UNLIMITED),
            Some(rate) => rate.take(max, Timestamp::now()),
        }
    }

    /// Returns whether the memory of buffers is limited.
    #[inline]
    pub(crate) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Returns whether so much memory is taken that no connection may come.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(Memory::is_short)
    }

    /// Notes what the buffers of a connection take. Returns whether they have grown although everything is taken.
    pub(crate) fn note_buffered(&self, Buffered { before, now }: Buffered) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.note(before as u64, now as u64))
    }

    /// Returns whether a signal begins the drain, or ends it if it has begun; any other one asks for the counters.
    pub(crate) fn begins_drain(&self, signal: Signal) -> bool {
        is_ending(signal) || self.hand_over.get().is_some_and(|done| done.signal == signal)
    }

    /// Adds the timers of each thread that has a reactor of its own.
    pub(crate) fn with_timings(mut self, timings: Vec<Arc<Mutex<Timing>>>) -> Self {
        self.timings = timings;
        self
    }

    /// Takes what can change over from `config`. Returns whether the server is adjustable.
    pub(crate) fn adjust(&self, config: &Config) -> bool {
        // For all of it: of two changes at once, one holds.
        let mut adjusted = self.adjusted();
        if !self.admission.adjust(config.connections_max, config.connections_per_peer_max) {
            return false;
        }
        if let Some(rate) = &self.accept_rate {
            rate.set(config.connections_per_s_max);
        }
        if let Some(memory) = &self.memory {
            memory.set_max(config.buffered_bytes_max);
        }
        for timing in &self.timings {
            lock(timing).timeouts = config.timeouts;
        }
        let bytes_per_s_max = as_number(config.limits.bytes_per_s_max);
        self.bytes_per_s_max.store(bytes_per_s_max, Ordering::Relaxed);
        adjusted.take_over(config);
        drop(adjusted);
        // The threads give the limit to their connections, and set their timers anew.
        self.settings_epoch.fetch_add(1, Ordering::Release);
        self.wakers.iter().for_each(wake);
        true
    }

    fn adjusted(&self) -> MutexGuard<'_, Adjusted> {
        self.adjusted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether settings were changed since the change that was `seen` last.
    pub(crate) fn has_new_settings(&self, seen: &mut u64) -> bool {
        let epoch = self.settings_epoch.load(Ordering::Acquire);
        std::mem::replace(seen, epoch) != epoch
    }

    /// Returns how many bytes a connection may receive a second, if that is limited.
    pub(crate) fn bytes_per_s_max(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.bytes_per_s_max.load(Ordering::Relaxed))
    }

    /// Returns the time within which a header of the PROXY protocol has to be complete.
    pub(crate) fn header_timeout(&self) -> Duration {
        self.adjusted().header_timeout
    }

    /// Returns the time that a new process has to become ready.
    pub(crate) fn ready_timeout(&self) -> Option<Duration> {
        self.adjusted().ready_timeout
    }

    /// Returns the time before the drain, and the time that it may take. If another process serves, nobody has to be
    /// told before.
    pub(crate) fn drain_times(&self) -> (Duration, Option<Duration>) {
        let delay =
            if self.has_handed_over() { Duration::ZERO } else { self.adjusted().drain_delay };
        (delay, self.timings.first().and_then(|timing| lock(timing).timeouts.drain))
    }

    /// Wakes the first thread if there is no connection left and will not be one.
    pub(crate) fn wake_first_if_drained(&self) {
        if self.admission.is_drained() {
            self.wake_first();
        }
    }

    /// Returns whether new clients should come: every thread serves, and no signal to end has come.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_serving.load(Ordering::Acquire) && self.drain.is_running()
    }

    /// Hands a signal to the first thread.
    pub(crate) fn on_signal(&self, signal: Signal) {
        if self.begins_drain(signal) {
            // Here, and not by the first thread, which may be busy: balancers are to see it at once.
            self.drain.announce();
        }
        self.signals.push(signal);
        self.wake_first();
    }

    pub(crate) fn wake_first(&self) {
        self.wakers.first().into_iter().for_each(wake);
    }

    /// Ends everything because of `error`.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.drain.abort();
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes every thread log its counters; if a request is in progress, once more after it.
    pub(crate) fn request_stats(&self) {
        self.request(None);
    }

    /// Makes every thread log its counters, and returns the channel that brings them. The channel ends without them if
    /// the server ends.
    pub(crate) fn ask_for_stats(&self) -> Receiver<Vec<ThreadStats>> {
        let (sender, receiver) = channel();
        self.request(Some(sender));
        receiver
    }

    fn request(&self, sender: Option<Sender<Vec<ThreadStats>>>) {
        let mut request = self.stats();
        if request.is_closed {
            return;
        }
        if request.missing > 0 {
            // What is counted already may have changed since.
            request.waiting_next.extend(sender);
            request.is_repeated = true;
            return;
        }
        request.waiting.extend(sender);
        request.begin(self.wakers.len());
        drop(request);
        self.wakers.iter().for_each(wake);
    }

    /// Returns whether statistics were requested since the request that was `seen` last.
    pub(crate) fn is_stats_requested(&self, seen: &mut u64) -> bool {
        let epoch = self.stats().epoch;
        std::mem::replace(seen, epoch) != epoch
    }

    /// Adds the statistics of a thread to the request that is under way, and returns the sum if it was the last
    /// one.
    pub(crate) fn submit_stats(&self, stats: ThreadStats) -> Option<ThreadStats> {
        let mut request = self.stats();
        request.missing = request.missing.saturating_sub(1);
        request.threads.push(stats);
        if request.missing > 0 {
            return None;
        }
        let mut threads = std::mem::take(&mut request.threads);
        threads.sort_unstable_by_key(|stats| stats.thread);
        for waiting in request.waiting.drain(..) {
            // Nobody waits any more.
            let _ = waiting.send(threads.clone());
        }
        if std::mem::take(&mut request.is_repeated) {
            request.waiting = std::mem::take(&mut request.waiting_next);
            request.begin(self.wakers.len());
            drop(request);
            self.wakers.iter().for_each(wake);
        }
        Some(ThreadStats::sum(&threads))
    }

    fn stats(&self) -> MutexGuard<'_, StatsRequest> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn new(max: Option<NonZeroU64>) -> Self {
        let memory = Self { max: AtomicU64::new(0), in_use: AtomicU64::new(0) };
        memory.set_max(max);
        memory
    }

    fn set_max(&self, max: Option<NonZeroU64>) {
        self.max.store(max.map_or(u64::MAX, NonZeroU64::get), Ordering::Relaxed);
    }

    fn is_short(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.in_use.load(Ordering::Relaxed) >= max - max / 4
    }

    /// Counts `now` bytes in place of `before`. Returns whether these are more, and there are too many.
    fn note(&self, before: u64, now: u64) -> bool {
        if now <= before {
            self.in_use.fetch_sub(before - now, Ordering::Relaxed);
            return false;
        }
        let more = now - before;
        self.in_use.fetch_add(more, Ordering::Relaxed) + more > self.max.load(Ordering::Relaxed)
    }
}

/// Returns a limit as a number; 0 is none.
fn as_number(max: Option<NonZeroU64>) -> u64 {
    max.map_or(0, NonZeroU64::get)
}

fn wake(waker: &Waker) {
    // No error of it is known.
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "a thread cannot be woken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProxyProtocol, Restart};
    use epoll_reactor::Reactor;
    use std::num::NonZeroU32;
    use std::process::Command;

    #[test]
    fn it_is_ready_from_when_every_thread_serves_until_a_signal_to_end() {
        let reactor = Reactor::<std::net::TcpStream>::new().unwrap();
        let wakers = vec![reactor.waker()];
        let control = Control::new(&Config::default(), Admission::new(1, None, 1), wakers);
        assert!(!control.is_ready());
        control.set_serving();
        control.on_signal(Signal::HUP);
        assert!(control.is_ready());
        control.on_signal(Signal::INT);
        assert!(!control.is_ready());
    }

    #[test]
    fn the_one_whose_buffers_grow_beyond_the_limit_is_told_and_new_ones_wait_for_less() {
        let buffered_bytes_max = NonZeroU64::new(1000);
        let config = Config { buffered_bytes_max, ..Config::default() };
        let control = Control::new(&config, Admission::new(1, None, 1), Vec::new());
        let note = |before, now| control.note_buffered(Buffered { before, now });
        assert!(!note(0, 749) && !control.is_short_of_memory());
        assert!(!note(0, 251) && control.is_short_of_memory());
        // Others may have buffers that do not grow.
        assert!(!note(251, 250) && !note(250, 250));
        assert!(note(250, 252));
        assert!(!note(252, 0) && !control.is_short_of_memory());
        assert!(!note(749, 0) && !note(0, 1000) && note(0, 1));
        let unlimited = Control::new(&Config::default(), Admission::new(1, None, 1), Vec::new());
        assert!(!unlimited.limits_memory() && !unlimited.is_short_of_memory());
    }

    #[test]
    fn a_limit_that_comes_later_counts_what_was_there_before() {
        let config = Config { adjustable: true, ..Config::default() };
        let admission = Admission::new(1, None, 1).adjustable(1);
        let control = Control::new(&config, admission, Vec::new());
        let permits = || control.accept_permits(5).map_or(0, |permits| permits.left());
        assert!(!control.note_buffered(Buffered { before: 0, now: 750 }));
        assert!(!control.is_short_of_memory() && permits() == usize::MAX);
        let limited = Config {
            buffered_bytes_max: NonZeroU64::new(1000),
            connections_per_s_max: NonZeroU32::new(10),
            drain_delay: Duration::from_secs(3),
            ..config.clone()
        };
        assert!(control.adjust(&limited));
        assert!(control.is_short_of_memory() && permits() == 1);
        assert_eq!(control.drain_times().0, limited.drain_delay);
        assert!(control.adjust(&config));
        assert!(!control.is_short_of_memory() && permits() == usize::MAX);
    }

    #[test]
    fn times_of_what_another_configuration_does_not_have_stay_as_they_were() {
        let seconds = Duration::from_secs;
        let restart = Restart::with_command(Signal::USR2, || Command::new("true"));
        let with = |header, ready| Config {
            adjustable: true,
            proxy_protocol: Some(ProxyProtocol { timeout: header }),
            restart: Some(restart.clone().ready_timeout(ready)),
            ..Config::default()
        };
        let admission = Admission::new(1, None, 1).adjustable(1);
        let control = Control::new(&with(seconds(1), Some(seconds(2))), admission, Vec::new());
        let times = || (control.header_timeout(), control.ready_timeout());
        assert_eq!(times(), (seconds(1), Some(seconds(2))));
        assert!(control.adjust(&with(seconds(3), None)));
        assert_eq!(times(), (seconds(3), None));
        assert!(control.adjust(&Config::default()));
        assert_eq!(times(), (seconds(3), None));
    }

    #[test]
    fn a_request_that_comes_while_threads_count_is_one_more_afterwards() {
        let reactors = [(); 2].map(|()| Reactor::<std::net::TcpStream>::new().unwrap());
        let wakers = reactors.iter().map(Reactor::waker).collect();
        let control = Control::new(&Config::default(), Admission::new(1, None, 2), wakers);
        let [mut first, mut second] = [0; 2];
        let one = || {
            let mut stats = ThreadStats::default();
            stats.stats.opened = 1;
            stats
        };
        let asked_first = control.ask_for_stats();
        assert!(control.is_stats_requested(&mut first) && control.is_stats_requested(&mut second));
        let asked_next = control.ask_for_stats();
        control.request_stats();
        assert!(!control.is_stats_requested(&mut first), "a count is under way");
        assert!(control.submit_stats(one()).is_none());
        let sum = control.submit_stats(one()).expect("the last one to report");
        assert_eq!((sum.stats.opened, asked_first.recv().unwrap().len()), (2, 2));
        assert!(asked_next.try_recv().is_err(), "it has asked later");
        assert!(control.is_stats_requested(&mut first) && control.is_stats_requested(&mut second));
        assert!(control.submit_stats(one()).is_none() && control.submit_stats(one()).is_some());
        assert_eq!(asked_next.recv().unwrap().len(), 2);
        assert!(
            !control.is_stats_requested(&mut first) && !control.is_stats_requested(&mut second)
        );
    }

    #[test]
    fn nobody_waits_for_the_statistics_of_a_server_that_has_ended() {
        let reactor = Reactor::<std::net::TcpStream>::new().unwrap();
        let wakers = vec![reactor.waker()];
        let control = Control::new(&Config::default(), Admission::new(1, None, 1), wakers);
        let control = Arc::new(control);
        let before = control.ask_for_stats();
        drop(StatsGuard(Arc::clone(&control)));
        assert!(before.recv().is_err() && control.ask_for_stats().recv().is_err());
    }
}
