//! The plan of a run, which the flags of the program describe.

use crate::address::Target;
use crate::pacing::Until;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The plan of a run. Numbers are at least 1 unless documented otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// The number of connections that exchange messages.
    pub connections: u32,
    /// The number of idle connections, from 0.
    pub idle: u32,
    /// The number of threads, which share the connections; at most as many as those.
    pub threads: u32,
    /// The protocol of the messages.
    pub protocol: Protocol,
    /// The size of a message, or of a value of RESP, in bytes; of no meaning for HTTP. At most
    /// [`SIZE_MAX`](crate::pattern::SIZE_MAX).
    pub size: u64,
    /// The number of messages in flight on a connection; 1 if `churn`. Without meaning for datagrams of an open
    /// loop, which are sent regardless of others.
    pub pipeline: u32,
    /// The number of requests a second of an open loop, above 0; `None` is a closed loop.
    pub rate: Option<f64>,
    /// The length of the run, the warm-up not included.
    pub until: Until,
    /// The number of requests of each connection in a closed loop, whose product with the number of
    /// connections is in `until`; `None` leaves it to the connections how they share the requests.
    pub requests_per_connection: Option<u64>,
    /// The time before the run in which requests are sent and not counted; may be zero.
    pub warmup: Duration,
    /// The time over which the connections are opened; may be zero.
    pub ramp_up: Duration,
    /// The length of an interval of the series.
    pub interval: Duration,
    /// Each message has a connection of its own.
    pub churn: bool,
    /// A lost connection is not made again, and the run ends with the last one.
    pub abort_on_error: bool,
    /// The local addresses of the connections, which are used in turn; the choice is left to this program
    /// and the kernel if there are none.
    pub sources: Vec<IpAddr>,
    /// The time limit for an answer, and for establishing a connection.
    pub answer_limit: Duration,
    /// The congestion control of the connections; the system's default if `None`.
    pub congestion: Option<String>,
    /// The number of the server's process, if it is to be measured.
    pub server_pid: Option<u32>,
}

/// The protocol of the messages, each of which is checked byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Every byte comes back.
    Echo,
    /// The protocol of redis: a key is set and got in turn.
    Resp,
    /// HTTP/1.1: one path is got.
    Http {
        /// The path.
        path: String,
    },
    /// Every byte comes back, over TLS.
    TlsEcho {
        /// The file of the certificates that the server's has to be signed by; `None` accepts any.
        ca: Option<PathBuf>,
    },
    /// Every datagram comes back, over UDP: each connection is a socket, and a message has from 8 to 65 507 bytes.
    UdpEcho,
}

impl Protocol {
    /// Returns the name that the command line and reports use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Resp => "resp",
            Self::Http { .. } => "http",
            Self::TlsEcho { .. } => "tls-echo",
            Self::UdpEcho => "udp-echo",
        }
    }
}

/// The rule by which a request follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// A request is sent as soon as a connection has room.
    Closed,
    /// Requests are sent at a fixed rate.
    Open,
    /// Each request has a connection of its own.
    Churn,
}

impl Plan {
    /// Returns the largest number of messages in flight on a connection.
    pub(crate) fn in_flight_max(&self) -> u32 {
        match self.rate {
            // Lost datagrams must not keep the next ones from being sent when they are due. No more are kept than
            // are sent within the time limit of an answer.
            Some(_) if self.has_datagrams() => u32::MAX,
            _ => self.pipeline,
        }
    }

    /// Returns whether messages are datagrams.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        self.protocol == Protocol::UdpEcho
    }

    /// Returns the rule by which requests follow one another.
    #[must_use]
    pub fn kind(&self) -> Loop {
        match (self.churn, self.rate) {
            (true, _) => Loop::Churn,
            (false, Some(_)) => Loop::Open,
            (false, None) => Loop::Closed,
        }
    }

    /// Returns the time that the requests of an open loop take at their rate.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        let rate = self.rate?;
        Some(match self.until {
            Until::Elapsed(time) => time,
            #[allow(clippy::cast_precision_loss, reason = "nobody waits for so many")]
            Until::Requests(count) => {
                Duration::try_from_secs_f64(count as f64 / rate).unwrap_or(Duration::MAX)
            }
        })
    }
}

impl Loop {
    /// Returns the name that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Churn => "churn",
        }
    }
}
