//! The flags, each of which can come from the environment and from a file too, and the configuration that they make.

use crate::bytes::{Bytes, bytes_to};
use crate::listen::Addresses;
use crate::unix_access::{UnixMode, UnixOwner};
use crate::{LogFormat, echo, listen, log};
use clap::builder::BoolishValueParser;
use clap::{Parser, ValueEnum};
use epoll_echo::{EchoOptions, QuitWord};
use epoll_reactor::net::{Address, StreamOptions};
use epoll_service::epoll_connection::Limits;
use epoll_service::{
    Accept, Config, Metrics, Mode, ProxyProtocol, Restart, Signal, THREADS_MAX, Timeouts,
};
use epoll_tls::TlsConfig;
use std::fs;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

const EXIT_STATUS: &str = "Exit status: 0 when every connection has finished, 1 when the server \
cannot start or fails, 2 when the command line, the environment or the configuration file is wrong, 3 when \
--drain-timeout cut connections, 128 plus the signal's number when a second signal ended it.";

/// The largest number of bytes that one read may take.
const READ_BUFFER_LEN_MAX: u64 = 16 * 1024 * 1024;

/// The longest wait for the last log lines of a process that ends because threads are stuck.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);

/// An echo server (RFC 862) on Linux epoll.
///
/// SIGTERM or SIGINT lets it finish: it accepts no more, echoes what it was sent, and ends when the
/// last connection is closed, or when --drain-timeout is over. A second one ends it at once, within a
/// second even if a thread is stuck. SIGHUP reads the file of --config again, or logs the counters if there is
/// none. SIGUSR1 logs the counters, unless --log is off, and writes the file of --stats-json. SIGUSR2 starts the
/// program anew, which takes over the sockets; when it serves, this process finishes. A signal that is ignored at
/// the start stays ignored.
#[derive(Debug, Parser)]
// The name is not that of the file that was started, which may command a terminal.
#[command(name = "epoll-server", bin_name = "epoll-server", version, after_long_help = EXIT_STATUS)]
pub(crate) struct Args {
    /// TOML file with the flags as keys: max-connections = 1000. Flags and the environment go before it.
    #[arg(long, value_name = "FILE", env = "EPOLL_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Print all settings with their sources, in the form of a --config file, and exit. Listens at nothing.
    #[arg(long)]
    pub(crate) check: bool,

    /// Address to listen at: IP:PORT, NAME:PORT, :PORT (all addresses), unix:PATH or unix:@NAME (abstract); port 0
    /// takes a free one. Or fd:NUMBER or fd:NAME, a socket that a service manager passes (LISTEN_FDS,
    /// LISTEN_FDNAMES). May repeat; commas separate several, as in the environment [default: all sockets that are
    /// passed, or else 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", env = "EPOLL_SERVER_LISTEN")]
    pub(crate) listen: Vec<Addresses>,

    /// Serve only IPv6 clients at IPv6 addresses. Otherwise [::]:PORT and :PORT serve IPv4 too.
    #[arg(long, env = "EPOLL_SERVER_IPV6_ONLY", value_parser = BoolishValueParser::new())]
    ipv6_only: bool,

    /// Permissions of the paths of UNIX sockets, in octal digits such as 0660 [default: what the umask leaves].
    #[arg(long, value_name = "MODE", env = "EPOLL_SERVER_UNIX_MODE")]
    unix_mode: Option<UnixMode>,

    /// Owner of the paths of UNIX sockets: USER, USER:GROUP or :GROUP, by name or number [default: that of the
    /// process].
    #[arg(long, value_name = "OWNER", env = "EPOLL_SERVER_UNIX_OWNER")]
    unix_owner: Option<UnixOwner>,

    /// Trigger by which connections are watched, and whether threads share them.
    #[arg(long, env = "EPOLL_SERVER_MODE", default_value = "level")]
    mode: ModeArg,

    /// Number of threads that serve [default: the cores that this process may use].
    #[arg(long, value_name = "N", env = "EPOLL_SERVER_THREADS", value_parser = count_to(THREADS_MAX))]
    threads: Option<NonZeroU32>,

    /// Way in which threads accept in the modes level and edge. In the other modes whichever
    /// thread is free accepts, and the flag is refused [default: reuseport].
    #[arg(long, env = "EPOLL_SERVER_ACCEPT")]
    accept: Option<AcceptArg>,

