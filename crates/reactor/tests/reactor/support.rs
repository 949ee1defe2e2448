//! Functions for all modules: turns of a reactor as lists, and sources.

use epoll_kit_testing::DEADLINE;
use epoll_reactor::net::Stream;
use epoll_reactor::{InsertError, Reactor, Readiness, Ready, Source, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The reports of a turn that only looks, owned and watched ones alike.
#[track_caller]
pub(crate) fn look<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) -> Vec<(Token, Readiness)> {
    reactor.wait(Some(Duration::ZERO)).unwrap();
    reports(reactor)
}

/// The reports of a turn that has to bring some.
#[track_caller]
pub(crate) fn wait<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) -> Vec<(Token, Readiness)> {
    reactor.wait(Some(DEADLINE)).unwrap();
    let reports = reports(reactor);
    assert!(!reports.is_empty(), "no report before the deadline");
    reports
}

/// Returns the reports that are left of this turn.
#[track_caller]
pub(crate) fn reports<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) -> Vec<(Token, Readiness)> {
    let mut reports = Vec::new();
    while let Some(report) = next(reactor) {
        reports.push(report);
    }
    reports
}

/// The next report of this turn, which is no wake.
#[track_caller]
pub(crate) fn next<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) -> Option<(Token, Readiness)> {
    match reactor.next_ready()? {
        Ready::Owned { token, readiness, .. } | Ready::Watched { token, readiness, .. } => {
            Some((token, readiness))
        }
        Ready::Woken => panic!("nobody used the waker"),
    }
}

/// The sources that a turn which only looks reports.
#[track_caller]
pub(crate) fn seen<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) -> Vec<Token> {
    look(reactor).into_iter().map(|(token, _)| token).collect()
}

/// Asserts that nothing is ready: a wait sleeps until its timeout is over and reports nothing.
#[track_caller]
pub(crate) fn assert_sleeps<T: Source, S: Copy>(reactor: &mut Reactor<T, S>) {
    const NAP: Duration = Duration::from_millis(20);
    let start = Instant::now();
    reactor.wait(Some(NAP)).unwrap();
    assert!(reports(reactor).is_empty());
    assert!(start.elapsed() >= NAP, "the wait did not sleep");
}

/// A failed insertion's error, for `assert_kind` and `assert_errno`.
pub(crate) fn error_of<T>(result: Result<Token, InsertError<T>>) -> io::Result<Token> {
    result.map_err(io::Error::from)
}

/// A stream that has a byte to read, and its peer.
pub(crate) fn ready_pair() -> (Stream, Stream) {
    let (ours, mut theirs) = Stream::pair().unwrap();
    theirs.write_all(b"w").unwrap();
    (ours, theirs)
}

/// Like [`ready_pair`], of a type whose descriptor may be shared and which blocks.
pub(crate) fn ready_std_pair() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"w").unwrap();
    (ours, theirs)
}

/// Reads until nothing is left and gives the bytes.
#[track_caller]
pub(crate) fn drain(stream: &Stream) -> Vec<u8> {
    let (mut bytes, mut buffer, mut reader) = (Vec::new(), [0; 4096], stream);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

/// One descriptor in several values, so that it can be inserted twice and looked at from outside.
#[derive(Clone, Debug)]
pub(crate) struct Common(pub(crate) Rc<UnixStream>);

impl AsFd for Common {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Source for Common {}
