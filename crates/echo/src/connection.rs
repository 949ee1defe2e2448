//! The state machine of one connection. Invariant: while a rest waits to be written nothing is read,
//! so the end of the stream is only ever met with everything echoed.
//!
//! Kernel facts: (a) a read that does not fill its buffer has drained a stream socket, unless the
//! end, an error or urgent data was announced with the event: then read on, for a read stops before
//! each of them; (b) an announced end or error
//! is a hint, the read or write that follows is the proof; (c) a write that was cut short means that
//! the socket is full, and that it will be reported when it has room again.

mod streaming;

use crate::quit::Progress;
use crate::{Awaits, Reason, Rules, Step, Transport};
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::{Interest, Readiness, Source};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// To close our half as soon as the transport is dry.
    Finish,
    /// To close our half as soon as what was read is written.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Data,
    Room,
    /// It was room, and there was some meanwhile. Whoever minds the time has to be told of both ends.
    RoomBefore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Echoing whatever comes; nothing waits to be written.
    Open,
    /// Echoing, and something besides: a rest waits, the owner has asked for the end, or there is a
    /// quit word to look out for.
    Attentive,
    /// Echoing much at a time, through a pipe.
    Streaming,
    /// Nothing more is read; what was read is still to be written.
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
    /// What the last [`Step::Watch`] was for.
    watched: Watched,
    /// What the owner has asked for.
    asked: Asked,
    /// When a byte last moved, or when the connection began to linger.
    since: Timestamp,
    received: u64,
    /// When the conversation began, in seconds; more would cost every connection eight bytes.
    began_s: u32,
}

/// The limit on memory per idle connection counts on this.
const _: () = assert!(size_of::<Connection<epoll_reactor::net::Stream>>() <= 48);

impl<T: Transport> Connection<T> {
    /// What to watch a new connection for.
    pub const FIRST_INTEREST: Interest = READING;

