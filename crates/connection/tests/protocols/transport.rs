//! Transports that fail, callbacks that panic, and threads with different buffers.

use crate::harness::buffer;
use epoll_connection::{
    Clocks, CloseReason, Connection, Consumed, Context, Flow, Limits, Protocol, Step, ThreadState,
    Transport,
};
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::{Interest, Readiness, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A transport whose reads and writes have the outcomes of a list; without one there is nothing to read,
/// and room for everything.
#[derive(Debug)]
struct Scripted {
    reads: VecDeque<io::Result<&'static [u8]>>,
    writes: VecDeque<io::Result<usize>>,
    /// The number of reads after which one reports more bytes than it can have brought.
    honest: usize,
    shutdown: Option<ErrorKind>,
    sent: Vec<u8>,
    calls: usize,
}

impl Scripted {
    fn reading(reads: impl IntoIterator<Item = &'static str>) -> Self {
        let reads = reads.into_iter().map(|text| Ok(text.as_bytes())).collect();
        let (writes, honest) = (VecDeque::new(), usize::MAX);
        Self { reads, writes, honest, shutdown: None, sent: Vec::new(), calls: 0 }
    }

    fn writing(mut self, writes: impl IntoIterator<Item = io::Result<usize>>) -> Self {
        self.writes.extend(writes);
        self
    }
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        let bytes = self.reads.pop_front().unwrap_or(Err(ErrorKind::WouldBlock.into()))?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        if len < bytes.len() {
            self.reads.push_front(Ok(&bytes[len..]));
        }
        self.honest = self.honest.wrapping_sub(1);
        Ok(if self.honest == usize::MAX { 1000 } else { len })
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        let len = self.writes.pop_front().unwrap_or(Ok(bytes.len()))?;
        self.sent.extend(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Scripted {
    type Pipe = io::Empty;

    fn fill(&mut self, _: &mut io::Empty, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn drain(&mut self, _: &mut io::Empty, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

/// Echoes lines; ends at `.`, panics at `!`, waits 9 seconds at `t`.
#[derive(Debug)]
struct Lines;

impl Protocol for Lines {
    /// The reasons of connections that are over.
    type Local = Vec<CloseReason>;
    type Message = ();

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, ()>,
    ) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Consumed::nothing();
        };
        match input[0] {
            b'.' => return Consumed::bytes(end + 1).then(Flow::Finish),
            b't' => context.set_deadline(Some(Duration::from_secs(9))),
            _ => {}
        }
        context.write(&input[..=end]);
        assert_ne!(input[0], b'!', "a line of this protocol");
        Consumed::bytes(end + 1)
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut Context<'_, Self::Local, ()>) {
        context.local().push(reason);
    }
}

type Thread = ThreadState<Lines>;

fn thread(limits: Limits) -> Thread {
    let clocks = Clocks { monotonic: || Timestamp::EPOCH, ..Clocks::default() };
    ThreadState::new(0, Vec::new(), limits, clocks)
}

fn token() -> Token {
    Token::detached(0)
}

#[track_caller]
fn open(transport: Scripted, thread: &mut Thread) -> Connection<Lines, Scripted> {
    let mut connection = Connection::new(Lines, transport);
    assert_eq!(connection.open(token(), thread), Step::Wait);
    connection
}

#[track_caller]
fn assert_done(step: Step, reason: CloseReason, thread: &Thread) {
    assert_eq!(step, Step::Done(reason));
    assert_eq!(thread.local, [reason]);
}

#[test]
fn a_write_of_nothing_is_a_failure() {
    let thread = &mut thread(Limits::default());
    let mut connection = open(Scripted::reading(["a\n"]).writing([Ok(0)]), thread);
    let step = connection.step(Readiness::IN, token(), thread);
    assert_done(step, CloseReason::Failed(ErrorKind::WriteZero), thread);
    assert_eq!(connection.sent(), 0);
}

#[test]
fn a_write_of_nothing_out_of_what_waits_is_a_failure() {
    let thread = &mut thread(Limits::default());
    let mut connection = open(Scripted::reading(["abc\n"]).writing([Ok(1), Ok(0)]), thread);
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Changed);
    assert_eq!((connection.pending(), connection.interest()), (3, Some(Interest::OUT)));
    let step = connection.step(Readiness::OUT, token(), thread);
    assert_done(step, CloseReason::Failed(ErrorKind::WriteZero), thread);
}

#[test]
fn a_write_that_is_interrupted_is_made_again() {
    let thread = &mut thread(Limits::default());
    let interrupted = || Err(ErrorKind::Interrupted.into());
    let writes = [interrupted(), interrupted(), Ok(1), interrupted(), Ok(3)];
    let mut connection = open(Scripted::reading(["abc\n"]).writing(writes), thread);
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Changed);
    assert_eq!(connection.sent(), 1);
    assert_eq!(connection.step(Readiness::OUT, token(), thread), Step::Changed);
    assert_eq!(connection.transport().sent, b"abc\n");
}

#[test]
fn an_error_of_a_read_is_the_reason_and_an_interruption_is_not() {
    let thread = &mut thread(Limits::default());
    for kind in [ErrorKind::ConnectionReset, ErrorKind::TimedOut] {
        thread.local.clear();
        let mut transport = Scripted::reading([]);
        transport.reads.push_back(Err(ErrorKind::Interrupted.into()));
        transport.reads.push_back(Err(kind.into()));
        let mut connection = open(transport, thread);
        assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Yield);
        let step = connection.step(Readiness::IN, token(), thread);
        assert_done(step, CloseReason::Failed(kind), thread);
    }
}

