//! One connection as the service holds it: with its peer, its dates and its timer.

use crate::timeouts::Times;
use epoll_connection::{Awaits, Connection, Protocol, Step, StepRest, ThreadState};
use epoll_reactor::net::{Peer, Stream};
use epoll_reactor::{Interest, Readiness, Source, Token};
use epoll_timers::{Key, Timestamp};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A connection as a reactor owns it.
#[derive(Debug)]
pub(crate) struct Client<P> {
    pub(crate) connection: Connection<P, Stream>,
    /// The time at which a byte last moved, or the connection began to linger.
    pub(crate) last_activity: Timestamp,
    /// The interest that is registered.
    pub(crate) registered: Interest,
    /// The event that the timer is set for.
    pub(crate) awaits: Awaits,
    /// The time at which it was opened, in seconds, and [`TOLD_OF_DRAIN`]; more would cost every connection
    /// eight bytes.
    began_s: u32,
    pub(crate) peer: Peer,
    /// Its timer, while it has one.
    pub(crate) timer: Option<Key>,
}

/// The protocol knows that the service drains. The seconds below it are enough for 68 years.
const TOLD_OF_DRAIN: u32 = 1 << 31;

/// The limit on memory per idle connection counts on this, for a protocol of one byte.
const _: () = assert!(size_of::<Client<u8>>() <= 80);

impl<P: Protocol> Client<P> {
    pub(crate) fn new(connection: Connection<P, Stream>, peer: Peer, now: Timestamp) -> Self {
        Self {
            last_activity: now,
            registered: connection.interest(),
            awaits: connection.awaits(),
            began_s: u32::try_from(now.since_epoch().as_secs()).unwrap_or(u32::MAX)
                & !TOLD_OF_DRAIN,
            peer,
            timer: None,
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

    #[inline(never)]
    pub(crate) fn finish_step(
        &mut self,
        rest: StepRest,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        now: Timestamp,
    ) -> Step {
        let has_received = rest.has_received();
        self.date(now, |client| {
            let step = client.connection.finish_step(rest, readiness, token, thread);
            if has_received {
                client.last_activity = now;
            }
            step
        })
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

    /// Returns how many bytes have moved either way.
    fn moved(&self) -> u64 {
        self.connection.received() + self.connection.sent()
    }
}

impl<P> Client<P> {
    /// Returns when it was opened, rounded down to a second.
    pub(crate) fn began(&self) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs((self.began_s & !TOLD_OF_DRAIN).into()))
    }

    /// Notes that its protocol is told that the service drains. Returns whether it was told before.
    pub(crate) fn tell_of_drain(&mut self) -> bool {
        let before = self.began_s;
        self.began_s |= TOLD_OF_DRAIN;
        before & TOLD_OF_DRAIN != 0
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
mod tests {
    use super::*;
    use epoll_connection::{Consumed, Context};

    struct Silent;

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
        let second = Timestamp::after_epoch(Duration::from_secs(5));
        assert_eq!(client.began(), second);
        assert_eq!([client.tell_of_drain(), client.tell_of_drain()], [false, true]);
        assert_eq!(client.began(), second);
    }
}
