//! The settings of a service.

use crate::{Mode, Restart, Supervisor};
use epoll_connection::Limits;
use epoll_reactor::net::{Address, PathOwner, StreamOptions};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// The settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses to listen at. If there is none, nothing is accepted.
    pub listen: Vec<Address>,
    /// The trigger by which connections are watched, and whether threads share them.
    pub mode: Mode,
    /// The number of threads that serve, at most [`THREADS_MAX`]; `None` is one for each core that this process
    /// may use. In the modes in which threads share connections, one more thread minds timers and the drain.
    pub threads: Option<NonZeroU32>,
    /// The way in which threads accept at the same address, in the modes in which each has connections of its
    /// own.
    pub accept: Accept,
    /// Keeps each thread to one core.
    pub pins: bool,
    /// The largest number of connections at once; `None` is as many as the limit of descriptors allows.
    ///
    /// One more is accepted and closed at once, and counted as [`Stats::refused`](crate::Stats::refused): its client
    /// sees the end of the stream, or a reset if it has sent something. Connections that wait for their peers to close
    /// ([`Timeouts::linger`]) are among them. A service that has something to say to such clients sets a higher limit,
    /// counts connections itself in [`Service::accept`](crate::Service::accept) and in the `Drop` of its protocols, and
    /// makes a protocol that says it in `on_open`.
    pub connections_max: Option<NonZeroU32>,
    /// The largest number of connections at once from one address; `None` is no limit.
    pub connections_per_peer_max: Option<NonZeroU32>,
    /// The largest number of connections that are accepted a second, by all threads together; `None` is no limit.
    ///
    /// After a pause a tenth of a second's worth may come at once. What comes faster waits in the queues of the
    /// listeners, as long as their [`backlog`](Self::backlog) lasts, and is refused by nobody. In the end, when the
    /// drain empties the queues, the limit does not hold.
    pub connections_per_s_max: Option<NonZeroU32>,
    /// The largest number of bytes that the buffers of all connections may take together; `None` is no limit.
    ///
    /// A buffer is output that waits for its peer to take it, or input that the protocol has not consumed; a connection
    /// at rest has none. The buffer of a message longer than `limits.read_buffer_len` grows with what has come of it.
    /// When three quarters are taken, new connections are refused and counted as
    /// [`Stats::refused_memory`](crate::Stats::refused_memory). A connection whose buffers grow when everything is taken
    /// is reset, and counted as closed for the reason `buffers-full`: connections that need no buffer go on as before,
    /// which a pause of all would not allow. So the limit is exceeded for a moment at most, by one step of a connection
    /// of each thread. The read buffers of the threads, what the kernel holds, and what protocols keep themselves come
    /// on top.
    pub buffered_bytes_max: Option<NonZeroU64>,
    /// Makes every accepted connection begin with a header of the PROXY protocol; `None` expects none.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The number of connections that may wait to be accepted at each address. Sockets that the process was started
    /// with keep theirs.
    pub backlog: NonZeroU32,
    /// Serves only IPv6 clients at IPv6 addresses (`true`), or IPv4 ones as well where an address includes them, as
    /// `[::]` does (`false`); `None` is the system's default, which is `false` on most. Sockets that the process was
    /// started with are as they were made; this is true of their paths, too.
    pub ipv6_only: Option<bool>,
    /// The permissions of the paths of UNIX sockets, that of the metrics included, such as `0o660`, whatever the
    /// umask. They hold before the first client can connect.
    pub path_mode: Option<u32>,
    /// The owner of the paths of UNIX sockets, from before the first client can connect.
    pub path_owner: Option<PathOwner>,
    /// The options of accepted and of outgoing connections.
    pub stream: StreamOptions,
    /// The limits of each connection.
    pub limits: Limits,
    /// The time that connections may take.
    pub timeouts: Timeouts,
    /// The time for which the server goes on accepting after the first signal to end, before it drains. Meanwhile
    /// it is not ready: balancers that ask whether it is stop sending clients, and none of them is refused.
    /// [`Timeouts::drain`] begins when this is over. Another signal to end does not wait for it: everything is
    /// cut, as during the drain.
    pub drain_delay: Duration,
    /// The time for which a thread that was just busy looks for the next event again and again before it sleeps,
    /// counted from the end of its work; `None` and zero sleep at once.
    ///
    /// What comes within this time is answered sooner, by what it takes to wake a thread. The price is a core for each
    /// thread, the one that serves no connection included, for as long as events come: a thread that looks runs, and
    /// whatever else has its core waits. So it is for latency at a steady, moderate rate on a machine with cores to
    /// spare, which the clients do not use either. It is not for a machine, or a share of one, that others use, nor
    /// for fewer cores than threads. A time that is shorter than the pauses between events costs as much of a core in
    /// every pause and brings nothing. While all connections are silent, threads sleep.
    ///
    /// Timers, messages, signals and the drain are seen no later than otherwise. Each look is an [`epoll_wait`]
    /// with a timeout of zero, counted in [`Counters::spins`](epoll_reactor::Counters::spins). HAProxy's
    /// `busy-polling` does the same without a bound. The kernel's busy polling of network devices is another thing,
    /// which this does not set: see [`Epoll::set_busy_poll`](epoll_reactor::epoll_sys::Epoll::set_busy_poll).
    ///
    /// [`epoll_wait`]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html
    pub busy_polling: Option<Duration>,
    /// The program that supervises the process, and is told when it serves, restarts and stops; `None` is none.
    pub supervisor: Option<Supervisor>,
    /// The signal by which the service restarts, and the program that takes over; `None` never restarts.
    pub restart: Option<Restart>,
    /// Live metrics, and where they are served; `None` serves and measures none. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub metrics: Option<Metrics>,
    /// Lets [`Handle::adjust`](crate::Handle::adjust) change limits and times while the server runs. It then counts
    /// connections by peer and the bytes of buffers, and reads the clock once a turn, even where no limit and no
    /// timeout asks for it.
    pub adjustable: bool,
    /// Called before the process is ended because threads are stuck after a second signal to end; for example
    /// to flush logs. It must return soon.
    pub before_exit: fn(),
}

