//! A server from its configuration to its end.

#[cfg(feature = "metrics")]
use crate::Metrics;
use crate::acceptor::{Acceptor, Acceptors, SharedAcceptors};
use crate::admission::Admission;
use crate::client::Client;
use crate::config::THREADS_MAX;
use crate::control::{Control, StatsGuard};
use crate::drain::Coordinator;
use crate::error::{Context, Error, Setting};
use crate::handler::Parts;
use crate::headers::Headers;
use crate::inherited::Predecessor;
use crate::listening::{Listeners, Listening};
use crate::mail::{Handle, Post, PostGuard};
#[cfg(feature = "metrics")]
use crate::metrics::endpoint::{self, Endpoint, MetricsService};
#[cfg(feature = "metrics")]
use crate::metrics::page::{OfThread, Sources};
use crate::panics::catch;
use crate::service::Message;
use crate::signals::reader::SignalReader;
use crate::signals::restarter::Restarter;
use crate::stats::ThreadStats;
use crate::store::{Event, LocalStore, SharedStore};
use crate::supervisor::Watchdog;
use crate::threads::local::{LocalThread, LocalWorker, Serve};
use crate::threads::shared;
use crate::timing::Timing;
use crate::{Config, Inherited, Service, Supervisor, cores, resources};
use epoll_reactor::epoll_sys::EventFd;
use epoll_reactor::net::{Address, PathRemoval};
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Reactor, Source, Token, Watch};
use epoll_shutdown::{Drain, DrainOutcome, Signals};
use epoll_timers::{Timers, Timestamp};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

/// A server that listens, and serves when it is [run](Self::run).
///
/// # Examples
///
/// See [the crate's page](crate).
pub struct Server<S: Service> {
    threads: Threads<S>,
    control: StatsGuard,
    post: PostGuard<Message<S>>,
    addresses: Vec<Address>,
    /// The cores that threads keep to, one after another; empty if they need not.
    cores: Vec<usize>,
    signal_reader: SignalReader,
    drain: Drain,
    drain_delay: Duration,
    supervisor: Option<Supervisor>,
    takeover: Option<Takeover>,
    #[cfg(feature = "metrics")]
    metrics: Option<Endpoint>,
}

/// The end of a restart, which the process before this one waits for.
struct Takeover {
    predecessor: Predecessor,
    /// The paths of UNIX sockets that are this process's to remove from then on.
    removals: Vec<PathRemoval>,
}

/// The threads that serve, before they are started.
enum Threads<S: Service> {
    /// Each has connections of its own; the first is the calling one.
    Local(Vec<LocalThread<S, LocalStore<S::Protocol>>>),
    /// The calling thread minds timers and the drain, and the others accept and share the connections.
    Shared { first: Box<LocalThread<S, SharedStore<S::Protocol>>>, others: Pool<S> },
}

#[cfg(feature = "metrics")]
impl<S: Service> Threads<S> {
    /// Returns the counters of every thread that measures its turns.
    fn counted(&self) -> Vec<OfThread> {
        let of = |(thread, parts): (usize, &Parts<S>)| {
            let measures = Arc::clone(parts.measures.as_ref()?);
            Some(OfThread { thread, outcomes: Arc::clone(&parts.outcomes), measures })
        };
        match self {
            Self::Local(threads) => {
                threads.iter().map(|thread| &thread.parts).enumerate().filter_map(of).collect()
            }
            Self::Shared { first, others } => {
                let all = std::iter::once(&first.parts).chain(&others.parts);
                all.enumerate().filter_map(of).collect()
            }
        }
    }
}

/// The threads that share connections.
struct Pool<S: Service> {
    shared: Arc<SharedReactor<Client<S::Protocol>>>,
    acceptors: Arc<SharedAcceptors>,
    parts: Vec<Parts<S>>,
}

/// The outcome of a server.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The reason for the end of the drain.
    pub outcome: DrainOutcome,
    /// The number of connections that were cut because they had not finished.
    pub cut: u64,
    /// The statistics of each thread.
    pub threads: Vec<ThreadStats>,
}

