//! The state machine of one connection. Invariant: while a rest waits to be written nothing is read,
//! so the end of the stream is only ever met with everything echoed.
//!
//! Kernel facts: (a) a read that does not fill its buffer has drained a stream socket, unless the
//! end or an error was announced with the event: then read on to it; (b) an announced end or error
//! is a hint, the read or write that follows is the proof; (c) a write that was cut short means that
//! the socket is full, and that it will be reported when it has room again.

use crate::quit::Progress;
use crate::{QuitWord, Transport};
use epoll_reactor::{Interest, Readiness, Source};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What all connections of a service have in common.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The line that ends a conversation. It is echoed; what follows it is not.
    pub quit_word: Option<QuitWord>,
    /// How many bytes a connection may move in one step before it gives way to the others.
    pub step_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { quit_word: None, step_bytes_max: 256 * 1024 }
    }
}

/// What a connection answers to [`Connection::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again when the transport is ready for this.
    Wait(Interest),
    /// Call again after the others, with the same readiness: the transport is not dry.
    Yield,
    /// The conversation is over; drop the connection.
    Done(Reason),
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The peer closed its half, and got back everything that it had sent.
    PeerClosed,
    /// The peer said the quit word, got everything up to it, and closed its half too.
    Quit,
    /// A read or a write failed this way, for example because the peer reset the connection.
    Failed(io::ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Echoing.
    Open,
    /// The quit word was read; what was read before it is still to be written.
    Ending,
    /// Our half is closed; what the peer still sends is discarded until it closes its own.
    Lingering,
}

/// One echo connection over a [`Transport`].
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Debug)]
pub struct Connection<T> {
    transport: T,
    /// What was read and not yet written, from `rest_at` on. Empty, and not allocated, at rest.
    rest: Box<[u8]>,
    rest_at: u32,
    phase: Phase,
    quit: Progress,
    /// When a byte last moved, or when the connection began to linger, in nanoseconds.
    since: u64,
    received: u64,
    sent: u64,
}

/// The limit on memory per idle connection counts on this.
const _: () = assert!(size_of::<Connection<epoll_reactor::net::Stream>>() <= 56);

impl<T: Transport> Connection<T> {
    /// What to watch a new connection for.
    pub const FIRST_INTEREST: Interest = READING;

    /// A conversation over `transport` that begins at `now`, a time on the caller's clock.
    pub fn new(transport: T, now: Duration) -> Self {
        Self {
            transport,
            rest: Box::default(),
            rest_at: 0,
            phase: Phase::Open,
            quit: Progress::default(),
            since: nanoseconds(now),
            received: 0,
            sent: 0,
        }
    }

    /// Moves the conversation on as far as `readiness` allows.
    ///
    /// `buffer` is what reads go to; its length bounds what the connection keeps. It must not be
    /// empty, nor longer than `u32::MAX`, and may be shared by all connections of a thread.
    ///
    /// # Panics
    ///
    /// If `buffer` is empty.
    #[inline]
    pub fn step(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        buffer: &mut [u8],
        now: Duration,
    ) -> Step {
        assert!(!buffer.is_empty(), "the buffer to read into is empty");
        let before = (self.received, self.sent);
        let step = self.advance(readiness, rules, buffer, now);
        if before != (self.received, self.sent) {
            self.since = nanoseconds(now);
        }
        step.unwrap_or_else(|error| Step::Done(Reason::Failed(error.kind())))
    }

    #[inline]
    fn advance(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        buffer: &mut [u8],
        now: Duration,
    ) -> io::Result<Step> {
        if !self.rest.is_empty() {
            if !readiness.may_write() || !self.flush()? {
                return Ok(Step::Wait(WRITING));
            }
            // What arrived while the rest waited may not be reported again: look.
        } else if !readiness.may_read() {
            return Ok(Step::Wait(READING));
        }
        let mut budget = rules.step_bytes_max.max(1);
        loop {
            if self.phase == Phase::Ending {
                self.transport.shutdown_write()?;
                self.phase = Phase::Lingering;
                self.since = nanoseconds(now);
            }
            if budget == 0 {
                return Ok(Step::Yield);
            }
            let len = match self.transport.read(buffer) {
                Ok(0) => return Ok(Step::Done(self.reason())),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Step::Wait(READING));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    budget -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            budget = budget.saturating_sub(len);
            if self.phase == Phase::Open && !self.echo(&buffer[..len], rules)? {
                return Ok(Step::Wait(WRITING));
            }
            let drained = len < buffer.len() && !readiness.is_closing();
            if drained && self.phase != Phase::Ending {
                return Ok(Step::Wait(READING));
            }
        }
    }

    /// Writes what was read, up to the quit word; `false` when a rest is left.
    #[inline]
    fn echo(&mut self, bytes: &[u8], rules: &Rules) -> io::Result<bool> {
        self.received += bytes.len() as u64;
        let mut bytes = bytes;
        if let Some(word) = &rules.quit_word {
            if let Some(end) = word.find_end(&mut self.quit, bytes) {
                bytes = &bytes[..end];
                self.phase = Phase::Ending;
            }
        }
        let written = write(&mut self.transport, bytes)?;
        self.sent += written as u64;
        if written == bytes.len() {
            return Ok(true);
        }
        self.keep(&bytes[written..]);
        Ok(false)
    }

    #[cold]
    fn keep(&mut self, bytes: &[u8]) {
        self.rest = bytes.into();
        self.rest_at = 0;
    }

    /// Writes the rest; `false` when some is left.
    #[cold]
    fn flush(&mut self) -> io::Result<bool> {
        let waiting = &self.rest[self.rest_at as usize..];
        let written = write(&mut self.transport, waiting)?;
        self.sent += written as u64;
        if written == waiting.len() {
            self.rest = Box::default();
            self.rest_at = 0;
            return Ok(true);
        }
        self.rest_at += u32::try_from(written).unwrap_or(u32::MAX);
        Ok(false)
    }

    fn reason(&self) -> Reason {
        if self.phase == Phase::Open { Reason::PeerClosed } else { Reason::Quit }
    }
}

impl<T> Connection<T> {
    /// The transport, for what is not echoing: its address, its options.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// How many bytes were read from the peer, those after a quit word not counted.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes were written to the peer.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes wait to be written.
    pub fn buffered(&self) -> usize {
        self.rest.len() - self.rest_at as usize
    }

    /// When a byte last moved, or when the connection began to linger.
    pub fn since(&self) -> Duration {
        Duration::from_nanos(self.since)
    }
}

/// As much of `bytes` as the transport takes at once.
#[inline]
fn write(transport: &mut impl Transport, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match transport.write(bytes) {
            Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

const READING: Interest = Interest::IN.union(Interest::RDHUP);
/// Without `RDHUP`: a level-triggered wait for room would spin on a peer that is half-closed.
const WRITING: Interest = Interest::OUT;

/// 584 years of nanoseconds fit.
#[inline]
fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.subsec_nanos()))
}

impl<T: AsFd> AsFd for Connection<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

impl<T: Source> Source for Connection<T> {
    const NONBLOCKING: bool = T::NONBLOCKING;
    const UNSHARED: bool = T::UNSHARED;
}
