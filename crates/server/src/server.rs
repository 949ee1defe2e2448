//! A server from its configuration to its end.

use crate::client::Client;
use crate::clients::{Clients, Timing};
use crate::common::Common;
use crate::config::{Accept, THREADS_MAX};
use crate::connections::Connections;
use crate::listening::{Listening, Sharing};
use crate::seats::Seats;
use crate::signals::SignalReader;
use crate::stats::{self, ThreadStats};
use crate::worker::{Bench, Chair, Service, Worker};
use crate::{Config, limits, pool, threads};
use anyhow::Context;
use epoll_reactor::epoll_sys::EventFd;
use epoll_reactor::net::{Address, ListenOptions, Listener, PausedBy, StreamOptions};
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Reactor, Watch};
use epoll_shutdown::{Drain, DrainOutcome, Phase, Signals};
use epoll_timers::Timers;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Builder, JoinHandle};

/// An echo server that listens already.
pub struct Server {
    threads: Threads,
    signal_reader: SignalReader,
    drain: Drain,
    stats_json: Option<File>,
}

/// The threads that serve, before they are started.
struct Threads {
    common: Arc<Common>,
    /// The threads with a reactor of their own; the first is the calling one.
    workers: Vec<Worker>,
    pool: Option<Pool>,
    /// The cores that threads keep to, one after another; empty if they need not.
    cores: Vec<usize>,
}

/// The threads that share connections.
struct Pool {
    shared: Arc<SharedReactor<Client>>,
    /// What each has for its connections.
    clients: Vec<Clients>,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The reason for which the drain is over.
    pub outcome: DrainOutcome,
    /// How many connections had not finished.
    pub cut: u64,
}

impl Server {
    /// Raises the limit of descriptors and listens at every address.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened at, or a statistics file that cannot be created; the
    /// message names the flag and the value. Fewer descriptors than it takes to serve a connection.
    /// Nothing is left behind then.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let descriptors = limits::raise_descriptors()?;
        let count =
            config.threads.unwrap_or_else(threads::available).get().min(THREADS_MAX) as usize;
        // Where threads share connections, the calling one accepts them.
        let loops = if config.mode.is_shared() { 1 } else { count };
        let listeners = listen(config, loops)?;
        let stats_json = match &config.stats_json {
            Some(path) => Some(create(path).with_context(|| {
                format!("failed to create the file of --stats-json {}", path.display())
            })?),
            None => None,
        };
        let cores = if config.pins { threads::cores()? } else { Vec::new() };
        let (mut threads, max) = Threads::set_up(config, count, listeners, descriptors)
            .context("failed to set up the event loops")?;
        threads.cores = cores;
        let signal_reader =
            SignalReader::new().context("failed to set up the event loop for signals")?;
        // Closed at once: it shows that there is room for a connection.
        EventFd::new(0).context("no descriptor is left for a connection")?;
        for listener in threads.workers[0].listeners() {
            tracing::info!(address = %listener.address(), "listening");
        }
        tracing::info!(mode = ?config.mode, threads = count, connections_max = max, "started");
        Ok(Self { threads, signal_reader, drain: Drain::new(config.timeouts.drain), stats_json })
    }

    /// Where it listens, with the ports that the kernel chose.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.threads.workers[0].listeners().map(Listener::address)
    }

    /// Serves until `SIGTERM` or `SIGINT` comes and the drain that it begins is over, then writes the
    /// statistics.
    ///
    /// `signals` must contain both, except one that the process ignores. Any other signal in it makes the
    /// server log its counters. A thread that this call starts reads them, and has ended when it returns.
    ///
    /// `on_serving` is called on the calling thread when every other thread serves. The calling one serves
    /// when it has returned.
    ///
    /// **Exit:** a second `SIGTERM` or `SIGINT` cuts all connections. If a thread is stuck, so that this call
    /// has not returned a second later, it ends the process with the status 128 plus the signal's number.
    ///
    /// # Errors
    ///
    /// What a thread could not start with, or an event loop or the writing of the statistics failed
    /// with.
    pub fn run(self, signals: &Signals, on_serving: impl FnOnce()) -> anyhow::Result<Ended> {
        let Self { threads, signal_reader, drain, mut stats_json } = self;
        thread::scope(|scope| {
            let _stop = signal_reader
                .start(scope, signals, Arc::clone(&threads.common))
                .context("failed to start the thread that reads signals")?;
            let mut chair = Chair { drain };
            let (served, threads) = threads.serve(&mut chair, on_serving);
            let sum = ThreadStats::sum(&threads);
            let written = match &mut stats_json {
                Some(file) => stats::write_json(file, &threads),
                None => Ok(()),
            };
            if sum.cut > 0 {
                tracing::warn!(connections = sum.cut, "cut before they had finished");
            }
            sum.stats.log("stopped");
            served?;
            written?;
            match chair.drain.phase() {
                Phase::Stopped { outcome } => Ok(Ended { outcome, cut: sum.cut }),
                phase => anyhow::bail!("the server stopped while {phase:?}"),
            }
        })
    }
}

