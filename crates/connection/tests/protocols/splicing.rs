//! Protocols that pass everything back: `on_input` is not called, and much goes through a pipe.

use crate::harness::{BOTH, PLENTY, arrive, buffer};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{
    Clocks, CloseReason, Connection, Consumed, Context, Flow, Limits, Protocol, Step, ThreadState,
    Transport,
};
use epoll_reactor::{Readiness, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;

/// Passes everything back until a message says otherwise, and takes what comes then in upper case.
#[derive(Clone, Copy, Debug)]
struct Switch {
    passes: bool,
}

impl Protocol for Switch {
    type Local = ();
    type Message = Option<&'static str>;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), Self::Message>) -> Consumed {
        assert!(!self.passes, "input is shown though everything is passed");
        input.make_ascii_uppercase();
        Consumed::pass(input.len())
    }

    fn on_message(
        &mut self,
        message: &Self::Message,
        context: &mut Context<'_, (), Self::Message>,
    ) -> Flow {
        match message {
            Some(message) => context.write(message.as_bytes()),
            None => self.passes = !self.passes,
        }
        Flow::Keep
    }

    fn passes_everything(&self, (): &()) -> bool {
        self.passes
    }
}

fn switch(trigger: Trigger) -> Driver<Switch> {
    let limits = Limits { splice_bytes_max: NonZeroUsize::new(40), ..buffer(16) };
    Driver::with_limits(trigger, Switch { passes: true }, (), limits).with_pipe(64)
}

#[test]
fn much_goes_through_the_pipe_until_the_protocol_looks_at_its_input() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        let piped = driver.piped();
        assert_eq!(piped, 84, "{trigger:?}");
        driver.message(&[None]);
        arrive(&mut driver, [b'b'; 100]);
        assert_eq!(driver.piped(), piped, "{trigger:?}");
        assert_eq!(driver.sent()[100..], [b'B'; 100]);
        assert!(driver.is_at_rest(), "{trigger:?}: it is as if nothing had been spliced");
        // And back again.
        driver.message(&[None]);
        arrive(&mut driver, [b'c'; 100]);
        assert!(driver.piped() > piped, "{trigger:?}");
        driver.end_well();
        assert_eq!(driver.sent()[200..], [b'c'; 100]);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_message_comes_between_what_is_spliced() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        driver.message(&[Some("-"), Some("-")]);
        arrive(&mut driver, [b'b'; 100]);
        // The kit compares what is sent with what was written and passed.
        assert_eq!(driver.sent().len(), 202, "{trigger:?}");
        assert_eq!(driver.sent()[100..102], *b"--");
    }
}

#[test]
fn a_message_follows_what_the_pipe_could_not_send() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(Act::Room(30));
        arrive(&mut driver, [b'a'; 50]);
        let waiting = driver.counts().2;
        assert!(waiting > 0 && !driver.is_at_rest(), "{trigger:?}");
        assert_eq!(driver.arrived(), [b'a'; 50]);
        driver.message(&[Some("-")]);
        driver.act(PLENTY);
        assert_eq!(driver.sent(), [&[b'a'; 50][..], b"-"].concat(), "{trigger:?}");
        assert_eq!(driver.counts(), (50, 51, 0, 0));
    }
}

#[test]
fn what_a_write_does_not_take_of_what_is_passed_waits_for_room() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(Act::Room(3));
        arrive(&mut driver, "abcde");
        assert_eq!(driver.counts(), (5, 3, 2, 0), "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcde", "{trigger:?}");
        assert!(driver.is_at_rest());
    }
}

#[test]
fn without_a_limit_for_it_nothing_is_spliced() {
    for trigger in BOTH {
        let mut driver =
            Driver::with_limits(trigger, Switch { passes: true }, (), buffer(16)).with_pipe(64);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        assert_eq!((driver.piped(), driver.sent().len()), (0, 100), "{trigger:?}");
    }
}

/// A transport that always has bytes to read, and splices as a list says; nothing where that ends.
#[derive(Debug, Default)]
struct Piping {
    fills: VecDeque<io::Result<usize>>,
    /// The number of splices into the pipe that were tried.
    tried: usize,
}

impl Read for Piping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

impl Write for Piping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Piping {
    type Pipe = io::Empty;

    fn fill(&mut self, _: &mut io::Empty, _: usize) -> io::Result<usize> {
        self.tried += 1;
        self.fills.pop_front().unwrap_or(Err(ErrorKind::WouldBlock.into()))
    }