    /// Keep each thread to one of the cores that this process may use.
    #[arg(long, env = "EPOLL_SERVER_PIN", value_parser = BoolishValueParser::new())]
    pin: bool,

    /// Maximum number of concurrent connections; further ones are closed on accept [default: what the
    /// limit of descriptors allows].
    #[arg(long, value_name = "N", env = "EPOLL_SERVER_MAX_CONNECTIONS", value_parser = count)]
    max_connections: Option<NonZeroU32>,

    /// Maximum number of concurrent connections from one address; further ones are closed on accept
    /// [default: no limit].
    #[arg(long, value_name = "N", env = "EPOLL_SERVER_MAX_PER_PEER", value_parser = count)]
    max_per_peer: Option<NonZeroU32>,

    /// Maximum number of connections that are accepted a second; further ones wait in the queues of --backlog
    /// [default: no limit].
    #[arg(long, value_name = "N", env = "EPOLL_SERVER_MAX_CONNECTION_RATE", value_parser = count)]
    max_connection_rate: Option<NonZeroU32>,

    /// Maximum number of bytes that are received of a connection a second, on average; reading pauses when there were
    /// more. A read may bring --read-buffer bytes at once, and nothing is spliced [default: no limit].
    #[arg(long, value_name = "BYTES", env = "EPOLL_SERVER_MAX_BYTES_RATE", value_parser = bytes_to(u64::MAX))]
    max_bytes_rate: Option<Bytes>,

    /// Maximum number of bytes that wait in the buffers of all connections together. From three quarters on new
    /// connections are closed on accept; one whose echo finds no room is reset [default: no limit].
    #[arg(long, value_name = "BYTES", env = "EPOLL_SERVER_MAX_BUFFERED", value_parser = bytes_to(u64::MAX))]
    max_buffered: Option<Bytes>,

    /// Have every connection begin with a header of the PROXY protocol, version 1 or 2, in which a balancer names the
    /// client: --max-per-peer and the logs then go by that client. Let nobody but balancers reach the addresses.
    #[arg(long, env = "EPOLL_SERVER_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    proxy_protocol: bool,