#[test]
fn a_failure_of_the_shutdown_is_the_reason() {
    let thread = &mut thread(Limits::default());
    let transport =
        Scripted { shutdown: Some(ErrorKind::NotConnected), ..Scripted::reading([".\n"]) };
    let mut connection = open(transport, thread);
    let step = connection.step(Readiness::IN, token(), thread);
    assert_done(step, CloseReason::Failed(ErrorKind::NotConnected), thread);
}

#[test]
fn a_read_that_says_more_than_it_can_have_brought_is_a_failure() {
    // At once, and behind input that is kept.
    for honest in [0, 1] {
        let thread = &mut thread(buffer(16));
        let transport = Scripted { honest, ..Scripted::reading(["part", "part"]) };
        let mut connection = open(transport, thread);
        for _ in 0..honest {
            assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Wait);
        }
        let step = connection.step(Readiness::IN, token(), thread);
        assert_done(step, CloseReason::Failed(ErrorKind::InvalidData), thread);
    }
}

#[test]
fn a_step_without_a_reason_makes_no_call() {
    let thread = &mut thread(Limits::default());
    let mut connection = open(Scripted::reading([]), thread);
    let calls = connection.transport().calls;
    assert!(connection.is_at_rest());
    assert_eq!(connection.step(Readiness::empty(), token(), thread), Step::Wait);
    assert_eq!(connection.step(Readiness::OUT, token(), thread), Step::Wait);
    assert_eq!(connection.transport().calls, calls);
}

#[test]
fn a_connection_that_is_not_established_yet_goes_on_waiting() {
    let thread = &mut thread(Limits::default());
    let mut connection = Connection::connecting(Lines, Scripted::reading([]));
    assert_eq!(connection.step(Readiness::OUT, token(), thread), Step::Wait);
    assert_eq!(connection.interest(), Some(Interest::OUT));
    assert!(thread.local.is_empty());
}

#[test]
fn a_close_by_the_owner_is_told_once() {
    let thread = &mut thread(Limits::default());
    let mut connection = open(Scripted::reading([]), thread);
    connection.close(token(), thread);
    assert_eq!(thread.local, [CloseReason::ClosedByOwner]);
    assert!(matches!(connection.protocol(), Lines));
}

#[test]
fn what_is_left_of_a_step_says_whether_bytes_came() {
    let thread = &mut thread(Limits::default());
    let mut connection = open(Scripted::reading(["a\n"]), thread);
    let rest = connection.begin_step(Readiness::IN, thread).unwrap();
    assert!(rest.has_received());
    assert_eq!(connection.finish_step(rest, Readiness::IN, token(), thread), Step::Wait);
    let rest = connection.begin_step(Readiness::IN, thread).unwrap();
    assert!(!rest.has_received(), "there was nothing");
    assert_eq!(connection.finish_step(rest, Readiness::IN, token(), thread), Step::Wait);
    assert!(connection.begin_step(Readiness::OUT, thread).is_none());
}

#[test]
fn a_thread_serves_others_after_a_callback_has_panicked() {
    // In the usual case, and in the loop that shows a second line.
    for input in ["!\n", "a\n!\n"] {
        let thread = &mut thread(buffer(64));
        let mut broken = open(Scripted::reading([input]), thread);
        let step = AssertUnwindSafe(|| broken.step(Readiness::IN, token(), thread));
        assert!(catch_unwind(step).is_err());
        thread.recover();
        let mut other = open(Scripted::reading(["b\n", "c\nd"]), thread);
        assert_eq!(other.step(Readiness::IN, token(), thread), Step::Wait, "{input:?}");
        assert_eq!(other.step(Readiness::IN, token(), thread), Step::Wait);
        assert_eq!(other.transport().sent, b"b\nc\n", "{input:?}");
        assert_eq!(other.kept(), 1);
    }
}

#[test]
fn input_that_was_kept_by_a_thread_with_a_longer_buffer_is_shown_with_what_follows() {
    for first in ["longer", "a\nlonger"] {
        let (long, short) = (&mut thread(buffer(64)), &mut thread(buffer(4)));
        let mut connection = open(Scripted::reading([first, "\n"]), long);
        assert_eq!(connection.step(Readiness::IN, token(), long), Step::Wait);
        assert_eq!(connection.step(Readiness::IN, token(), short), Step::Wait);
        assert_eq!(connection.transport().sent, [first.as_bytes(), b"\n"].concat());
    }
}

#[test]
fn a_timer_that_fires_no_later_than_the_deadline_is_no_change() {
    let thread = &mut thread(Limits::default());
    let nine = Timestamp::after_epoch(Duration::from_secs(9));
    let mut connection = open(Scripted::reading(["t\n", "t\n", "t\n", "t\n"]), thread);
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Changed);
    assert_eq!(connection.deadline(), Some(nine));
    connection.set_timer_time(Some(nine));
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Wait);
    connection.set_timer_time(Some(nine + Duration::from_nanos(1)));
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Changed);
    connection.set_timer_time(None);
    assert_eq!(connection.step(Readiness::IN, token(), thread), Step::Changed);
}
