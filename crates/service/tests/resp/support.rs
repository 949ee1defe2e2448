//! A client of the protocol without sockets, and requests and replies as bytes.

use crate::protocol::{INPUT_MAX, Local, Message, Resp, Shared};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{Limits, Request};
use std::num::NonZeroU32;
use std::sync::Arc;

/// More room than any test fills.
pub(crate) const MUCH: usize = 1 << 30;

/// Returns what threads share, with as many maps as one thread has, or as several have.
pub(crate) fn shared(threads: u32) -> Arc<Shared> {
    Arc::new(Shared::new(NonZeroU32::new(threads).expect("a thread")))
}

pub(crate) fn limits() -> Limits {
    Limits { input_max: INPUT_MAX, ..Limits::default() }
}

/// Returns a connection, with a peer that takes nothing yet.
pub(crate) fn connect(trigger: Trigger, shared: &Arc<Shared>) -> Driver<Resp> {
    let protocol = Resp::new(shared.next_id());
    Driver::with_limits(trigger, protocol, Local::new(Arc::clone(shared)), limits())
}

/// A client whose peer takes everything.
pub(crate) struct Client {
    pub(crate) driver: Driver<Resp>,
    seen: usize,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::of(&shared(1))
    }

    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        let mut driver = connect(Trigger::Edge, shared);
        driver.act(Act::Room(MUCH));
        Self { driver, seen: 0 }
    }

    /// Sends bytes, and returns what comes back.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> String {
        self.driver.act(Act::Arrive(bytes.to_vec()));
        self.received()
    }

    /// Returns what has come back since.
    pub(crate) fn received(&mut self) -> String {
        let sent = self.driver.sent();
        let new = String::from_utf8_lossy(&sent[self.seen..]).into_owned();
        self.seen = sent.len();
        new
    }

    /// Sends a command of words, and returns the reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.send(&array(words))
    }

    #[track_caller]
    pub(crate) fn assert_answers(&mut self, words: &str, reply: &str) {
        assert_eq!(self.ask(words), reply, "{words}");
    }

    /// Takes the messages that it has sent.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        let requests = self.driver.take_requests().into_iter();
        let messages = requests.filter_map(|request| match request {
            Request::Send(_, message) => Some(message),
            _ => None,
        });
        messages.collect()
    }
}

/// Returns a request of these arguments.
pub(crate) fn request<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Returns a request of these words.
pub(crate) fn array(words: &str) -> Vec<u8> {
    request(&words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
}

/// Returns the length of the reply that `bytes` begin with, once it is complete.
pub(crate) fn reply_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).expect("a number").parse::<i64>();
    match bytes[0] {
        b'+' | b'-' | b':' => Some(end),
        b'$' => match usize::try_from(number().expect("a length")) {
            Ok(len) => Some(end + len + 2).filter(|len| bytes.len() >= *len),
            Err(_) => Some(end),
        },
        b'*' => (0..number().expect("a length")).try_fold(end, |at, _| {
            let rest = bytes.get(at..)?;
            Some(at + reply_len(rest)?)
        }),
        other => panic!("a reply that begins with {other:?}"),
    }
}