    fn drain(&mut self, _: &mut io::Empty, len: usize) -> io::Result<usize> {
        Ok(len)
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn token() -> Token {
    Token::detached(0)
}

/// A connection whose first read has filled the buffer of 16 bytes, and the answer of that step.
struct Streaming {
    thread: ThreadState<Switch>,
    connection: Connection<Switch, Piping>,
    asked: Step,
    slot: Option<io::Empty>,
}

impl Streaming {
    fn begin(
        limits: &Limits,
        splice_bytes_max: usize,
        fills: impl IntoIterator<Item = io::Result<usize>>,
    ) -> Self {
        let splice_bytes_max = NonZeroUsize::new(splice_bytes_max);
        let limits = Limits { splice_bytes_max, ..limits.clone() };
        let mut thread = ThreadState::new(0, (), limits, Clocks::default());
        let transport = Piping { fills: fills.into_iter().collect(), tried: 0 };
        let mut connection = Connection::new(Switch { passes: true }, transport);
        assert_eq!(connection.open(token(), &mut thread), Step::Wait);
        let asked = connection.step(Readiness::IN, token(), &mut thread);
        Self { thread, connection, asked, slot: Some(io::empty()) }
    }

    fn splice(&mut self) -> Step {
        assert_eq!(self.asked, Step::Splice);
        self.connection.splice(Readiness::IN, &mut self.slot, token(), &mut self.thread)
    }

    fn step(&mut self) -> Step {
        self.connection.step(Readiness::IN, token(), &mut self.thread)
    }
}

#[test]
fn a_buffer_that_is_short_for_a_pipe_asks_for_none() {
    // A quarter of the splice is the least that is worth it.
    assert_eq!(Streaming::begin(&buffer(16), 64, []).asked, Step::Splice);
    assert_ne!(Streaming::begin(&buffer(16), 68, []).asked, Step::Splice);
}

#[test]
fn a_splice_ends_when_it_has_moved_as_much_as_a_step_may() {
    let limits = Limits { step_bytes_max: 80, ..buffer(16) };
    let mut streaming = Streaming::begin(&limits, 40, (0..9).map(|_| Ok(40)));
    assert_eq!(streaming.splice(), Step::Yield);
    assert_eq!(streaming.connection.transport().tried, 2);
    assert_eq!((streaming.connection.received(), streaming.connection.sent()), (96, 96));
}

#[test]
fn a_splice_ends_when_pieces_have_been_short_again_and_again() {
    let mut streaming = Streaming::begin(&buffer(16), 40, [9, 40, 9, 9, 40].map(Ok));
    assert_eq!(streaming.splice(), Step::Yield);
    assert_eq!(streaming.connection.transport().tried, 4);
    // A read is better for such.
    let received = streaming.connection.received();
    assert_eq!(streaming.step(), Step::Splice);
    assert_eq!(streaming.connection.received() - received, 16);
}

#[test]
fn a_stream_goes_on_without_a_read_if_the_last_splices_have_brought_much() {
    for (len, next_is_spliced) in [(40, true), (10, true), (9, false)] {
        let mut streaming = Streaming::begin(&buffer(16), 40, [Ok(len)]);
        assert_eq!(streaming.splice(), Step::Changed, "{len} bytes and then nothing");
        assert_eq!(streaming.connection.is_at_rest(), !next_is_spliced, "{len} bytes");
        let received = streaming.connection.received();
        assert_eq!(streaming.step(), Step::Splice, "{len} bytes and then nothing");
        // Otherwise a read has filled the buffer first.
        let read = if next_is_spliced { 0 } else { 16 };
        assert_eq!(streaming.connection.received() - received, read, "{len} bytes");
    }
}

#[test]
fn a_splice_that_brings_nothing_is_followed_by_a_read() {
    for fills in [vec![], vec![Ok(40), Err(ErrorKind::Interrupted.into())]] {
        let mut streaming = Streaming::begin(&buffer(16), 40, fills);
        assert_eq!(streaming.splice(), Step::Yield);
        assert!(streaming.slot.is_some());
        assert_eq!(streaming.step(), Step::Splice);
    }
}

#[test]
fn a_transport_that_cannot_be_spliced_takes_the_pipe_and_an_error_ends_the_connection() {
    for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::PermissionDenied] {
        let mut streaming = Streaming::begin(&buffer(16), 40, [Err(kind.into())]);
        assert_eq!(streaming.splice(), Step::Yield, "{kind:?}: a read is to tell");
        assert!(streaming.slot.is_none(), "{kind:?}");
    }
    let kind = ErrorKind::ConnectionReset;
    let mut streaming = Streaming::begin(&buffer(16), 40, [Err(kind.into())]);
    assert_eq!(streaming.splice(), Step::Done(CloseReason::Failed(kind)));
    assert!(streaming.slot.is_some());
}
