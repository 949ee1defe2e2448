//! The state machine of one connection.
//!
//! Invariants: (a) while output waits for room, no input is read or shown, so memory is bounded. The
//! exception is a protocol that forwards everything: what it reads waits in another connection, which bounds
//! it. (b) Without a flag nothing is kept and the transport is known to be dry, so a step without a flag is
//! the usual case.
//!
//! Kernel facts: (a) a read that does not fill its buffer has drained a stream socket, unless the end, an
//! error or urgent data was announced with the event: then read on, for a read stops before each of them;
//! (b) an announced end or error is a hint, the read or write that follows is the proof; (c) a write that
//! was cut short means that the socket is full, and that it will be reported when it has room again.

mod advance;
mod cold;
mod forward;
mod forwarding;
mod input;
mod output;
mod owner;
mod pacing;
mod splicing;

use crate::context::Changes;
use crate::{Awaits, CloseReason, Consumed, Context, Protocol, Step, ThreadState, Transport};
use bitflags::bitflags;
use cold::Cold;
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::{Interest, Readiness, Source, Token};
pub use forward::Forward;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

bitflags! {
    /// Everything that is not the usual case.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Flags: u16 {
        /// An outgoing connection that is not established.
        const CONNECTING = 1 << 0;
        /// The transport is not known to be dry.
        const READABLE = 1 << 1;
        /// Input is kept that the protocol has not consumed.
        const KEPT = 1 << 2;
        /// The kept input is shown as soon as neither a pause nor waiting output forbids it; it need not
        /// wait for more.
        const FRESH = 1 << 3;
        /// Output waits for room.
        const BLOCKED = 1 << 4;
        /// Callbacks of messages were called, and `settle` was not called since.
        const UNSETTLED = 1 << 5;
        /// The protocol wants no input.
        const PAUSED = 1 << 6;
        /// Input was reported during the pause, so the interest is empty until it ends.
        const SILENCED = 1 << 7;
        /// `on_written` is to be called when everything is sent.
        const WRITTEN_DUE = 1 << 8;
        /// Our half is closed as soon as everything is sent; input is not shown any more. With
        /// `OUTPUT_CLOSED` the connection lingers: what arrives is discarded.
        const FINISHING = 1 << 9;
        /// The owner wants an end as soon as the transport is dry.
        const FINISH_WHEN_DRY = 1 << 10;
        /// The owner wanted the end.
        const DRAINED = 1 << 11;
        /// The peer has closed its half.
        const PEER_FINISHED = 1 << 12;
        /// The protocol has ended its output.
        const ENDS_OUTPUT = 1 << 13;
        /// Our half is closed.
        const OUTPUT_CLOSED = 1 << 14;
        /// Bytes are spliced.
        const STREAMING = 1 << 15;
    }
}

/// One connection that speaks `P` over the [`Transport`] `T`.
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Debug)]
pub struct Connection<P, T> {
    transport: T,
    flags: Flags,
    protocol: P,
    received: u64,
    sent: u64,
    /// The state that most connections do not have at rest.
    cold: Option<Box<Cold>>,
}