impl<S: Service> Server<S> {
    /// Raises the limit of descriptors and listens at every address.
    ///
    /// # Errors
    ///
    /// An address cannot be listened at, the event loops cannot be set up, or the limit of descriptors leaves
    /// none for a connection. Everything that was opened is closed again.
    pub fn bind(service: S, config: &Config) -> Result<Self, Error> {
        Self::bind_inherited(service, config, Inherited::default())
    }

    /// Does the same, but listens at sockets that the process was started with where one has an address of
    /// [`Config::listen`]; the other ones are closed. If a process before this one has passed them, it goes on serving
    /// until this one [serves](Self::run), and for good if this one fails before.
    ///
    /// In the modes in which threads have connections of their own, each thread has sockets of its own if there are
    /// enough; otherwise threads share them. If a process before had fewer threads with [`Accept::Reuseport`], sockets
    /// are bound for the others.
    ///
    /// [`Accept::Reuseport`]: crate::Accept::Reuseport
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_inherited(
        service: S,
        config: &Config,
        mut inherited: Inherited,
    ) -> Result<Self, Error> {
        let descriptors =
            resources::raise_nofile_limit().context("failed to raise RLIMIT_NOFILE")?;
        let threads = config.threads.unwrap_or_else(cores::available).get().min(THREADS_MAX);
        let threads = threads as usize;
        // Where threads share connections, the calling one has a loop for everything else.
        let loops = if config.mode.is_shared() { 1 } else { threads };
        #[cfg_attr(not(feature = "metrics"), expect(unused_mut, reason = "the metrics add theirs"))]
        let mut listeners = Listeners::open(config, loops, &mut inherited)?;
        #[cfg(feature = "metrics")]
        let of_metrics = match &config.metrics {
            Some(Metrics { listen, .. }) => {
                let config = endpoint::config(*listen, config);
                let own = listeners.open_beside(&config, &mut inherited);
                Some((config, own.map_err(|error| error.about(Setting::Metrics(*listen)))?))
            }
            None => None,
        };
        let cores = if config.pins { cores::cores() } else { Ok(Vec::new()) };
        let cores = cores.context("failed to read the cores of this process")?;
        let sharers = if config.mode.is_shared() { threads } else { 0 };
        let used = resources::FdBudget {
            loops,
            pipes: loops + sharers,
            listeners: listeners.of_a_loop_max(),
            offered: listeners.offered(),
            #[cfg(feature = "metrics")]
            metrics: config.metrics.map_or(0, |_| endpoint::DESCRIPTORS),
            #[cfg(not(feature = "metrics"))]
            metrics: 0,
        };
        let room = resources::room(descriptors, used);
        let max = resources::connections_max(config.connections_max, room);
        let admission = Admission::new(max, config.connections_per_peer_max, loops);
        let admission = if config.adjustable { admission.adjustable(room) } else { admission };
        let setting_up = "failed to set up the event loops";
        let Listeners { of_loops, addresses, offers, removals } = listeners;
        let (threads_set_up, control, post) =
            set_up(service, config, threads, of_loops, admission).context(setting_up)?;
        let supervisor = config.supervisor.clone();
        let restarter =
            config.restart.clone().map(|how| Restarter::new(how, supervisor.clone(), offers));
        let signal_reader = SignalReader::new(config.before_exit, supervisor.clone(), restarter)
            .context("failed to set up the event loop for signals")?;
        #[cfg(feature = "metrics")]
        let metrics = match (&config.metrics, of_metrics) {
            (Some(Metrics { extra, .. }), Some(of_metrics)) => {
                let threads = threads_set_up.counted();
                let sources = Sources::new(Arc::clone(&control), threads, S::FINISHED, *extra);
                Some(set_up_metrics(of_metrics, sources)?)
            }
            _ => None,
        };
        // Closed at once: it shows that there is room for a connection.
        EventFd::new(0).context("no descriptor is left for a connection")?;
        let predecessor = inherited.close_rest();
        let server = Self {
            threads: threads_set_up,
            control: StatsGuard(control),
            post: PostGuard(post),
            addresses,
            cores,
            signal_reader,
            drain: Drain::new(config.timeouts.drain),
            drain_delay: config.drain_delay,
            supervisor,
            takeover: predecessor.map(|predecessor| Takeover { predecessor, removals }),
            #[cfg(feature = "metrics")]
            metrics,
        };
        for address in &server.addresses {
            tracing::info!(%address, "listening");
        }
        #[cfg(feature = "metrics")]
        if let Some(address) = server.metrics_address() {
            tracing::info!(%address, "listening for metrics");
        }
        // Logged only if it is on.
        let busy_polling = config.busy_polling.filter(|time| !time.is_zero());
        let busy_polling = busy_polling.map(tracing::field::debug);
        tracing::info!(mode = ?config.mode, threads, connections_max = max, busy_polling, "started");
        Ok(server)
    }