/// Live metrics of a server, in the text format of Prometheus (version 0.0.4), over HTTP/1.1.
///
/// `GET /metrics` answers the counters of every thread, `/healthz` says `ok` while the process lives, and `/readyz`
/// answers 200 while every thread serves and 503 before that, during [`Config::drain_delay`], and while the server
/// drains. `HEAD` is answered as well, any other method with 405 and any other path with 404. What is not a request
/// without a body is answered with an error, and the connection ends.
///
/// The metrics have a thread of their own, so no thread that serves makes a turn for them. They have 32 connections
/// at most, which count neither as the service's nor for its limits, and end with the server. A head may have 8 KiB
/// and take 10 seconds; a connection may be idle for 90.
///
/// A thread that serves counts by itself what is asked for, which costs it two looks at the clock in each turn.
/// Bytes are those of connections that are closed. Where threads share connections, any of them may see one open
/// and another one see it close: only the sum over threads tells how many there are.
///
/// # Examples
///
/// ```
/// use epoll_connection::{Consumed, Context, Protocol};
/// use epoll_service::{Config, Each, Metrics, Server, Signal, Signals};
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// struct Discard;
///
/// impl Protocol for Discard {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
///         Consumed::bytes(input.len())
///     }
/// }
///
/// let signals = Signals::block([Signal::TERM, Signal::INT])?;
/// let extra = |text: &mut String| text.push_str("# TYPE my_jobs_total counter\nmy_jobs_total 7\n");
/// let metrics = Metrics { extra, ..Metrics::at("127.0.0.1:0".parse()?) };
/// let config = Config { metrics: Some(metrics), ..Config::at(["127.0.0.1:0".parse()?]) };
/// let server = Server::bind(Each(|| Discard), &config)?;
/// let address = server.metrics_address().and_then(|address| address.inet()).expect("an address");
///
/// let scrape = std::thread::spawn(move || -> std::io::Result<String> {
///     let mut stream = TcpStream::connect(address)?;
///     stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
///     let mut answer = String::new();
///     stream.read_to_string(&mut answer)?;
///     // What otherwise comes from outside.
///     std::process::Command::new("sh").args(["-c", "kill $PPID"]).status()?;
///     Ok(answer)
/// });
/// server.run(&signals, || {})?;
/// let answer = scrape.join().unwrap()?;
/// assert!(answer.contains("\nepoll_service_connections{state=\"open\"} 0\n"));
/// assert!(answer.ends_with("\nmy_jobs_total 7\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// The address to listen at. Every client that can connect to it can read the metrics, so it should be in a network
    /// that clients do not reach, or the path of a UNIX socket.
    pub listen: Address,
    /// Appends metrics of the program in the same format, each line with its end. Called on the thread of the
    /// metrics for every answer. It captures nothing: what it reads is in a static, such as an atomic, or a `OnceLock`
    /// that holds an `Arc` of what protocols share.
    pub extra: fn(&mut String),
}

#[cfg(feature = "metrics")]
impl Metrics {
    /// Returns the metrics of the server alone, at this address.
    #[must_use]
    pub fn at(listen: Address) -> Self {
        Self { listen, extra: |_| {} }
    }
}

/// The largest number of threads that a server may have.
pub const THREADS_MAX: u32 = 1024;

/// The way in which several threads accept at one internet address. A UNIX socket is always shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// `SO_REUSEPORT`: each thread has a queue of its own, among which the kernel spreads connections.
    #[default]
    Reuseport,
    /// `EPOLLEXCLUSIVE`: one queue; the kernel wakes one or a few of the threads that wait.
    Exclusive,
}

