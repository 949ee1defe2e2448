//! What a connection sends, and the check of what comes back: state machines that make no system call and read
//! no clock. Each protocol is one of them; pacing, sockets and figures know none.

mod answers;
mod echo;
mod http;
mod resp;
mod tls;

pub(crate) use resp::VALUE_MAX;

use crate::address::Target;
use crate::failure::End;
use crate::pattern::Pattern;
use crate::plan::{Plan, Protocol};
use echo::Echo;
use epoll_sys::Timestamp;
use http::{Http, Reference};
use resp::Resp;
use tls::{Client, Tls};

/// The protocol of all connections, with what they share.
#[derive(Debug)]
pub(crate) enum Exchanges {
    Echo(Pattern),
    Resp(Pattern),
    Http(Reference),
    TlsEcho(Pattern, Client),
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
        }
    }

    /// Returns the size of a message in bytes: the one of the plan, or that of a body.
    pub(crate) fn size(&self, plan: &Plan) -> u64 {
        match self {
            Self::Echo(_) | Self::Resp(_) | Self::TlsEcho(..) => plan.size,
            Self::Http(reference) => reference.body_len(),
        }
    }
}

/// One connection of a protocol, whose requests are answered in their order.
pub(crate) trait Exchange: std::fmt::Debug + Send {
    /// Starts over as a new connection with this number, and forgets the requests in flight.
    fn restart(&mut self, number: u64);

    /// Returns whether one more request may be begun.
    fn has_room(&self) -> bool;

    /// Returns the number of requests that were begun and have not been answered.
    fn in_flight(&self) -> usize;

    /// Returns the number of requests in flight that were due at `from` or later.
    fn in_flight_since(&self, from: Timestamp) -> usize;

    /// Begins a request that was due at `due`. There must be room for it.
    fn begin(&mut self, due: Timestamp);

    /// Returns the bytes to send next, or a part of them; an empty slice if there are none.
    fn unsent(&self) -> &[u8];

    /// Returns whether there are bytes to send.
    fn has_unsent(&self) -> bool {
        !self.unsent().is_empty()
    }

    /// Records that `len` bytes of [`unsent`](Self::unsent) were sent.
    fn sent(&mut self, len: usize);

    /// Checks bytes that came back, and calls `answered` with the due time of each request whose answer they
    /// complete. What is kept of an incomplete answer is bounded.
    ///
    /// # Errors
    ///
    /// The reason for which the bytes are not the right answer. The connection is of no more use.
    fn receive(&mut self, bytes: &[u8], answered: &mut dyn FnMut(Timestamp)) -> Result<(), End>;

    /// Adds the last words before our half is closed to the bytes to send.
    fn finish(&mut self) {}
}