    /// Returns the addresses at which the server listens, with the ports that the kernel chose, in the order of
    /// [`Config::listen`].
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns the address at which [`Config::metrics`] are served, with the port that the kernel chose.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_address(&self) -> Option<Address> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// Returns a handle to the server and its connections, for any thread. A message that it sends before the
    /// server [runs](Self::run) reaches no connection.
    #[must_use]
    pub fn handle(&self) -> Handle<S> {
        Handle::new(Arc::clone(&self.post.0), Arc::clone(&self.control.0))
    }

    /// Serves until `SIGTERM` or `SIGINT` comes and the drain that it begins, after
    /// [`Config::drain_delay`], is over.
    ///
    /// `signals` must contain both, except one that the process ignores. The signal of [`Config::restart`] starts a
    /// process that takes over, and when that serves, the drain. Any other signal in it makes the server log its
    /// counters. Open connections are looked at while it serves, each with what it has received
    /// and sent by then; one that is closed before its turn is left out. A thread that this call starts reads
    /// the signals; it ends before the call returns.
    ///
    /// `on_serving` is called on the calling thread when every other thread serves. The calling thread serves
    /// after `on_serving` has returned. Then the supervisor is told, or the process before this one.
    ///
    /// **Exit:** a second `SIGTERM` or `SIGINT` cuts all connections, also during the delay. If a thread is stuck,
    /// so that this call has not returned a second later, it ends the process with the status 128 plus the
    /// signal's number. The first signal once more, within 100 milliseconds, is no second one: `timeout` of
    /// coreutils sends each signal twice.
    ///
    /// # Errors
    ///
    /// A thread that could not be started, or an event loop that failed.
    pub fn run(self, signals: &Signals, on_serving: impl FnOnce()) -> Result<Ended, Error> {
        let Self {
            threads, control, post: _open, cores, signal_reader, drain, drain_delay, ..
        } = self;
        let StatsGuard(control) = &control;
        let Self { supervisor, takeover, .. } = self;
        #[cfg(feature = "metrics")]
        let metrics = self.metrics;
        let watchdog = supervisor.as_ref().and_then(|one| Watchdog::new(one, Timestamp::now()));
        let on_serving = || {
            on_serving();
            tell_serving(supervisor, takeover);
            // Afterwards: a request to restart waits for this, and passes on whose the paths are to remove.
            control.set_serving();
        };
        thread::scope(|scope| {
            let _stop = signal_reader
                .start(scope, signals, Arc::clone(control))
                .context("failed to start the thread that reads signals")?;
            let mut coordinator = Coordinator::new(drain, drain_delay, watchdog);
            #[cfg(feature = "metrics")]
            let _end = metrics
                .map(|metrics| metrics.start(scope, control))
                .transpose()
                .context("failed to start the thread that serves metrics")?;
            let group = ThreadGroup { control, cores, started: Vec::new() };
            let (served, threads) = match threads {
                Threads::Local(threads) => group.serve_local(threads, &mut coordinator, on_serving),
                Threads::Shared { first, others } => {
                    group.serve_shared(*first, others, &mut coordinator, on_serving)
                }
            };
            let sum = ThreadStats::sum(&threads);
            if sum.cut > 0 {
                tracing::warn!(connections = sum.cut, "cut before they had finished");
            }
            // A signal has not asked for it.
            if tracing::event_enabled!(tracing::Level::INFO) {
                sum.stats.log("stopped");
            }
            served?;
            match coordinator.outcome() {
                Ok(outcome) => Ok(Ended { outcome, cut: sum.cut, threads }),
                Err(phase) => Err(io::Error::other(format!("it stopped while {phase:?}")))
                    .context("the server failed"),
            }
        })
    }
}