/// The [PROXY protocol], versions 1 and 2: a balancer says in a header, before anything else, whose connection it
/// passes on.
///
/// That client is the peer of the connection for [`Service::accept`](crate::Service::accept), for the limit of each
/// peer, and in logs. The protocol of the connection is made when the header is complete, so it works around any
/// protocol, TLS as well. Where the header names no client with an internet address (`LOCAL`, `UNKNOWN`, a UNIX
/// socket), the peer is the balancer.
///
/// A header can name any client, so let only balancers reach the addresses of such a service.
///
/// A connection that does not begin with a header, or is closed before it is complete, or whose header is late, is
/// closed, and counted as [`Stats::header_wrong`](crate::Stats::header_wrong),
/// [`header_missing`](crate::Stats::header_missing) or [`header_late`](crate::Stats::header_late). Until the header
/// is complete the connection is one of [`Config::connections_max`], but not one of its peer.
///
/// [PROXY protocol]: https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
///
/// # Examples
///
/// ```
/// use epoll_connection::{Consumed, Context, Protocol};
/// use epoll_service::{Config, Peer, ProxyProtocol, Server, Service, Signal, Signals};
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// /// Answers any input with the client's address.
/// struct Whoami(Peer);
///
/// impl Protocol for Whoami {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
///         context.write(format!("{}\n", self.0).as_bytes());
///         Consumed::bytes(input.len()).then(epoll_connection::Flow::Finish)
///     }
/// }
///
/// struct Everybody;
///
/// impl Service for Everybody {
///     type Protocol = Whoami;
///
///     fn local(&self, _: usize) {}
///
///     fn accept(&self, _: usize, peer: &Peer, _: &mut ()) -> Option<Whoami> {
///         Some(Whoami(*peer))
///     }
/// }
///
/// let signals = Signals::block([Signal::TERM, Signal::INT])?;
/// let proxy_protocol = Some(ProxyProtocol::default());
/// let config = Config { proxy_protocol, ..Config::at(["127.0.0.1:0".parse()?]) };
/// let server = Server::bind(Everybody, &config)?;
/// let address = server.addresses()[0].inet().expect("an internet address");
///
/// let balancer = std::thread::spawn(move || -> std::io::Result<String> {
///     let mut stream = TcpStream::connect(address)?;
///     stream.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\nwho am I?")?;
///     let mut answer = String::new();
///     stream.read_to_string(&mut answer)?;
///     // What otherwise comes from outside.
///     std::process::Command::new("sh").args(["-c", "kill $PPID"]).status()?;
///     Ok(answer)
/// });
/// server.run(&signals, || {})?;
/// assert_eq!(balancer.join().unwrap()?, "192.0.2.1:50000\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The time within which the header has to be complete, counted from when the connection was accepted.
    /// [`Handle::adjust`](crate::Handle::adjust) changes it for connections that wait already, too.
    pub timeout: Duration,
}

impl Default for ProxyProtocol {
    /// 3 seconds.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(3) }
    }
}

/// The time that a connection may take; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time that an outgoing connection may take to be established.
    pub connect: Option<Duration>,
    /// The time for which no byte may move either way; then the connection is closed, without another callback but
    /// `on_close`. It holds for all connections alike. A protocol that has something to say before, TLS its
    /// `close_notify` for example, or that lets some connections be silent, has a
    /// [deadline](epoll_connection::Context::set_deadline) of its own instead.
    pub idle: Option<Duration>,
    /// The time for which a peer may take nothing while output waits for it.
    pub write: Option<Duration>,
    /// The time that connections may take to finish after the signal to end.
    pub drain: Option<Duration>,
    /// The time for which a peer may leave its half open after ours is closed; counted anew while it still
    /// takes what was sent.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 seconds to connect, 5 minutes idle, 30 seconds to write, 10 seconds to drain, 2 to linger.
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            idle: Some(Duration::from_secs(5 * 60)),
            write: Some(Duration::from_secs(30)),
            drain: Some(Duration::from_secs(10)),
            linger: Some(Duration::from_secs(2)),
        }
    }
}

impl Config {
    /// Returns whether threads measure their turns.
    #[cfg(feature = "metrics")]
    pub(crate) fn measures(&self) -> bool {
        self.metrics.is_some()
    }

    /// Returns that no thread measures its turns: nobody could ask for it.
    #[cfg(not(feature = "metrics"))]
    pub(crate) fn measures(&self) -> bool {
        false
    }

    /// Returns the default configuration, with these addresses to listen at.
    #[must_use]
    pub fn at(listen: impl IntoIterator<Item = Address>) -> Self {
        Self { listen: listen.into_iter().collect(), ..Self::default() }
    }
}

impl Default for Config {
    /// Level-triggered, with a thread for each core, and no address.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            mode: Mode::Level,
            threads: None,
            accept: Accept::default(),
            pins: false,
            connections_max: None,
            connections_per_peer_max: None,
            connections_per_s_max: None,
            buffered_bytes_max: None,
            proxy_protocol: None,
            backlog: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            ipv6_only: None,
            path_mode: None,
            path_owner: None,
            stream: StreamOptions::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            drain_delay: Duration::ZERO,
            #[cfg(feature = "metrics")]
            metrics: None,
            busy_polling: None,
            supervisor: None,
            restart: None,
            adjustable: false,
            before_exit: || {},
        }
    }
}
