//! One connection as the service holds it: with its peer and its dates.

use crate::timeouts::Times;
use epoll_connection::{Awaits, Connection, Protocol, Step, StepRest, ThreadState};
use epoll_reactor::net::{Peer, Stream};
use epoll_reactor::{Readiness, Source, Token};
use epoll_timers::Timestamp;
use std::os::fd::{AsFd, BorrowedFd};

/// A connection as a reactor owns it.
#[derive(Debug)]
pub(crate) struct Client<P> {
    pub(crate) connection: Connection<P, Stream>,
    /// The time at which a byte last moved, or the connection began to linger.
    pub(crate) last_activity: Timestamp,
    /// The event that the timer is set for.
    pub(crate) awaits: Awaits,
    /// The time at which it was opened, in seconds, with [`TOLD_OF_DRAIN`] and [`LOOKED_AT`]; more would cost every
    /// connection eight bytes.
    began_s: u32,
    pub(crate) peer: Peer,
}

/// The protocol knows that the service drains.
const TOLD_OF_DRAIN: u32 = 1 << 31;
/// There may be a finding about it. The seconds below it are enough for 34 years.
const LOOKED_AT: u32 = 1 << 30;
const BEGAN: u32 = LOOKED_AT - 1;

/// The limit on memory per idle connection counts on this, for a protocol of one byte.
const _: () = assert!(size_of::<Client<u8>>() <= 64);

impl<P: Protocol> Client<P> {
    pub(crate) fn new(connection: Connection<P, Stream>, peer: Peer, now: Timestamp) -> Self {
        Self {
            last_activity: now,
            awaits: connection.awaits(),
            began_s: u32::try_from(now.since_epoch().as_secs()).unwrap_or(u32::MAX) & BEGAN,
            peer,
            connection,
        }
    }

    /// Begins a step and dates it if bytes have moved. `None` is [`Step::Wait`]; otherwise
    /// [`finish_step`](Self::finish_step) has to do the rest.
    #[inline(always)]
    pub(crate) fn begin_step(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<P>,
        now: Timestamp,
    ) -> Option<StepRest> {
        let rest = self.connection.begin_step(readiness, thread);
        if rest.is_none() {
            self.last_activity = now;
        }
        rest
    }

    #[inline]
    pub(crate) fn finish_step(
        &mut self,
        rest: StepRest,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        now: Timestamp,
    ) -> Step {
        let (has_received, before) = (rest.has_received(), self.moved());
        let step = self.connection.finish_step(rest, readiness, token, thread);
        if has_received || self.moved() != before {
            self.last_activity = now;
        }
        step
    }

    pub(crate) fn step(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        now: Timestamp,
    ) -> Step {
        match self.begin_step(readiness, thread, now) {
            None => Step::Wait,
            Some(rest) => self.finish_step(rest, readiness, token, thread, now),
        }
    }

    /// Makes a step, and dates it if bytes have moved. A peer that sends and takes nothing is reported
    /// again and again, but no byte moves.
    pub(crate) fn date(&mut self, now: Timestamp, step: impl FnOnce(&mut Self) -> Step) -> Step {
        let before = self.moved();
        let step = step(self);
        if self.moved() != before {
            self.last_activity = now;
        }
        step
    }

    /// Returns how many bytes have moved either way; while the peer has to take something, only what it took
    /// counts.
    fn moved(&self) -> u64 {
        let Self { connection, .. } = self;
        let is_waiting = connection.awaits() == Awaits::Room;
        connection.sent() + if is_waiting { 0 } else { connection.received() }
    }
}

impl<P> Client<P> {
    /// Returns for how many seconds it has lived, counted from the beginning of the second in which it was opened.
    pub(crate) fn lived_s(&self, now: Timestamp) -> u64 {
        now.since_epoch().as_secs().saturating_sub((self.began_s & BEGAN).into())
    }