    /// Close a connection whose header of the PROXY protocol is not complete after this long; 0 is never.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_PROXY_TIMEOUT",
        default_value = "3s"
    )]
    proxy_timeout: Timeout,

    /// Length of the read buffer of each thread, such as 65536, 64KiB or 1MB. It is also the most that is spliced
    /// at once.
    #[arg(
        long,
        value_name = "BYTES",
        env = "EPOLL_SERVER_READ_BUFFER",
        default_value = "64KiB",
        value_parser = bytes_to(READ_BUFFER_LEN_MAX)
    )]
    read_buffer: Bytes,

    /// Splices what follows a read that filled its buffer: it goes from socket to socket through a pipe, and not
    /// into the process.
    #[arg(long, env = "EPOLL_SERVER_SPLICE", default_value = "auto")]
    splice: SpliceArg,

    /// A line that equals this word ends the conversation.
    #[arg(long, value_name = "WORD", env = "EPOLL_SERVER_QUIT_WORD")]
    quit_word: Option<QuitWord>,

    /// Speak TLS 1.2 and 1.3 with this certificate, a PEM file which those that certify it may follow. Needs
    /// --tls-key.
    #[arg(long, value_name = "PATH", env = "EPOLL_SERVER_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, a PEM file.
    #[arg(long, value_name = "PATH", env = "EPOLL_SERVER_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Echo datagrams that come to this address over UDP, but for those from ports below 1024 and from the port of
    /// the address itself, where other services and echoes are.
    #[arg(long, value_name = "IP:PORT", env = "EPOLL_SERVER_UDP", value_parser = inet)]
    pub(crate) udp: Option<SocketAddr>,

    /// Maximum number of datagrams that are echoed a second for each source; further ones are dropped.
    #[arg(
        long,
        value_name = "N",
        env = "EPOLL_SERVER_UDP_RATE",
        default_value = "1000",
        value_parser = count
    )]
    pub(crate) udp_rate: NonZeroU32,

    /// Number of connections that may wait to be accepted.
    #[arg(
        long,
        value_name = "N",
        env = "EPOLL_SERVER_BACKLOG",
        default_value = "1024",
        value_parser = count
    )]
    backlog: NonZeroU32,

    /// Level of the logs on stderr: off, error, warn, info, debug, which has a line for each connection, or trace,
    /// which has one for each message. Lines that the reader does not take
    /// in time are dropped, and their number is logged.
    #[arg(long, value_name = "LEVEL", env = "EPOLL_SERVER_LOG", default_value = "info", value_parser = level)]
    pub(crate) log: LevelFilter,

    /// Format of the logs.
    #[arg(long, env = "EPOLL_SERVER_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Close a connection on which no byte has moved for this long; 0 is never.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_IDLE_TIMEOUT",
        default_value = "5m"
    )]
    idle_timeout: Timeout,

    /// Reset a connection whose peer takes nothing for this long while output waits; 0 is never.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_WRITE_TIMEOUT",
        default_value = "30s"
    )]
    write_timeout: Timeout,

    /// After SIGTERM or SIGINT, cut what has not finished after this long; 0 is never. For half of it
    /// busy connections go on being echoed.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_DRAIN_TIMEOUT",
        default_value = "10s"
    )]
    drain_timeout: Timeout,

    /// After SIGTERM or SIGINT, go on accepting for this long before draining, so that balancers which ask
    /// /readyz of --metrics send no more clients first. A second signal does not wait for it.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_DRAIN_DELAY",
        default_value = "0"
    )]
    drain_delay: Timeout,

    /// Wait this long for the peer to close its half after ours, and as long again while it still
    /// takes what was sent; 0 is for ever.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_LINGER_TIMEOUT",
        default_value = "2s"
    )]
    linger_timeout: Timeout,

    /// Look for the next event for this long before sleeping, which saves the time to wake up and keeps a core of
    /// each thread busy meanwhile; 0 is off. For cores that nobody else needs.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_BUSY_POLL",
        default_value = "0"
    )]
    busy_poll: Timeout,

    /// After SIGUSR2, wait this long for the new process to serve, and kill it otherwise; 0 is for ever.
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "EPOLL_SERVER_RESTART_TIMEOUT",
        default_value = "30s"
    )]
    restart_timeout: Timeout,

    /// Address at which to serve metrics for Prometheus (/metrics) and health checks (/healthz, /readyz) over
    /// HTTP: IP:PORT or unix:PATH. Whoever can connect can read them [default: none].
    #[arg(long, value_name = "ADDR", env = "EPOLL_SERVER_METRICS")]
    pub(crate) metrics: Option<Address>,

    /// File to write statistics to, at exit and on SIGUSR1. It is replaced as a whole, so its folder must be writable.
    #[arg(long, value_name = "PATH", env = "EPOLL_SERVER_STATS_JSON")]
    pub(crate) stats_json: Option<PathBuf>,
}

fn count(text: &str) -> Result<NonZeroU32, String> {
    count_to(u32::MAX)(text)
}

