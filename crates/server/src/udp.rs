//! The echo over UDP, `--udp`: a thread of its own receives datagrams in batches and sends back those that the filter
//! of `epoll-echo` lets pass. What the socket does not take at once is lost, as the network may lose it.

use anyhow::Context;
use epoll_echo::{DatagramFilter, Verdict};
use epoll_reactor::epoll_sys::{Timestamp, socket};
use epoll_reactor::net::{Address, Datagram, DatagramOptions, RecvBatch, SendBatch};
use epoll_reactor::{Interest, NoSource, Reactor, Ready, Waker, Watch};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The number of datagrams a call.
const BATCH_MAX: usize = 32;
/// The longest datagram, in bytes, with room for IPv6.
const LEN_MAX: usize = 65_527;

/// The numbers of datagrams by their outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UdpStats {
    pub(crate) received: u64,
    pub(crate) echoed: u64,
    /// Dropped because the answer might have been answered.
    pub(crate) may_loop: u64,
    /// Dropped because their sources have sent more than they may.
    pub(crate) too_many: u64,
    /// Dropped because the socket had no room, or the network refused them.
    pub(crate) unsent: u64,
}

/// A UDP echo that runs.
#[derive(Debug)]
pub(crate) struct UdpEcho {
    address: Address,
    waker: Waker,
    control: Arc<UdpControl>,
    thread: JoinHandle<()>,
}

/// The part of an echo that other threads reach.
#[derive(Debug)]
pub(crate) struct UdpControl {
    /// The statistics after each batch.
    stats: Mutex<UdpStats>,
    /// The number of datagrams a second for each source.
    per_s: AtomicU32,
}

impl UdpEcho {
    /// Starts an echo that answers each source so many datagrams a second. If it `joins`, the process before this one,
    /// which it replaces, may still be at the address.
    pub(crate) fn start(
        address: SocketAddr,
        per_s: NonZeroU32,
        joins: bool,
    ) -> anyhow::Result<Self> {
        let failed = || format!("failed to serve --udp {address}");
        let options = DatagramOptions { reuse_port: joins, ..DatagramOptions::default() };
        let datagram = Datagram::bind(&address.into(), &options).with_context(failed)?;
        // Afterwards, so that a server that was started by itself does not share the port without a word.
        socket::set_reuse_port(&datagram, true).with_context(failed)?;
        let own = datagram.local_addr().with_context(failed)?;
        let mut reactor = Reactor::new().with_context(failed)?;
        reactor.watch(&datagram, (), Watch::level(Interest::IN)).with_context(failed)?;
        let waker = reactor.waker();
        let filter = DatagramFilter::new(own.inet().map_or(0, |own| own.port()), per_s);
        let mut server = Server {
            datagram,
            filter,
            requests: RecvBatch::new(BATCH_MAX, LEN_MAX),
            answers: SendBatch::new(BATCH_MAX, LEN_MAX),
            stats: UdpStats::default(),
            control: Arc::new(UdpControl { stats: Mutex::default(), per_s: per_s.get().into() }),
        };
        let control = Arc::clone(&server.control);
        let run = move || {
            if let Err(error) = server.run(&mut reactor) {
                tracing::error!(%error, "the UDP echo has failed");
            }
        };
        let thread = Builder::new().name("epoll-udp".into()).spawn(run).with_context(failed)?;
        tracing::info!(address = %own, "listening for datagrams");
        Ok(Self { address: own, waker, control, thread })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn control(&self) -> Arc<UdpControl> {
        Arc::clone(&self.control)
    }

    /// Ends it and returns what it has done.
    pub(crate) fn end(self) -> anyhow::Result<UdpStats> {
        self.waker.wake().context("failed to end the UDP echo")?;
        self.thread.join().map_err(|_| anyhow::anyhow!("the UDP echo has panicked"))?;
        Ok(self.control.stats())
    }
}

struct Server {
    datagram: Datagram,
    filter: DatagramFilter,
    requests: RecvBatch,
    answers: SendBatch,
    stats: UdpStats,
    control: Arc<UdpControl>,
}

impl UdpControl {
    /// Changes how many datagrams a second each source may send.
    pub(crate) fn set_rate(&self, per_s: NonZeroU32) {
        self.per_s.store(per_s.get(), Ordering::Relaxed);
    }

    /// Returns the statistics after the last batch.
    pub(crate) fn stats(&self) -> UdpStats {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, UdpStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Serves until it is woken.
    fn run(&mut self, reactor: &mut Reactor<NoSource, ()>) -> io::Result<()> {
        loop {
            reactor.wait(None)?;
            while let Some(ready) = reactor.next_ready() {
                match ready {
                    Ready::Watched { .. } => self.echo(),
                    Ready::Woken => return Ok(()),
                    Ready::Owned { .. } => {}
                }
            }
        }
    }

    /// Echoes one batch. If there is more, the socket is reported again.
    fn echo(&mut self) {
        if self.datagram.recv_batch(&mut self.requests).is_err() {
            // Nothing has come, or an error of an earlier datagram was pending, which is taken by this.
            return;
        }
        if let Some(per_s) = NonZeroU32::new(self.control.per_s.load(Ordering::Relaxed)) {
            self.filter.set_rate(per_s);
        }
        let now = Timestamp::now();
        for request in self.requests.iter() {
            self.stats.received += 1;
            let Some(source) = request.from.inet() else { continue };
            match self.filter.verdict(source, now) {
                Verdict::Echo if self.answers.push(request.bytes, Some(&request.from)) => {}
                Verdict::Echo => self.stats.unsent += 1,
                Verdict::MayLoop => self.stats.may_loop += 1,
                Verdict::TooMany => self.stats.too_many += 1,
            }
        }
        self.send();
        *self.control.lock() = self.stats;
    }

    fn send(&mut self) {
        while !self.answers.is_empty() {
            match self.datagram.send_batch(&mut self.answers) {
                Ok(count) if count > 0 => self.stats.echoed += count as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stats.unsent += self.answers.len() as u64;
                    self.answers.clear();
                }
                // It is this datagram's fault, for example that there is no way to its source.
                _ => {
                    self.stats.unsent += 1;
                    self.answers.discard_first();
                }
            }
        }
    }
}