impl<S: Service> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Tells the process before this one, if there is one, that this one serves, and the supervisor otherwise.
fn tell_serving(supervisor: Option<Supervisor>, takeover: Option<Takeover>) {
    let is_told = takeover.is_some_and(|Takeover { predecessor, removals }| {
        let told = predecessor.tell_ready();
        if let Err(error) = &told {
            tracing::warn!(%error, "the process before this one has ended already");
        }
        removals.iter().for_each(|removal| removal.set(true));
        told.is_ok()
    });
    // The process before tells the supervisor, for which it is the main process until then.
    if let Some(supervisor) = supervisor.filter(|_| !is_told) {
        supervisor.tell_ready();
    }
}

type SetUp<S> = (Threads<S>, Arc<Control>, Arc<Post<Message<S>>>);

/// Sets up the event loops of `threads` threads, with these listeners.
fn set_up<S: Service>(
    service: S,
    config: &Config,
    threads: usize,
    listeners: Vec<Vec<Listening>>,
    admission: Admission,
) -> io::Result<SetUp<S>> {
    let (service, config) = (Arc::new(service), Arc::new(config.clone()));
    if config.mode.is_shared() {
        let of_thread = EventLoop::new(Vec::new(), &config)?;
        let (control, post) = common(&config, std::slice::from_ref(&of_thread), admission);
        let headers = headers(&config);
        let parts = |timing: &Arc<_>| Parts {
            service: Arc::clone(&service),
            control: Arc::clone(&control),
            post: Arc::clone(&post),
            timing: Arc::clone(timing),
            outcomes: Arc::default(),
            measures: config.measures().then(Arc::default),
            headers: headers.as_ref().map(Headers::queue),
            config: Arc::clone(&config),
        };
        let mut shared = SharedReactor::new()?;
        shared.set_busy_polling(config.busy_polling);
        let shared = Arc::new(shared);
        let listeners = listeners.into_iter().flatten();
        let acceptors = Arc::new(SharedAcceptors::start(listeners, &shared, threads)?);
        let pool: Vec<_> = (0..threads).map(|_| parts(&of_thread.timing)).collect();
        let first = LocalThread {
            index: 0,
            parts: parts(&of_thread.timing),
            store: SharedStore { reactor: of_thread.reactor, shared: Arc::clone(&shared) },
            reminders: of_thread.reminders,
            reminders_token: of_thread.reminders_token,
            acceptors: Acceptors::Shared(Arc::clone(&acceptors)),
            pool_outcomes: pool.iter().map(|parts| Arc::clone(&parts.outcomes)).collect(),
            headers,
        };
        let others = Pool { shared, acceptors, parts: pool };
        return Ok((Threads::Shared { first: Box::new(first), others }, control, post));
    }
    let (threads, control, post) = set_up_local(&service, &config, listeners, admission)?;
    Ok((Threads::Local(threads), control, post))
}

type LocalSetUp<S> = (
    Vec<LocalThread<S, LocalStore<<S as Service>::Protocol>>>,
    Arc<Control>,
    Arc<Post<Message<S>>>,
);