    /// A conversation over `transport` that begins at `now`, a time on the caller's clock. Every step
    /// is to be given the same `rules`.
    pub fn new(transport: T, rules: &Rules, now: Timestamp) -> Self {
        Self {
            transport,
            rest: Box::default(),
            rest_at: 0,
            phase: if rules.quit_word.is_none() { Phase::Open } else { Phase::Attentive },
            quit: Progress::default(),
            watched: Watched::Data,
            asked: Asked::Nothing,
            since: now,
            received: 0,
            began_s: u32::try_from(now.since_epoch().as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Moves the conversation on as far as `readiness` allows.
    ///
    /// `buffer` is what reads go to; its length bounds what the connection keeps. It must not be
    /// empty, nor longer than `u32::MAX`, and may be shared by all connections of a thread.
    // The usual way alone is in here; a call would cost a fifth of it.
    #[inline(always)]
    pub fn step(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        buffer: &mut [u8],
        now: Timestamp,
    ) -> Step {
        debug_assert!(!buffer.is_empty(), "nothing can be read into an empty buffer");
        if self.phase != Phase::Open {
            return self.step_beside(readiness, rules, buffer, now);
        }
        if !readiness.may_read() {
            return Step::Wait;
        }
        match self.read(buffer).and_then(|bytes| self.echo(bytes, now).map(|()| bytes.len())) {
            Ok(len) if is_drained(readiness, len, buffer) => Step::Wait,
            Ok(len) => {
                let step = self.exchange(readiness, rules, buffer, now, len);
                self.go_on(step, now)
            }
            Err(step) => self.go_on(step, now),
        }
    }

    /// A step off the usual way: something waits to be written, or the quit word matters.
    #[cold]
    fn step_beside(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        buffer: &mut [u8],
        now: Timestamp,
    ) -> Step {
        if !self.rest.is_empty() {
            if let Err(step) = self.write_rest(readiness, now) {
                return self.go_on(step, now);
            }
        } else if !readiness.may_read() {
            return self.go_on(Step::Wait, now);
        }
        // What arrived while a rest waited may not be reported again: look.
        let step = if self.phase == Phase::Streaming && is_all_bytes(readiness) {
            Step::Splice
        } else {
            self.exchange(readiness, rules, buffer, now, 0)
        };
        let step = self.go_on(step, now);
        let is_usual = self.is_free(rules) && self.watched == Watched::Data;
        if is_usual && self.phase == Phase::Attentive {
            self.phase = Phase::Open;
        }
        step
    }

    /// Whether it is nobody's business what the bytes are.
    fn is_free(&self, rules: &Rules) -> bool {
        rules.quit_word.is_none() && self.asked == Asked::Nothing
    }

    /// Ends the conversation as soon as the transport is dry: everything that has arrived is echoed,
    /// then our half is closed. The answer is that of a [`step`](Self::step).
    pub fn finish(&mut self, rules: &Rules, buffer: &mut [u8], now: Timestamp) -> Step {
        if self.awaits() == Awaits::Close || self.phase == Phase::Ending {
            return Step::Wait;
        }
        self.asked = Asked::Finish;
        self.phase = Phase::Attentive;
        if self.rest.is_empty() {
            self.step_beside(Readiness::IN, rules, buffer, now)
        } else {
            Step::Wait
        }
    }

    /// Ends the conversation as soon as what was read is written: nothing more is read but to be
    /// discarded. The answer is that of a [`step`](Self::step).
    pub fn end(&mut self, now: Timestamp) -> Step {
        if self.awaits() == Awaits::Close || self.phase == Phase::Ending {
            return Step::Wait;
        }
        self.asked = Asked::End;
        self.phase = Phase::Ending;
        if self.rest.is_empty() {
            let step = self.begin_to_linger(now);
            self.go_on(step, now)
        } else {
            Step::Wait
        }
    }

    /// Puts the answer of an exchange in terms of what is watched for now.
    #[cold]
    fn go_on(&mut self, step: Step, now: Timestamp) -> Step {
        let waits_for_room = !self.rest.is_empty();
        let wanted = if waits_for_room { Watched::Room } else { Watched::Data };
        let is_dry = step == Step::Wait && !waits_for_room;
        let step = match self.phase {
            Phase::Attentive if is_dry && self.asked == Asked::Finish => self.begin_to_linger(now),
            _ => step,
        };
        match step {
            Step::Linger => {
                self.watched = Watched::Data;
                step
            }
            Step::Yield | Step::Splice if self.watched == Watched::Room => {
                self.watched = Watched::RoomBefore;
                step
            }
            Step::Wait if self.watched != wanted => {
                self.watched = wanted;
                if self.phase == Phase::Open {
                    self.phase = Phase::Attentive;
                }
                Step::Watch(if waits_for_room { WRITING } else { READING })
            }
            step => step,
        }
    }

    /// Reads and echoes until the transport is dry or takes no more, which is a [`Step::Wait`], or
    /// the step, whose `last` read brought so many bytes, has moved enough.
    #[cold]
    fn exchange(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        buffer: &mut [u8],
        now: Timestamp,
        mut last: usize,
    ) -> Step {
        let mut moved = last;
        loop {
            if last == buffer.len() && last >= streaming::much(rules) && self.is_free(rules) {
                self.phase = Phase::Streaming;
                return Step::Splice;
            }
            if moved >= rules.step_bytes_max.max(1) {
                return Step::Yield;
            }
            let read = self.read(buffer).and_then(|bytes| match self.phase {
                Phase::Open | Phase::Streaming => self.echo(bytes, now).map(|()| bytes.len()),
                Phase::Attentive => self.echo_to_quit(rules, bytes, now).map(|()| bytes.len()),
                // The peer's last words after its quit word are for nobody.
                Phase::Ending | Phase::Lingering => Ok(bytes.len()),
            });
            match read {
                Ok(len) if is_drained(readiness, len, buffer) => return Step::Wait,
                Ok(len) => last = len,
                Err(step) => return step,
            }
            moved += last;
        }
    }

    #[inline(always)]
    fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Step> {
        match self.transport.read(buffer) {
            Ok(len) if len > 0 => Ok(&buffer[..len]),
            other => Err(self.nothing_read(other)),
        }
    }

    /// A read brought no bytes: the end, nothing for now, or an error.
    #[cold]
    fn nothing_read(&mut self, read: io::Result<usize>) -> Step {
        match read {
            Ok(_) => Step::Done(self.reason()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Wait,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::Yield,
            Err(error) => failed(error),
        }
    }

    #[inline(always)]
    fn echo(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), Step> {
        self.received += bytes.len() as u64;
        self.since = now;
        match self.transport.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            other => self.echo_in_part(other, bytes),
        }
    }

    /// A write did not take all of `bytes`: what is left is kept.
    #[cold]
    fn echo_in_part(&mut self, write: io::Result<usize>, bytes: &[u8]) -> Result<(), Step> {
        let written = taken(write, || self.transport.write(bytes));
        let left = &bytes[*written.as_ref().unwrap_or(&0)..];
        self.rest = left.into();
        self.rest_at = 0;
        match written.map_err(failed)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(Step::Wait),
        }
    }

    /// Echoes up to the end of the quit line, if it ends in these bytes.
    fn echo_to_quit(&mut self, rules: &Rules, bytes: &[u8], now: Timestamp) -> Result<(), Step> {
        let word = rules.quit_word.as_ref();
        let Some(end) = word.and_then(|word| word.find_end(&mut self.quit, bytes)) else {
            return self.echo(bytes, now);
        };
        self.phase = Phase::Ending;
        self.echo(&bytes[..end], now)?;
        Err(self.begin_to_linger(now))
    }

    /// Writes what is left from an earlier step.
    fn write_rest(&mut self, readiness: Readiness, now: Timestamp) -> Result<(), Step> {
        if !readiness.may_write() {
            return Err(Step::Wait);
        }
        let waiting = &self.rest[self.rest_at as usize..];
        let write = self.transport.write(waiting);
        let written = taken(write, || self.transport.write(waiting)).map_err(failed)?;
        if written > 0 {
            self.since = now;
        }
        if written < waiting.len() {
            self.rest_at += u32::try_from(written).unwrap_or(u32::MAX);
            return Err(Step::Wait);
        }
        self.rest = Box::default();
        self.rest_at = 0;
        if self.phase == Phase::Ending { Err(self.begin_to_linger(now)) } else { Ok(()) }
    }

    /// Closes our half once everything is written.
    fn begin_to_linger(&mut self, now: Timestamp) -> Step {
        if let Err(error) = self.transport.shutdown_write() {
            return failed(error);
        }
        self.phase = Phase::Lingering;
        self.since = now;
        Step::Linger
    }

    fn reason(&self) -> Reason {
        match self.phase {
            Phase::Open | Phase::Attentive | Phase::Streaming => Reason::PeerClosed,
            Phase::Ending | Phase::Lingering if self.asked == Asked::Nothing => Reason::Quit,
            Phase::Ending | Phase::Lingering => Reason::Ended,
        }
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
        self.received - self.buffered() as u64
    }

    /// How many bytes wait to be written.
    pub fn buffered(&self) -> usize {
        self.rest.len() - self.rest_at as usize
    }

    /// When it began, rounded down to a second.
    pub fn began(&self) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(self.began_s.into()))
    }

