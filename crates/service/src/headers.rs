//! Connections that were accepted and whose header of the PROXY protocol is not complete. They have no protocol yet;
//! threads with a reactor of their own watch them for it.
//!
//! Nothing behind the header is taken out of the socket: what has arrived is peeked at first. So the protocol of the
//! connection begins as it always does.
//!
//! Kernel facts: (a) a socket whose bytes were only peeked at stays readable, so a level-triggered wait would spin;
//! the part of a header that has come is therefore read; (b) urgent data stops a read, and a peek, so either may
//! bring less than has arrived.

use crate::admission::Refusal;
use crate::proxy_header::{self, HEADER_MAX};
use crate::store::Event;
use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::{Address, Peer, Stream};
use epoll_reactor::{Interest, Reactor, Source, Token, Watch};
use epoll_timers::Timestamp;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A connection whose header is not complete. It counts as a connection, though not as one of its peer's address.
#[derive(Debug)]
pub(crate) struct Headless {
    /// The index of its listener.
    pub(crate) listener: usize,
    pub(crate) stream: Stream,
    /// The address of the balancer.
    pub(crate) peer: Peer,
    /// The part of the header that was read.
    read: Vec<u8>,
}

impl Headless {
    pub(crate) fn new(listener: usize, stream: Stream, peer: Peer) -> Self {
        Self { listener, stream, peer, read: Vec::new() }
    }