impl Threads {
    fn set_up(
        config: &Config,
        count: usize,
        listeners: Vec<Vec<(Listener, Sharing)>>,
        descriptors: u64,
    ) -> io::Result<(Self, u64)> {
        let sharers = if config.mode.is_shared() { count } else { 0 };
        let loops = listeners.len();
        let used = limits::Used { loops, pipes: loops + sharers, listeners: listeners[0].len() };
        let max = limits::connections_max(config.connections_max, descriptors, used);
        let seats = Seats::new(max, config.connections_per_peer_max, listeners.len());
        let shared = match config.mode.is_shared() {
            true => Some(Arc::new(SharedReactor::new()?)),
            false => None,
        };
        let mut benches = Vec::new();
        for _ in &listeners {
            benches.push(bench(shared.clone())?);
        }
        let wakers = benches.iter().map(|bench| bench.connections.own.waker()).collect();
        let common = Arc::new(Common::new(seats, wakers));
        let pool = shared.map(|shared| {
            let clients = || {
                let timing = Arc::clone(&benches[0].timing);
                Clients::new(config, Arc::clone(&common), timing)
            };
            Pool { shared, clients: (0..count).map(|_| clients()).collect() }
        });
        let mut workers = Vec::new();
        for (index, (mut bench, listeners)) in benches.into_iter().zip(listeners).enumerate() {
            let reactor = &mut bench.connections.own;
            let listening = listeners.into_iter().enumerate().map(|(at, (listener, sharing))| {
                Listening::start(listener, Service::Accept(at), sharing, reactor)
            });
            let listening = listening.collect::<io::Result<_>>()?;
            let partners = pool.iter().flat_map(|pool| &pool.clients);
            let partners = partners.map(Clients::shared_stats).collect();
            let common = Arc::clone(&common);
            workers.push(Worker::new(index, config, common, bench, listening, partners));
        }
        Ok((Self { common, workers, pool, cores: Vec::new() }, max))
    }

    /// Every thread from its start to its end, and what each has done.
    fn serve(
        mut self,
        chair: &mut Chair,
        on_serving: impl FnOnce(),
    ) -> (anyhow::Result<()>, Vec<ThreadStats>) {
        let mut workers = std::mem::take(&mut self.workers).into_iter();
        let Some(mut first) = workers.next() else { return (Ok(()), Vec::new()) };
        let pool = self.pool.take();
        let shared = pool.as_ref().map(|pool| Arc::clone(&pool.shared));
        let mut started = Vec::new();
        let (serving, all_serving) = channel();
        let mut served = self.start(workers, pool, &serving, &mut started).and_then(|()| {
            // The channel ends when each thread has said that it serves, or has failed.
            drop(serving);
            if all_serving.iter().count() == started.len() {
                on_serving();
            }
            first.run(Some(chair)).context("the event loop of thread 0 failed")
        });
        // They have been told already, unless something has failed.
        self.common.watch.abort();
        if let Some(shared) = shared {
            served = served.and(shared.stop().context("failed to stop the threads"));
        }
        let mut others = Vec::new();
        for thread in started {
            match thread.join() {
                Ok(stats) => others.extend(stats),
                Err(_) => served = served.and(Err(anyhow::anyhow!("a thread has panicked"))),
            }
        }
        if let Some(failure) = self.common.take_failure() {
            served = served.and(Err(failure));
        }
        (served, std::iter::once(first.end()).chain(others).collect())
    }