/// The interest while input is awaited.
const READING: Interest = Interest::IN.union(Interest::RDHUP);
/// The interest while output waits. Without `RDHUP`: a level-triggered wait for room would spin on a
/// peer that has closed its half.
const WRITING: Interest = Interest::OUT;

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// The interest of a connection that was accepted.
    pub const FIRST_INTEREST: Interest = READING;

    /// Returns a connection that is established. Its first step is [`open`](Self::open).
    pub fn new(protocol: P, transport: T) -> Self {
        Self { transport, flags: Flags::empty(), protocol, received: 0, sent: 0, cold: None }
    }

    /// Returns an outgoing connection that is being established. It is opened by the first step that
    /// finds it established.
    pub fn connecting(protocol: P, transport: T) -> Self {
        Self { flags: Flags::CONNECTING, ..Self::new(protocol, transport) }
    }

    /// Handles `readiness`, as far as it and the budget allow. `token` is the name of the connection;
    /// `thread` may be that of any thread, and is that of the calling one.
    #[inline(always)]
    pub fn step(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        match self.begin_step(readiness, thread) {
            None => Step::Wait,
            Some(rest) => self.finish_step(rest, readiness, token, thread),
        }
    }

    /// Begins a [`step`](Self::step). `None` is [`Step::Wait`]; otherwise the rest goes to
    /// [`finish_step`](Self::finish_step) at once.
    ///
    /// A loop that keeps the second call out of line keeps its usual case in registers.
    #[inline(always)]
    pub fn begin_step(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<P>,
    ) -> Option<StepRest> {
        self.pass_message(readiness, thread).map(StepRest)
    }

    /// Finishes a step that [`begin_step`](Self::begin_step) has left.
    #[inline(never)]
    pub fn finish_step(
        &mut self,
        rest: StepRest,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        match rest.0 {
            Exit::Input(len) if len <= thread.input.len() => {
                match self.receive_message(len, readiness, token, thread) {
                    None => Step::Wait,
                    Some(exit) => self.leave(exit, readiness, token, thread),
                }
            }
            exit => self.leave(exit, readiness, token, thread),
        }
    }

    /// Reads a message and passes it back, the usual case of a protocol that passes everything. Returns the
    /// point at which the step is no longer the usual one.
    #[inline(always)]
    fn pass_message(&mut self, readiness: Readiness, thread: &mut ThreadState<P>) -> Option<Exit> {
        if !self.flags.is_empty() {
            return Some(Exit::Unusual);
        }
        if !readiness.may_read() {
            return None;
        }
        let len = match self.transport.read(&mut thread.input) {
            Ok(len) if len > 0 => len,
            read => return Some(Exit::NothingRead(read)),
        };
        self.received += len as u64;
        if !self.protocol.passes_everything(&thread.local) {
            return Some(Exit::Input(len));
        }
        // More than fits is refused where the exit is handled.
        let Some(message) = thread.input.get(..len) else { return Some(Exit::NotDry(len)) };
        match self.transport.write(message) {
            Ok(written) if written == len => self.sent += written as u64,
            write => return Some(Exit::CutShort { write, passed: true, len }),
        }
        if is_drained(readiness, len, thread.input.len()) { None } else { Some(Exit::NotDry(len)) }
    }

    /// Shows the protocol the `len` bytes that were read, and sends the answer.
    #[inline]
    fn receive_message(
        &mut self,
        len: usize,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Option<Exit> {
        let mut changes = Changes::default();
        let mut context = Context {
            local: &mut thread.local,
            output: &mut thread.output,
            turn: &mut thread.turn,
            changes: &mut changes,
            token,
            pending: 0,
            is_transformed: false,
        };
        let input = &mut thread.input[..len];
        let consumed = self.protocol.on_input(input, &mut context);
        let passes = consumed.passed == len && thread.output.is_empty();
        let is_all = consumed.bytes == len && consumed.need == 0 && consumed.to.is_none();
        let is_usual = is_all && consumed.continues() && changes.are_none();
        if !is_usual || !(passes || consumed.passed == 0) {
            return Some(Exit::Consumed { consumed, changes, len });
        }
        let output = if passes { input } else { &thread.output[..] };
        if !output.is_empty() {
            if thread.turn.limits.sends_late {
                return Some(Exit::Late { passes, len });
            }
            match self.transport.write(output) {
                Ok(written) if written == output.len() => self.sent += written as u64,
                write => return Some(Exit::CutShort { write, passed: passes, len }),
            }
            thread.clear_output();
        }
        if is_drained(readiness, len, thread.input.len()) { None } else { Some(Exit::NotDry(len)) }
    }
}

/// The memory of a connection's buffers: output that waits for room, input that the protocol has not consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffered {
    /// The number of bytes when the owner last asked.
    pub before: usize,
    /// The number of bytes now.
    pub now: usize,
}

/// The rest of a step, see [`Connection::begin_step`].
#[derive(Debug)]
#[must_use]
pub struct StepRest(Exit);

impl StepRest {
    /// Returns whether the step has received bytes so far.
    pub fn has_received(&self) -> bool {
        !matches!(self.0, Exit::Unusual | Exit::NothingRead(_))
    }
}

/// The point at which the usual case of a step was left.
#[derive(Debug)]
enum Exit {
    /// A flag was set at the beginning of the step.
    Unusual,
    /// The read brought no bytes.
    NothingRead(io::Result<usize>),
    /// This many bytes were read, which the protocol handles.
    Input(usize),
    /// The protocol has consumed a part of so many bytes, or its answer is not the usual one.
    Consumed { consumed: Consumed, changes: Changes, len: usize },
    /// The write took a part of the output: of the `len` bytes that were read, if those were passed.
    CutShort { write: io::Result<usize>, passed: bool, len: usize },
    /// This many bytes were read, and the answer is to be sent at the end of the turn: the bytes themselves, if
    /// `passes` is set.
    Late { passes: bool, len: usize },
    /// This many bytes were read and answered, and there may be more.
    NotDry(usize),
}