    /// Reads what has arrived of the header, and nothing behind it. Returns whose connection it is, once that is
    /// known.
    pub(crate) fn read(&mut self) -> Option<Result<Peer, Refusal>> {
        let mut buffer = [0; HEADER_MAX];
        let before = self.read.len();
        buffer[..before].copy_from_slice(&self.read);
        let arrived = match socket::peek(&self.stream, &mut buffer[before..]) {
            Ok(0) => return Some(Err(Refusal::HeaderMissing)),
            Ok(len) => before + len,
            Err(error) if is_temporary(&error) => return None,
            Err(_) => return Some(Err(Refusal::HeaderMissing)),
        };
        let Ok(header) = proxy_header::parse(&buffer[..arrived]) else {
            return Some(Err(Refusal::HeaderWrong));
        };
        // What was read before was no complete header, so this one is longer.
        let end = header.map_or(arrived, |header| header.len);
        match self.stream.read(&mut buffer[before..end]) {
            Ok(len) if before + len == end => {}
            // It was there a moment ago.
            _ => return Some(Err(Refusal::HeaderWrong)),
        }
        let Some(header) = header else {
            self.read.extend_from_slice(&buffer[before..end]);
            return None;
        };
        Some(Ok(header.client.map_or(self.peer, |client| Peer::from(&Address::from(client)))))
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Connections that were accepted and have yet to be watched for their headers.
#[derive(Debug, Default)]
pub(crate) struct HeaderQueue(Mutex<Vec<Headless>>);

impl HeaderQueue {
    pub(crate) fn push(&self, headless: Headless) {
        self.lock().push(headless);
    }

    fn take(&self) -> Vec<Headless> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Headless>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections that a thread watches for their headers.
#[derive(Debug)]
pub(crate) struct Headers {
    timeout: Duration,
    queue: Arc<HeaderQueue>,
    /// By a number, so in the order in which they came, which is that of their deadlines whatever the timeout.
    watched: BTreeMap<usize, Watched>,
    next: usize,
    /// The time of the next reminder to look at deadlines.
    reminder: Option<Timestamp>,
}

#[derive(Debug)]
struct Watched {
    headless: Headless,
    token: Token,
    since: Timestamp,
}

impl Headers {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, queue: Arc::default(), watched: BTreeMap::new(), next: 0, reminder: None }
    }

    /// Changes the time that a header may take, also for connections that are watched already.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Returns the queue from which the thread takes connections.
    pub(crate) fn queue(&self) -> Arc<HeaderQueue> {
        Arc::clone(&self.queue)
    }

    /// Returns how many connections have no complete header.
    pub(crate) fn len(&self) -> usize {
        self.watched.len() + self.queue.lock().len()
    }

    /// Watches those that were accepted since. Returns those that the kernel does not watch.
    pub(crate) fn watch_queued<T: Source>(
        &mut self,
        now: impl Fn() -> Timestamp,
        reactor: &mut Reactor<T, Event>,
    ) -> Vec<(Headless, io::Error)> {
        let mut failed = Vec::new();
        for headless in self.queue.take() {
            let watch = Watch::level(Interest::IN);
            match reactor.watch(&headless.stream, Event::Header(self.next), watch) {
                Ok(token) => {
                    let since = now();
                    self.watched.insert(self.next, Watched { headless, token, since });
                    self.next += 1;
                }
                Err(error) => failed.push((headless, error)),
            }
        }
        failed
    }

    /// Reads from the connection with this number. Returns it once it is known whose it is; then it is not watched
    /// any more.
    pub(crate) fn read<T: Source>(
        &mut self,
        number: usize,
        reactor: &mut Reactor<T, Event>,
    ) -> Option<(Headless, Result<Peer, Refusal>)> {
        // A report may be left of one that was taken out.
        let outcome = self.watched.get_mut(&number)?.headless.read()?;
        Some((self.take(number, reactor)?, outcome))
    }

    /// Takes out a connection whose deadline, or half of the time of the drain, has passed.
    pub(crate) fn take_late<T: Source>(
        &mut self,
        now: Timestamp,
        half_time: Option<Timestamp>,
        reactor: &mut Reactor<T, Event>,
    ) -> Option<(Headless, Result<Peer, Refusal>)> {
        self.reminder = self.reminder.filter(|time| *time > now);
        if self.next_deadline(half_time)? > now {
            return None;
        }
        let number = *self.watched.first_key_value()?.0;
        let mut headless = self.take(number, reactor)?;
        // The thread may be the one that is late.
        let outcome = headless.read().unwrap_or(Err(Refusal::HeaderLate));
        Some((headless, outcome))
    }

    /// Returns the time at which to ask for [those that are late](Self::take_late), unless a reminder is set that
    /// comes no later.
    pub(crate) fn next_reminder(&mut self, half_time: Option<Timestamp>) -> Option<Timestamp> {
        // With an endless timeout there is none.
        let time = self.next_deadline(half_time).filter(|time| *time < Timestamp::MAX)?;
        if self.reminder.is_some_and(|set| set <= time) {
            return None;
        }
        self.reminder = Some(time);
        Some(time)
    }

    fn next_deadline(&self, half_time: Option<Timestamp>) -> Option<Timestamp> {
        let (_, first) = self.watched.first_key_value()?;
        let deadline = first.since + self.timeout;
        Some(half_time.map_or(deadline, |half_time| half_time.min(deadline)))
    }

    fn take<T: Source>(
        &mut self,
        number: usize,
        reactor: &mut Reactor<T, Event>,
    ) -> Option<Headless> {
        let Watched { headless, token, .. } = self.watched.remove(&number)?;
        if let Err(error) = reactor.unwatch(token, &headless.stream) {
            tracing::warn!(%error, "connection still watched for its header");
        }
        Some(headless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_reactor::{NoSource, Ready};
    use std::io::Write;

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n";

    fn balancer() -> Peer {
        Peer::from(&"127.0.0.1:1".parse::<Address>().unwrap())
    }

    fn client() -> Peer {
        Peer::from(&"192.0.2.1:50000".parse::<Address>().unwrap())
    }

    fn headless() -> (Headless, Stream) {
        let (ours, theirs) = Stream::pair().unwrap();
        (Headless::new(0, ours, balancer()), theirs)
    }

    #[test]
    fn a_header_in_any_pieces_is_read_and_nothing_behind_it() {
        for piece in 1..=HEADER.len() {
            let (mut headless, mut theirs) = headless();
            assert_eq!(headless.read(), None);
            let mut pieces = HEADER.chunks(piece).peekable();
            while let Some(bytes) = pieces.next() {
                theirs.write_all(bytes).unwrap();
                if pieces.peek().is_some() {
                    assert_eq!(headless.read(), None);
                }
            }
            theirs.write_all(b"hello").unwrap();
            assert_eq!(headless.read(), Some(Ok(client())), "pieces of {piece} bytes");
            let mut rest = [0; 16];
            assert_eq!(headless.stream.read(&mut rest).unwrap(), 5);
        }
    }

    #[test]
    fn who_names_nobody_is_the_peer_itself() {
        let (mut headless, mut theirs) = headless();
        theirs.write_all(b"PROXY UNKNOWN\r\nhello").unwrap();
        assert_eq!(headless.read(), Some(Ok(balancer())));
    }

    #[test]
    fn what_is_wrong_is_told_from_what_ends_too_early() {
        let (mut wrong, mut theirs) = headless();
        theirs.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(wrong.read(), Some(Err(Refusal::HeaderWrong)));
        for begin in [&b""[..], &HEADER[..20]] {
            let (mut missing, mut theirs) = headless();
            theirs.write_all(begin).unwrap();
            assert_eq!(missing.read(), None);
            drop(theirs);
            assert_eq!(missing.read(), Some(Err(Refusal::HeaderMissing)));
        }
    }

    /// Returns the numbers of the connections that are reported.
    fn reported(reactor: &mut Reactor<NoSource, Event>) -> Vec<usize> {
        reactor.wait(Some(Duration::ZERO)).unwrap();
        let mut numbers = Vec::new();
        while let Some(ready) = reactor.next_ready() {
            if let Ready::Watched { tag: Event::Header(number), .. } = ready {
                numbers.push(number);
            }
        }
        numbers
    }

    #[test]
    fn a_part_of_a_header_is_reported_once() {
        let mut reactor = Reactor::new().unwrap();
        let mut headers = Headers::new(Duration::from_secs(3));
        let (waiting, mut theirs) = headless();
        headers.queue().push(waiting);
        assert!(headers.watch_queued(|| Timestamp::EPOCH, &mut reactor).is_empty());
        assert_eq!(reported(&mut reactor), []);
        theirs.write_all(&HEADER[..20]).unwrap();
        assert_eq!(reported(&mut reactor), [0]);
        assert!(headers.read(0, &mut reactor).is_none());
        assert_eq!(reported(&mut reactor), [], "it does not spin");
        theirs.write_all(&HEADER[20..]).unwrap();
        assert_eq!(reported(&mut reactor), [0]);
        let (_served, outcome) = headers.read(0, &mut reactor).expect("a complete header");
        assert_eq!((outcome, headers.len()), (Ok(client()), 0));
        theirs.write_all(b"more").unwrap();
        assert_eq!(reported(&mut reactor), [], "it is not watched any more");
        assert!(headers.read(0, &mut reactor).is_none());
    }

    #[test]
    fn those_that_are_late_come_in_order_and_a_reminder_is_set_once() {
        let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
        let mut reactor: Reactor<NoSource, Event> = Reactor::new().unwrap();
        let mut headers = Headers::new(Duration::from_secs(3));
        let mut peers = Vec::new();
        for seconds in [10, 11, 12] {
            let (waiting, theirs) = headless();
            peers.push(theirs);
            headers.queue().push(waiting);
            headers.watch_queued(|| at(seconds), &mut reactor);
        }
        assert_eq!(headers.next_reminder(None), Some(at(13)));
        assert_eq!(headers.next_reminder(None), None);
        assert!(headers.take_late(at(12), None, &mut reactor).is_none());
        assert_eq!(headers.next_reminder(None), None);
        let (_, outcome) = headers.take_late(at(13), None, &mut reactor).expect("the first one");
        assert_eq!(outcome, Err(Refusal::HeaderLate));
        assert!(headers.take_late(at(13), None, &mut reactor).is_none());
        assert_eq!(headers.next_reminder(None), Some(at(14)));
        // Half of the time of a drain is earlier, and this one has come meanwhile.
        peers[1].write_all(HEADER).unwrap();
        assert_eq!(headers.next_reminder(Some(at(13))), Some(at(13)));
        let outcomes = [(); 3].map(|()| {
            headers.take_late(at(13), Some(at(13)), &mut reactor).map(|(_, outcome)| outcome)
        });
        assert_eq!(outcomes, [Some(Ok(client())), Some(Err(Refusal::HeaderLate)), None]);
        assert_eq!(headers.next_reminder(Some(at(13))), None);
    }

    #[test]
    fn another_timeout_holds_for_those_that_are_watched_already() {
        let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
        let mut reactor: Reactor<NoSource, Event> = Reactor::new().unwrap();
        let mut headers = Headers::new(Duration::from_secs(30));
        let mut peers = Vec::new();
        for seconds in [10, 12] {
            let (waiting, theirs) = headless();
            peers.push(theirs);
            headers.queue().push(waiting);
            headers.watch_queued(|| at(seconds), &mut reactor);
            headers.set_timeout(Duration::from_secs(5));
        }
        assert_eq!(headers.next_reminder(None), Some(at(15)));
        assert!(headers.take_late(at(15), None, &mut reactor).is_some());
        headers.set_timeout(Duration::from_secs(60));
        assert_eq!(headers.next_reminder(None), Some(at(72)));
        assert!(headers.take_late(at(71), None, &mut reactor).is_none());
        headers.set_timeout(Duration::from_secs(4));
        // The reminder that was set comes too late.
        assert_eq!(headers.next_reminder(None), Some(at(16)));
        assert!(headers.take_late(at(16), None, &mut reactor).is_some());
        assert_eq!(headers.len(), 0);
    }

    #[test]
    fn without_a_timeout_no_reminder_is_set() {
        let mut reactor: Reactor<NoSource, Event> = Reactor::new().unwrap();
        let mut headers = Headers::new(Duration::MAX);
        let (waiting, _theirs) = headless();
        headers.queue().push(waiting);
        headers.watch_queued(Timestamp::now, &mut reactor);
        assert_eq!((headers.next_reminder(None), headers.len()), (None, 1));
        assert!(headers.take_late(Timestamp::now(), None, &mut reactor).is_none());
    }
}