    /// What it waits for.
    pub fn awaits(&self) -> Awaits {
        match self.phase {
            Phase::Lingering => Awaits::Close,
            _ if self.rest.is_empty() => Awaits::Data,
            _ => Awaits::Room,
        }
    }

    /// Whether nothing more will be echoed than what was read already.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Lingering)
    }

    /// When a byte last moved, or when the connection began to linger.
    pub fn since(&self) -> Timestamp {
        self.since
    }
}

/// How many bytes a write took; made `again` where a signal interrupted it.
fn taken(
    mut write: io::Result<usize>,
    mut again: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match write {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            done => return done,
        }
        write = again();
    }
}

/// Whether a read of `len` bytes has emptied the transport for now.
#[inline]
fn is_drained(readiness: Readiness, len: usize, buffer: &[u8]) -> bool {
    len < buffer.len() && is_all_bytes(readiness)
}

/// Whether neither an end, nor an error, nor urgent data is announced.
#[inline]
fn is_all_bytes(readiness: Readiness) -> bool {
    !readiness.is_closing() && !readiness.contains(Readiness::PRI)
}

#[cold]
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(error: io::Error) -> Step {
    Step::Done(Reason::Failed(error.kind()))
}

const READING: Interest = Interest::IN.union(Interest::RDHUP);
/// Without `RDHUP`: a level-triggered wait for room would spin on a peer that is half-closed.
const WRITING: Interest = Interest::OUT;

impl<T: AsFd> AsFd for Connection<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

impl<T: Source> Source for Connection<T> {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        self.transport.is_nonblocking()
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        self.transport.is_unshared()
    }
}