/// Sets up the event loops of threads that have connections of their own, one for each list of listeners.
fn set_up_local<S: Service>(
    service: &Arc<S>,
    config: &Arc<Config>,
    listeners: Vec<Vec<Listening>>,
    admission: Admission,
) -> io::Result<LocalSetUp<S>> {
    let loops = EventLoop::several(listeners, config)?;
    let (control, post) = common(config, &loops, admission);
    let threads = loops.into_iter().enumerate().map(|(index, of_thread)| {
        let headers = headers(config);
        LocalThread {
            index,
            parts: Parts {
                service: Arc::clone(service),
                control: Arc::clone(&control),
                post: Arc::clone(&post),
                timing: of_thread.timing,
                outcomes: Arc::default(),
                measures: config.measures().then(Arc::default),
                headers: headers.as_ref().map(Headers::queue),
                config: Arc::clone(config),
            },
            store: LocalStore { reactor: of_thread.reactor },
            reminders: of_thread.reminders,
            reminders_token: of_thread.reminders_token,
            acceptors: Acceptors::Own(of_thread.acceptors),
            pool_outcomes: Vec::new(),
            headers,
        }
    });
    let threads = threads.collect();
    Ok((threads, control, post))
}

/// Sets up the thread that serves metrics.
#[cfg(feature = "metrics")]
fn set_up_metrics(
    (config, listeners): (Config, Listeners),
    sources: Sources,
) -> Result<Endpoint, Error> {
    let Some(&address) = listeners.addresses.first() else {
        return Err(io::Error::other("no listener")).context("failed to serve metrics");
    };
    let admission = Admission::new(endpoint::CONNECTIONS_MAX.into(), None, 1);
    let service = Arc::new(MetricsService::new(sources));
    let (threads, control, _post) =
        set_up_local(&service, &Arc::new(config), listeners.of_loops, admission)
            .context("failed to set up the event loop for metrics")?;
    let thread = threads.into_iter().next();
    let thread = thread.ok_or_else(|| io::Error::other("no event loop"));
    Ok(Endpoint { thread: thread.context("failed to serve metrics")?, control, address })
}

/// Returns where a thread keeps connections whose headers of the PROXY protocol are not complete, if they have one.
fn headers(config: &Config) -> Option<Headers> {
    config.proxy_protocol.map(|proxy_protocol| Headers::new(proxy_protocol.timeout))
}

/// Returns what threads with these loops have in common.
fn common<T: Source, M>(
    config: &Config,
    loops: &[EventLoop<T>],
    admission: Admission,
) -> (Arc<Control>, Arc<Post<M>>) {
    let wakers = || loops.iter().map(|of_thread| of_thread.reactor.waker());
    let timings = loops.iter().map(|of_thread| Arc::clone(&of_thread.timing));
    let control = Control::new(config, admission, wakers().collect());
    let control = control.with_timings(timings.collect());
    (Arc::new(control), Arc::new(Post::new(wakers())))
}

/// A reactor that watches timers and listeners.
struct EventLoop<T: Source> {
    reactor: Reactor<T, Event>,
    reminders: Timers<()>,
    reminders_token: Token,
    timing: Arc<Mutex<Timing>>,
    acceptors: Vec<Acceptor>,
}

impl<T: Source> EventLoop<T> {
    /// Returns a loop for each of several threads, with its listeners.
    fn several(listeners: Vec<Vec<Listening>>, config: &Config) -> io::Result<Vec<Self>> {
        listeners.into_iter().map(|of_thread| Self::new(of_thread, config)).collect()
    }

    fn new(listeners: Vec<Listening>, config: &Config) -> io::Result<Self> {
        let mut reactor = Reactor::new()?;
        reactor.set_busy_polling(config.busy_polling);
        let (timers, reminders) = (Timers::new()?, Timers::new()?);
        reactor.watch(&timers, Event::Timers, Watch::edge(Interest::IN))?;
        let reminders_token =
            reactor.watch(&reminders, Event::Reminders, Watch::edge(Interest::IN))?;
        let acceptors = listeners
            .into_iter()
            .enumerate()
            .map(|(at, listening)| Acceptor::start(listening, Event::Accept(at), &mut reactor));
        let acceptors = acceptors.collect::<io::Result<_>>()?;
        let timing = Timing::new(timers, config.timeouts);
        Ok(Self { reactor, reminders, reminders_token, timing, acceptors })
    }
}