impl<P, T> Connection<P, T> {
    /// Returns the transport, for its address and options.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Returns the protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Returns the number of bytes received. Bytes that are discarded after our end do not count.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns the number of bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the number of bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.pending())
    }

    /// Returns the number of bytes of input that are kept for the protocol.
    pub fn kept(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.input().len())
    }

    /// Returns whether nothing is pending, in either direction: the usual state.
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        self.flags.is_empty()
    }

    /// Returns the interest to register now. `None` asks for no report at all, not even of `HUP` and `ERR`,
    /// which the kernel reports unasked: an owner with level-triggered or one-shot reports parks the
    /// connection until this changes.
    pub fn interest(&self) -> Option<Interest> {
        let flags = self.flags;
        if flags.is_empty() {
            return Some(READING);
        }
        if flags.intersects(Flags::BLOCKED | Flags::CONNECTING) {
            let is_reading = !flags.intersects(Flags::SILENCED | Flags::PEER_FINISHED)
                && self.cold.as_ref().is_some_and(|cold| cold.is_duplex);
            Some(if is_reading { WRITING.union(READING) } else { WRITING })
        } else if flags.contains(Flags::PAUSED)
            && self.cold.as_ref().is_some_and(|cold| cold.is_hung_up)
        {
            None
        } else if flags.intersects(Flags::SILENCED | Flags::PEER_FINISHED) {
            Some(Interest::empty())
        } else {
            Some(READING)
        }
    }

    /// Returns what the connection waits for.
    pub fn awaits(&self) -> Awaits {
        if self.flags.is_empty() {
            return Awaits::Input;
        }
        if self.flags.contains(Flags::CONNECTING) {
            Awaits::Connect
        } else if self.flags.contains(Flags::BLOCKED) {
            Awaits::Room
        } else if self.is_lingering() {
            Awaits::Close
        } else if self.flags.contains(Flags::PAUSED)
            && self.cold.as_ref().is_some_and(|cold| cold.waits_for_receiver)
        {
            Awaits::Receiver
        } else if self.flags.contains(Flags::PAUSED)
            && self.cold.as_ref().is_some_and(|cold| cold.is_paced)
        {
            Awaits::Allowance
        } else {
            Awaits::Input
        }
    }

    /// Returns whether no more input will be shown to the protocol.
    pub fn is_finishing(&self) -> bool {
        self.flags.contains(Flags::FINISHING)
    }

    /// Returns whether the protocol wants no input for now.
    pub fn is_paused(&self) -> bool {
        self.flags.contains(Flags::PAUSED)
    }

    /// Returns the time at which [`expire`](Self::expire) is to be called: the deadline of the protocol, or the end
    /// of a pause after it has received [more than it may](crate::Limits::bytes_per_s_max).
    pub fn deadline(&self) -> Option<Timestamp> {
        self.cold.as_ref().and_then(|cold| cold.next_call())
    }

    /// Returns how many bytes the buffers of the connection take, and how many they took when this was last asked.
    /// An owner that asks after every call knows what all its connections take.
    pub fn count_buffered(&mut self) -> Buffered {
        let (before, now) = self.cold.as_mut().map_or((0, 0), |cold| cold.count_buffered());
        Buffered { before, now }
    }

    /// Tells the connection when the owner's timer for it fires: a deadline that is no earlier is then
    /// set without a [`Step::Changed`].
    pub fn set_timer_time(&mut self, time: Option<Timestamp>) {
        if let Some(cold) = &mut self.cold {
            cold.set_timer_time(time);
        }
    }

    /// Returns how many bytes the buffers of the connection took when [`count_buffered`](Self::count_buffered) was
    /// last called; for an owner that drops it.
    pub fn buffered_before(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.buffered_before())
    }

    fn is_lingering(&self) -> bool {
        self.flags.contains(Flags::FINISHING | Flags::OUTPUT_CLOSED)
    }

    fn cold_mut(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }
}

/// Returns whether a read of `len` bytes into a buffer with room for `room` has drained the transport.
#[inline]
fn is_drained(readiness: Readiness, len: usize, room: usize) -> bool {
    len < room && is_all_bytes(readiness)
}

/// Returns whether neither an end, nor an error, nor urgent data is announced.
#[inline]
fn is_all_bytes(readiness: Readiness) -> bool {
    !readiness.is_closing() && !readiness.contains(Readiness::PRI)
}

#[cold]
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(error: io::Error) -> Step {
    Step::Done(CloseReason::Failed(error.kind()))
}

impl<P, T: AsFd> AsFd for Connection<P, T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

impl<P, T: Source> Source for Connection<P, T> {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        self.transport.is_nonblocking()
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        self.transport.is_unshared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clocks, Limits};
    use epoll_reactor::net::Stream;
    use std::io::Write;

    /// Answers each byte with itself.
    struct Bytes;

    impl Protocol for Bytes {
        type Local = ();
        type Message = ();

        fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
            context.write(&input[..1]);
            Consumed::bytes(1)
        }
    }

    #[test]
    fn one_whose_output_is_taken_and_whose_input_is_consumed_keeps_nothing() {
        let mut thread = ThreadState::new(0, (), Limits::default(), Clocks::default());
        let (ours, mut theirs) = Stream::pair().unwrap();
        let (mut connection, token) = (Connection::new(Bytes, ours), Token::detached(0));
        assert_eq!(connection.open(token, &mut thread), Step::Wait);
        for input in ["a", "bcd"] {
            theirs.write_all(input.as_bytes()).unwrap();
            assert_eq!(connection.step(Readiness::IN, token, &mut thread), Step::Wait);
            assert!(connection.cold.is_none() && connection.is_at_rest(), "after {input:?}");
        }
        assert_eq!((connection.received(), connection.sent()), (4, 4));
    }
}