    pub(crate) fn is_told_of_drain(&self) -> bool {
        self.began_s & TOLD_OF_DRAIN != 0
    }

    /// Notes that its protocol is told that the service drains. Returns whether it was told before.
    pub(crate) fn tell_of_drain(&mut self) -> bool {
        let before = self.began_s;
        self.began_s |= TOLD_OF_DRAIN;
        before & TOLD_OF_DRAIN != 0
    }

    /// Returns whether there may be a finding about it, which goes with it.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.began_s & LOOKED_AT != 0
    }

    /// Notes that there is a finding about it.
    pub(crate) fn set_looked_at(&mut self) {
        self.began_s |= LOOKED_AT;
    }

    /// Returns what its timeouts depend on.
    pub(crate) fn times(&self) -> Times {
        Times {
            awaits: self.connection.awaits(),
            is_finishing: self.connection.is_finishing(),
            last_activity: self.last_activity,
            protocol: self.connection.deadline(),
        }
    }
}

impl<P> AsFd for Client<P> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl<P> Source for Client<P> {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        self.connection.is_nonblocking()
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        self.connection.is_unshared()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use epoll_connection::{Clocks, ConnectionId, Consumed, Context, Flow, Limits};
    use std::io::Write;
    use std::time::Duration;

    /// A protocol that neither takes nor says anything.
    pub(crate) struct Silent;

    impl Protocol for Silent {
        type Local = ();
        type Message = ();

        fn on_input(&mut self, _: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
            Consumed::nothing()
        }
    }

    #[test]
    fn a_connection_is_told_of_the_drain_once_and_keeps_the_time_of_its_opening() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = epoll_reactor::net::Address::from(listener.local_addr().unwrap());
        let stream = Stream::connect(&address).unwrap();
        let opened = Timestamp::after_epoch(Duration::from_millis(5_900));
        let connection = Connection::new(Silent, stream);
        let mut client = Client::new(connection, Peer::from(&address), opened);
        let later = Timestamp::after_epoch(Duration::from_millis(7_100));
        assert_eq!([opened, later].map(|now| client.lived_s(now)), [0, 2]);
        // What the stream promises saves the reactor a system call each.
        assert!(client.is_nonblocking() && client.is_unshared());
        assert_eq!([client.tell_of_drain(), client.tell_of_drain()], [false, true]);
        assert!(!client.is_looked_at());
        client.set_looked_at();
        assert!(client.is_looked_at() && client.is_told_of_drain());
        assert_eq!(client.lived_s(later), 2);
    }

    /// Writes more than a socket takes, and forwards what arrives to nobody.
    struct Relay;

    impl Protocol for Relay {
        type Local = ();
        type Message = ();

        fn on_open(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
            context.write(&vec![0; 8 << 20]);
            Flow::Keep
        }

        fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
            Consumed::bytes(input.len())
        }

        fn forwards_to(&self) -> Option<ConnectionId> {
            Some(ConnectionId::new(0, Token::detached(7)))
        }
    }

    #[test]
    fn a_peer_that_sends_and_takes_nothing_is_dated_by_what_it_takes() {
        let (ours, mut theirs) = Stream::pair().unwrap();
        let address = "127.0.0.1:1".parse().map(epoll_reactor::net::Address::Inet).unwrap();
        let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
        let mut client = Client::new(Connection::new(Relay, ours), Peer::from(&address), at(1));
        let mut thread = ThreadState::new(0, (), Limits::default(), Clocks::default());
        let token = Token::detached(0);
        let step = client.date(at(2), |client| client.connection.open(token, &mut thread));
        assert_eq!((step, client.connection.awaits()), (Step::Changed, Awaits::Room));
        assert_eq!(client.last_activity, at(2));
        theirs.write_all(b"more").unwrap();
        let step = client.step(Readiness::IN, token, &mut thread, at(3));
        assert_eq!((step, client.connection.received()), (Step::Forward, 4));
        assert_eq!(client.last_activity, at(2));
    }
}