    /// Starts every thread but the calling one, which it makes keep to its core. Each sends to `serving`
    /// when it serves.
    fn start(
        &self,
        workers: impl Iterator<Item = Worker>,
        pool: Option<Pool>,
        serving: &Sender<()>,
        started: &mut Vec<Started>,
    ) -> anyhow::Result<()> {
        let cores = self.cores.iter().copied().cycle();
        let mut start = |index, core, body: Body| -> anyhow::Result<()> {
            started.push(self.start_thread(index, core, serving.clone(), body)?);
            Ok(())
        };
        if let Some(Pool { shared, clients }) = pool {
            // The calling thread has little to do, and may do it anywhere.
            let mut cores = cores;
            let batch_max = pool::batch_max(clients.len());
            for (index, clients) in (1..).zip(clients) {
                let shared = Arc::clone(&shared);
                let body = move || pool::run(index, &shared, batch_max, clients);
                start(index, cores.next(), Box::new(body))?;
            }
            return Ok(());
        }
        if let Some(core) = cores.clone().next() {
            threads::pin(core)?;
        }
        let mut cores = cores.skip(1);
        for (index, mut worker) in (1..).zip(workers) {
            let body = move || worker.run(None).map(|()| worker.end());
            start(index, cores.next(), Box::new(body))?;
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
    ) -> anyhow::Result<Started> {
        let common = Arc::clone(&self.common);
        let run = move || {
            let pinned = core.map_or(Ok(()), threads::pin);
            pinned
                .with_context(|| format!("failed to start thread {index}"))
                .and_then(|()| {
                    // Nobody waits for it if another thread could not be started.
                    let _ = serving.send(());
                    drop(serving);
                    body().with_context(|| format!("the event loop of thread {index} failed"))
                })
                .map_err(|error| common.fail(error))
                .ok()
        };
        let thread = Builder::new().name(format!("epoll-{index}")).spawn(run);
        thread.with_context(|| format!("failed to start thread {index} (--threads)"))
    }
}

/// A file to write to. A pipe that nobody reads is refused instead of waited for.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)
}

type Body = Box<dyn FnOnce() -> io::Result<ThreadStats> + Send>;
type Started = JoinHandle<Option<ThreadStats>>;

/// A reactor that watches the timers of its connections, or of those in `shared`.
fn bench(shared: Option<Arc<SharedReactor<Client>>>) -> io::Result<Bench> {
    let mut own = Reactor::new()?;
    let (timers, reminders) = (Timers::new()?, Timers::new()?);
    own.watch(&timers, Service::Timers, Watch::edge(Interest::IN))?;
    own.watch(&reminders, Service::Reminders, Watch::edge(Interest::IN))?;
    let connections = Connections { own, shared };
    Ok(Bench { connections, reminders, timing: Timing::new(timers) })
}

/// For each of `loops` threads a listener at every address.
fn listen(config: &Config, loops: usize) -> anyhow::Result<Vec<Vec<(Listener, Sharing)>>> {
    let mut of_threads: Vec<_> = (0..loops).map(|_| Vec::new()).collect();
    for address in &config.listen {
        let is_queue_shared = config.accept == Accept::Exclusive || address.inet().is_none();
        let sharing =
            if is_queue_shared && loops > 1 { Sharing::Exclusive } else { Sharing::Alone };
        let options = listen_options(config, sharing);
        let listeners = if is_queue_shared {
            Listener::bind(address, &options).and_then(|first| clones_of(first, loops))
        } else {
            Listener::bind_several(address, &options, loops)
        };
        let listeners =
            listeners.with_context(|| format!("failed to listen at --listen {address}"))?;
        for (of_thread, listener) in of_threads.iter_mut().zip(listeners) {
            of_thread.push((listener, sharing));
        }
    }
    Ok(of_threads)
}

fn listen_options(config: &Config, sharing: Sharing) -> ListenOptions {
    ListenOptions {
        // An echo gives urgent bytes back too, though not as urgent ones.
        stream: StreamOptions { oob_inline: true, ..StreamOptions::default() },
        backlog: config.backlog.get(),
        // Only a socket can be watched exclusively.
        paused_by: match sharing {
            Sharing::Alone => PausedBy::Listener,
            Sharing::Exclusive => PausedBy::Owner,
        },
        ..ListenOptions::default()
    }
}

fn clones_of(first: Listener, count: usize) -> io::Result<Vec<Listener>> {
    let mut listeners = vec![first];
    while listeners.len() < count {
        let next = listeners[0].try_clone()?;
        listeners.push(next);
    }
    Ok(listeners)
}