/// The work of a thread, which is given what to call when it serves.
type Body = Box<dyn FnOnce(Serving) -> io::Result<ThreadStats> + Send>;

/// Says that a thread serves. If it is dropped instead, the thread has failed.
struct Serving(Sender<()>);

impl Serving {
    fn tell(self) {
        // Nobody waits for it if another thread could not be started.
        let _ = self.0.send(());
    }
}

/// The threads of a server, from their start to their end.
struct ThreadGroup<'a> {
    control: &'a Arc<Control>,
    cores: Vec<usize>,
    started: Vec<JoinHandle<Option<ThreadStats>>>,
}

impl ThreadGroup<'_> {
    /// Serves with threads that have connections of their own; the first is the calling one.
    fn serve_local<S: Service>(
        self,
        threads: Vec<LocalThread<S, LocalStore<S::Protocol>>>,
        coordinator: &mut Coordinator,
        on_serving: impl FnOnce(),
    ) -> (Result<(), Error>, Vec<ThreadStats>) {
        let mut threads = threads.into_iter();
        let Some(first) = threads.next() else { return (Ok(()), Vec::new()) };
        let bodies = threads.map(|thread| -> Body {
            Box::new(move |serving: Serving| {
                let mut worker = thread.start();
                serving.tell();
                worker.run(None)?;
                Ok(worker.end())
            })
        });
        let bodies = bodies.collect();
        if let Err(error) = pin(0, self.cores.first().copied()) {
            return (Err(error), Vec::new());
        }
        self.serve(first, bodies, 1, coordinator, on_serving, || Ok(()))
    }

    /// Serves with threads that share connections, and the calling one beside them.
    fn serve_shared<S: Service>(
        self,
        first: LocalThread<S, SharedStore<S::Protocol>>,
        others: Pool<S>,
        coordinator: &mut Coordinator,
        on_serving: impl FnOnce(),
    ) -> (Result<(), Error>, Vec<ThreadStats>) {
        let Pool { shared, acceptors, parts } = others;
        let batch_max = shared::batch_max(parts.len());
        let bodies = (1..).zip(parts).map(|(index, parts)| -> Body {
            let (shared, acceptors) = (Arc::clone(&shared), Arc::clone(&acceptors));
            Box::new(move |serving: Serving| {
                let on_serving = || serving.tell();
                shared::run(index, &shared, batch_max, &acceptors, &parts, on_serving)
            })
        });
        let bodies = bodies.collect();
        // The calling thread serves no connection, so it keeps to no core. Stopping the shared reactor ends the
        // others, and the calling one then cuts the connections that are left.
        self.serve(first, bodies, 0, coordinator, on_serving, move || shared.stop())
    }

    /// Runs every thread to its end, and returns what each has done. `stop` ends those that do not wait for
    /// a reactor of their own.
    fn serve<S: Service, T: Serve<S>>(
        mut self,
        first: LocalThread<S, T>,
        bodies: Vec<Body>,
        first_core: usize,
        coordinator: &mut Coordinator,
        on_serving: impl FnOnce(),
        stop: impl FnOnce() -> io::Result<()>,
    ) -> (Result<(), Error>, Vec<ThreadStats>) {
        let (serving, all_serving) = channel();
        let (mut worker, mut panic) = (None, None);
        let mut served = self.start(bodies, first_core, &serving).and_then(|()| {
            // First, so that nothing can fail any more once everybody is told that it serves.
            let first = worker.insert(start_first(first)?);
            // The channel ends when each thread has said that it serves, or has failed.
            drop(serving);
            if all_serving.iter().count() == self.started.len() {
                // The other threads end before the caller of this one hears of it.
                let called = catch_unwind(AssertUnwindSafe(on_serving));
                called.or_else(|payload| {
                    panic = Some(payload);
                    panicked(0)
                })?;
            }
            first.run(Some(coordinator)).context("the event loop of thread 0 failed")
        });
        // They have been told already, unless something has failed.
        self.control.drain.abort();
        served = served.and(stop().context("failed to stop the threads"));
        let mut others = Vec::new();
        for thread in self.started {
            match thread.join() {
                Ok(stats) => others.extend(stats),
                Err(_) => {
                    let panicked = Err(io::Error::other("a thread has panicked"));
                    served = served.and(panicked.context("the server failed"));
                }
            }
        }
        if let Some(failure) = self.control.take_failure() {
            served = served.and(Err(failure));
        }
        let first = worker.map(LocalWorker::end);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        (served, first.into_iter().chain(others).collect())
    }

    /// Starts every thread but the calling one. Each sends to `serving` when it serves.
    fn start(
        &mut self,
        bodies: Vec<Body>,
        first_core: usize,
        serving: &Sender<()>,
    ) -> Result<(), Error> {
        let cores: Vec<_> =
            self.cores.iter().copied().cycle().skip(first_core).take(bodies.len()).collect();
        let mut cores = cores.into_iter();
        for (index, body) in (1..).zip(bodies) {
            let started = self.start_thread(index, cores.next(), serving.clone(), body)?;
            self.started.push(started);
        }
        Ok(())
    }

    /// Starts a thread that ends all of them if it fails.
    fn start_thread(
        &self,
        index: usize,
        core: Option<usize>,
        serving: Sender<()>,
        body: Body,
    ) -> Result<JoinHandle<Option<ThreadStats>>, Error> {
        let control = Arc::clone(self.control);
        let run = move || {
            let serve = || {
                pin(index, core)?;
                body(Serving(serving)).context(format!("the event loop of thread {index} failed"))
            };
            // Connections have panics of their own. This one leaves the thread without its loop, and the
            // others would wait for it when they drain.
            let served = catch(serve).unwrap_or_else(|| panicked(index));
            served.map_err(|error| control.fail(error)).ok()
        };
        let thread = Builder::new().name(format!("epoll-{index}")).spawn(run);
        thread
            .context(format!("failed to start thread {index}"))
            .map_err(|error| error.about(Setting::Threads))
    }
}