fn count_to(max: u32) -> impl Fn(&str) -> Result<NonZeroU32, String> + Clone {
    move |text| {
        let count = text.parse().ok().filter(|count: &NonZeroU32| count.get() <= max);
        count.ok_or_else(|| format!("expected a number from 1 to {max}"))
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    // The empty text and numbers are levels to the parser.
    let level = text.parse().ok().filter(|_| text.starts_with(|first: char| first.is_alphabetic()));
    level.ok_or_else(|| "expected off, error, warn, info, debug or trace".to_owned())
}

fn inet(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:7".to_owned())
}

/// A time such as `30s`, `1m30s` or `250ms`; `0` is none.
#[derive(Clone, Copy, Debug)]
struct Timeout(Option<Duration>);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = match text {
            "0" => Duration::ZERO,
            text => humantime::parse_duration(text)
                .map_err(|error| format!("{error} (a time is written like 30s, 1m30s or 250ms)"))?,
        };
        Ok(Self((!time.is_zero()).then_some(time)))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// Level-triggered: watched for what the connection waits for. Each thread has its own.
    Level,
    /// Edge-triggered: watched for everything, once and for all. Each thread has its own.
    Edge,
    /// One-shot: threads share all connections; each report is for one thread, which arms the
    /// connection again when it is done.
    Oneshot,
    /// Edge-triggered, and threads share all connections; who has one is known without the kernel.
    EdgeShared,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AcceptArg {
    /// `SO_REUSEPORT`: each thread has a queue of its own, among which the kernel spreads connections.
    Reuseport,
    /// `EPOLLEXCLUSIVE`: one queue; whoever waits is woken, and not all.
    Exclusive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SpliceArg {
    /// Unless --quit-word or TLS has to look at every byte.
    Auto,
    /// As auto, but --quit-word and TLS are refused.
    On,
    /// Never: every byte is copied into the process and out again. With --read-buffer 262144 that is faster for
    /// several long streams of clients whose cores share a cache with the server's.
    Off,
}

impl Args {
    /// Returns what contradicts itself in the flags.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let is_shared = matches!(self.mode, ModeArg::Oneshot | ModeArg::EdgeShared);
        let has_path = self.has_path();
        let complaint = match (&self.tls_cert, &self.tls_key) {
            _ if self.unix_mode.is_some() && !has_path => {
                "'--unix-mode' is for the path of a UNIX socket, and no address is one"
            }
            _ if self.unix_owner.is_some() && !has_path => {
                "'--unix-owner' is for the path of a UNIX socket, and no address is one"
            }
            (Some(_), None) => "'--tls-cert' needs '--tls-key'",
            (None, Some(_)) => "'--tls-key' needs '--tls-cert'",
            _ if is_shared && self.accept.is_some() => {
                "'--accept' is for the modes level and edge: in the others any thread accepts"
            }
            _ if self.looks_at_bytes() && self.splice == SpliceArg::On => {
                "'--splice on' is not for '--quit-word' and TLS, which look at every byte"
            }
            _ => return None,
        };
        Some(complaint)
    }

    fn has_path(&self) -> bool {
        let of_metrics = self.metrics.is_some_and(|address| address.as_path().is_some());
        of_metrics || listen::has_path(&self.listen)
    }

    /// Returns whether long streams are spliced.
    fn splices(&self) -> bool {
        self.splice != SpliceArg::Off && !self.looks_at_bytes()
    }

    fn looks_at_bytes(&self) -> bool {
        self.quit_word.is_some() || self.tls_cert.is_some()
    }

    pub(crate) fn echo_options(&self) -> EchoOptions {
        EchoOptions {
            quit_word: self.quit_word.clone(),
            on_echo: (self.log >= LevelFilter::TRACE).then_some(echo::trace),
        }
    }

    /// Reads the certificate and its key. The error names the flag and the file.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<TlsConfig>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        TlsConfig::from_pem_files(certificate, key).map(Some).map_err(|error| {
            let flag = match error.path() {
                // One file may have both.
                Some(path) if path == key && path == certificate => "--tls-cert and --tls-key",
                Some(path) if path == key => "--tls-key",
                _ => "--tls-cert",
            };
            anyhow::anyhow!("failed to use {flag} {error}")
        })
    }

    /// Returns how to restart. That is not possible where the path of the program is not known, as without /proc, or
    /// where the new process would find another configuration, as in a pipe, which has been read.
    pub(crate) fn restart(&self) -> Option<Restart> {
        let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file());
        if !self.config.as_ref().is_none_or(is_file) {
            tracing::warn!("SIGUSR2 cannot restart the server: --config is not a regular file");
            return None;
        }
        match Restart::on(Signal::USR2) {
            Ok(restart) => Some(restart.ready_timeout(self.restart_timeout.0)),
            Err(error) => {
                tracing::warn!(%error, "SIGUSR2 cannot restart the server: its path is not known");
                None
            }
        }
    }

    /// Returns the configuration to adjust a server by that runs. Its way to `restart` stays, and so does whether it
    /// expects headers of the PROXY protocol; the times of both are these.
    pub(crate) fn adjustment(&self, restart: Option<Restart>) -> Config {
        Config {
            restart: restart.map(|restart| restart.ready_timeout(self.restart_timeout.0)),
            proxy_protocol: Some(self.headers()),
            ..self.config()
        }
    }

    fn headers(&self) -> ProxyProtocol {
        ProxyProtocol { timeout: self.proxy_timeout.0.unwrap_or(Duration::MAX) }
    }

    /// Returns the configuration without what depends on the process: the addresses, which may have to be looked up,
    /// the way to restart, and the supervisor.
    pub(crate) fn config(&self) -> Config {
        let len = NonZeroUsize::try_from(self.read_buffer.0).unwrap_or(NonZeroUsize::MIN);
        // As much at once as a read could bring, so that what waits to be written is no more either.
        let splice_bytes_max = self.splices().then_some(len);
        Config {
            ipv6_only: Some(self.ipv6_only),
            path_mode: self.unix_mode.map(|mode| mode.0),
            path_owner: self.unix_owner.map(|owner| owner.0),
            mode: match self.mode {
                ModeArg::Level => Mode::Level,
                ModeArg::Edge => Mode::Edge,
                ModeArg::Oneshot => Mode::Oneshot,
                ModeArg::EdgeShared => Mode::EdgeShared,
            },
            threads: self.threads,
            accept: match self.accept {
                None | Some(AcceptArg::Reuseport) => Accept::Reuseport,
                Some(AcceptArg::Exclusive) => Accept::Exclusive,
            },
            pins: self.pin,
            connections_max: self.max_connections,
            connections_per_peer_max: self.max_per_peer,
            connections_per_s_max: self.max_connection_rate,
            buffered_bytes_max: self.max_buffered.map(|bytes| bytes.0),
            proxy_protocol: self.proxy_protocol.then(|| self.headers()),
            backlog: self.backlog,
            // An echo gives urgent bytes back too, though not as urgent ones.
            stream: StreamOptions { oob_inline: true, ..StreamOptions::default() },
            limits: Limits {
                read_buffer_len: len,
                splice_bytes_max,
                bytes_per_s_max: self.max_bytes_rate.map(|bytes| bytes.0),
                ..Limits::default()
            },
            timeouts: Timeouts {
                idle: self.idle_timeout.0,
                write: self.write_timeout.0,
                drain: self.drain_timeout.0,
                linger: self.linger_timeout.0,
                ..Timeouts::default()
            },
            drain_delay: self.drain_delay.0.unwrap_or_default(),
            metrics: self.metrics.map(|listen| Metrics { listen, extra: log::write_metrics }),
            busy_polling: self.busy_poll.0,
            before_exit: || log::flush(FLUSH_PATIENCE),
            // Only a file can change.
            adjustable: self.config.is_some(),
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::describe;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_one_line_that_names_the_flag_and_the_value() {
        for (flag, value) in [
            ("--listen", "localhost"),
            ("--mode", "both"),
            ("--splice", "sometimes"),
            ("--max-connections", "0"),
            ("--backlog", "many"),
            ("--max-connection-rate", "0"),
            ("--max-bytes-rate", "fast"),
            ("--max-buffered", "0"),
            ("--udp", "unix:/path"),
            ("--udp-rate", "0"),
            ("--quit-word", ""),
            ("--log", "loud"),
            ("--log", "3"),
            ("--log-format", "xml"),
            ("--proxy-timeout", "soon"),
            ("--idle-timeout", "soon"),
            ("--write-timeout", "-3s"),
            ("--drain-timeout", "30"),
            ("--linger-timeout", "99999999999999999999s"),
            ("--busy-poll", "50"),
            ("--busy-poll", "-50us"),
            ("--listen", "fd:"),
            ("--restart-timeout", "-1s"),
            ("--drain-delay", "-1s"),
            ("--metrics", "localhost"),
            ("--unix-mode", "rw-rw----"),
            ("--unix-owner", "no-such-user"),
            ("--read-buffer", "64k"),
        ] {
            let error = Args::try_parse_from(["epoll-server", flag, value]).unwrap_err();
            let line = describe(&error);
            assert!(line.contains(flag) && line.contains(&format!("'{value}'")), "{line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }

    #[test]
    fn what_is_spliced_at_once_is_what_a_read_could_bring() {
        let bytes_max = |flags: &str| {
            let words = ["epoll-server"].into_iter().chain(flags.split(' '));
            let limits = Args::try_parse_from(words).unwrap().config().limits;
            limits.splice_bytes_max.map(NonZeroUsize::get)
        };
        for (flags, expected) in [
            ("--pin", Some(65_536)),
            ("--splice auto --read-buffer 1", Some(1)),
            ("--splice on --read-buffer 256KiB", Some(262_144)),
            ("--splice off", None),
            ("--quit-word quit", None),
            ("--splice auto --quit-word quit", None),
            ("--splice auto --tls-cert cert.pem --tls-key key.pem", None),
        ] {
            assert_eq!(bytes_max(flags), expected, "{flags}");
        }
    }

    #[test]
    fn nothing_that_looks_at_every_byte_is_spliced() {
        for (flags, is_refused) in [
            ("--splice on", false),
            ("--splice on --quit-word quit", true),
            ("--splice on --tls-cert cert.pem --tls-key key.pem", true),
            ("--splice off --quit-word quit", false),
        ] {
            let words = ["epoll-server"].into_iter().chain(flags.split(' '));
            let contradiction = Args::try_parse_from(words).unwrap().contradiction();
            assert_eq!(contradiction.is_some(), is_refused, "{flags}: {contradiction:?}");
        }
    }
}
