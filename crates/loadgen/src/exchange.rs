//! The messages that a connection sends, and the checks of the answers: state machines that make no system call
//! and read no clock. Each protocol is one of them; pacing, sockets and figures know none.

mod answers;
mod datagrams;
mod echo;
mod http;
mod resp;
mod tls;

pub(crate) use datagrams::LENS as DATAGRAM_LENS;
pub(crate) use resp::VALUE_MAX;

use crate::address::Target;
use crate::failure::End;
use crate::pattern::Pattern;
use crate::plan::{Plan, Protocol};
use datagrams::Datagrams;
use echo::Echo;
use epoll_sys::Timestamp;
use http::{Http, Reference};
use resp::Resp;
use std::time::Duration;
use tls::{Client, Tls};

/// The protocol of all connections, with what they share.
#[derive(Debug)]
pub(crate) enum Exchanges {
    Echo(Pattern),
    Resp(Pattern),
    Http(Reference),
    TlsEcho(Pattern, Client),
    UdpEcho(Pattern),
}

impl Exchanges {
    /// Returns the protocol of a plan.
    ///
    /// # Errors
    ///
    /// Certificates that cannot be read, or a host that no certificate can name.
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        Ok(match &plan.protocol {
            Protocol::Echo => Self::Echo(Pattern::for_size(plan.size)),
            Protocol::Resp => Self::Resp(Pattern::for_size(plan.size)),
            Protocol::Http { path } => {
                // A path of a UNIX socket is no name of a host.
                let host = match &plan.target {
                    Target::Unix(_) => plan.target.host().to_owned(),
                    host @ Target::Host { .. } => host.to_string(),
                };
                Self::Http(Reference::new(path, &host))
            }
            Protocol::TlsEcho { ca } => {
                let client = Client::new(plan.target.host(), ca.as_deref())?;
                Self::TlsEcho(Pattern::for_size(plan.size), client)
            }
            Protocol::UdpEcho => Self::UdpEcho(Pattern::for_size(plan.size)),
        })
    }

    /// Returns the state of the connection with this number.
    pub(crate) fn connection(
        &self,
        number: u64,
        size: u64,
        in_flight_max: usize,
    ) -> Box<dyn Exchange + '_> {
        match self {
            Self::Echo(pattern) => Box::new(Echo::new(pattern, number, size, in_flight_max)),
            Self::Resp(pattern) => Box::new(Resp::new(pattern, number, size, in_flight_max)),
            Self::Http(reference) => Box::new(Http::new(reference, in_flight_max)),
            Self::TlsEcho(pattern, client) => {
                let echo = Echo::new(pattern, number, size, in_flight_max);
                Box::new(Tls::new(client, echo))
            }
            Self::UdpEcho(pattern) => {
                Box::new(Datagrams::new(pattern, number, size, in_flight_max))
            }
        }
    }

    /// Returns the size of a message in bytes: the one of the plan, or that of a body.
    pub(crate) fn size(&self, plan: &Plan) -> u64 {
        match self {
            Self::Echo(_) | Self::Resp(_) | Self::TlsEcho(..) | Self::UdpEcho(_) => plan.size,
            Self::Http(reference) => reference.body_len(),
        }
    }
}

/// The verdict on a request, with the time at which that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its answer is complete and right.
    Answered(Timestamp),
    /// The same, for a datagram that was sent before another one that has been answered.
    Reordered(Timestamp),
    /// A datagram was answered again.
    Duplicated(Timestamp),
    /// The answer to a datagram was wrong, for this reason. If it is not known which one was answered, none is.
    Wrong(Option<Timestamp>, String),
    /// The datagram with this index was not answered in time.
    Lost(Timestamp, u64),
    /// A datagram that was lost was answered, or one that was sent too long ago to know.
    Late(Option<Timestamp>),
}

/// One connection of a protocol. Requests on a stream are answered in their order.
pub(crate) trait Exchange: std::fmt::Debug + Send {
    /// Starts over as a new connection with this number, and forgets the requests in flight.
    fn restart(&mut self, number: u64);

    /// Returns whether one more request may be begun.
    fn has_room(&self) -> bool;

    /// Returns the number of requests that were begun and have not been answered.
    fn in_flight(&self) -> usize;

    /// Returns the number of requests in flight that were due at `from` or later.
    fn in_flight_since(&self, from: Timestamp) -> usize;

    /// Begins a request that was due at `due`, at the time `now`. There must be room for it.
    fn begin(&mut self, due: Timestamp, now: Timestamp);

    /// Returns the bytes to send next, or a part of them, or one datagram; an empty slice if there are none.
    fn unsent(&self) -> &[u8];

    /// Returns whether there are bytes to send.
    fn has_unsent(&self) -> bool {
        !self.unsent().is_empty()
    }

    /// Records that `len` bytes of [`unsent`](Self::unsent) were sent.
    fn sent(&mut self, len: usize);

    /// Checks bytes that came back, or a datagram, and calls `judged` for each request whose answer they
    /// complete. What is kept of an incomplete answer is bounded.
    ///
    /// # Errors
    ///
    /// The reason for which the bytes are not the right answer. The connection is of no more use.
    fn receive(&mut self, bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End>;

    /// Returns whether a datagram was sent `limit` ago or earlier and has not been answered.
    fn has_overdue(&self, _now: Timestamp, _limit: Duration) -> bool {
        false
    }

    /// Gives up these datagrams, and calls `judged` for each.
    fn give_up_overdue(
        &mut self,
        _now: Timestamp,
        _limit: Duration,
        _judged: &mut dyn FnMut(Verdict),
    ) {
    }

    /// Adds the last words before our half is closed to the bytes to send.
    fn finish(&mut self) {}
}