/// Starts the calling thread.
fn start_first<S: Service, T: Serve<S>>(
    first: LocalThread<S, T>,
) -> Result<LocalWorker<S, T>, Error> {
    catch(|| first.start()).map_or_else(|| panicked(0), Ok)
}

/// Returns the error of a thread that has panicked, which is logged where it happens.
fn panicked<T>(index: usize) -> Result<T, Error> {
    Err(io::Error::other("it panicked")).context(format!("thread {index} failed"))
}

/// Pins the calling thread, whose number is `index`, to a core, if it has one.
fn pin(index: usize, core: Option<usize>) -> Result<(), Error> {
    let Some(core) = core else { return Ok(()) };
    // The first thread is the calling one, which has started.
    let starting =
        if index > 0 { format!("failed to start thread {index}: ") } else { String::new() };
    let pinning = format!("{starting}failed to keep to core {core}");
    cores::pin(core).context(pinning).map_err(|error| error.about(Setting::Pins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_cannot_be_kept_to_is_told_with_the_thread_that_it_is_for() {
        assert!(pin(1, None).is_ok());
        // No machine has so many.
        let core = Some(rustix::thread::CpuSet::MAX_CPU - 1);
        for (index, begins) in
            [(0, "failed to keep to core "), (1, "failed to start thread 1: failed")]
        {
            let error = pin(index, core).unwrap_err();
            assert!(error.to_string().starts_with(begins), "{error}");
            assert_eq!(error.setting(), Some(Setting::Pins));
            assert_eq!(error.io().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
