//! What a run is to do; the flags of the program.

use crate::address::Target;
use crate::pacing::Until;
use std::time::Duration;

/// What to do to the server. Numbers are at least 1 unless they say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// Connections that exchange messages.
    pub connections: u32,
    /// Connections that are only held, from 0.
    pub idle: u32,
    /// Threads, each with its share of the connections; at most as many as those.
    pub threads: u32,
    /// The size of a message in bytes, at most [`SIZE_MAX`](crate::pattern::SIZE_MAX).
    pub size: u64,
    /// Messages under way on a connection; 1 if `churn`.
    pub pipeline: u32,
    /// Requests a second of an open loop, above 0; a closed loop if `None`.
    pub rate: Option<f64>,
    /// How long the run is.
    pub until: Until,
    /// Whether each message has a connection of its own.
    pub churn: bool,
    /// How long an answer may take, and a connection to come about.
    pub answer_limit: Duration,
    /// The congestion control of the connections; the system's if `None`.
    pub congestion: Option<String>,
    /// The server's process, to measure it.
    pub server_pid: Option<u32>,
}

/// How requests follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// As soon as there is room for the next.
    Closed,
    /// At a rate of their own.
    Open,
    /// Each on a connection of its own.
    Churn,
}

impl Plan {
    /// How requests follow one another.
    #[must_use]
    pub fn kind(&self) -> Loop {
        match (self.churn, self.rate) {
            (true, _) => Loop::Churn,
            (false, Some(_)) => Loop::Open,
            (false, None) => Loop::Closed,
        }
    }

    /// How long the requests of an open loop take by their rate.
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
    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Churn => "churn",
        }
    }
}
