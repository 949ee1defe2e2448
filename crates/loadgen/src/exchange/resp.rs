//! The protocol of redis: each connection sets a key of its own and gets it in turn. Every byte of a reply is
//! known before it comes.

use super::answers::Pending;
use super::{Exchange, Verdict};
use crate::failure::{End, Failure};
use crate::pattern::{CHUNK_MAX, Pattern};
use epoll_sys::Timestamp;

/// The largest size of a value, in bytes.
pub(crate) const VALUE_MAX: u64 = CHUNK_MAX as u64;

/// The reply to a `SET`.
const OK: &[u8] = b"+OK\r\n";

/// The longest part of a wrong reply that is shown, in bytes.
const SHOWN_MAX: usize = 80;

/// A connection to a server that speaks the protocol of redis.
#[derive(Debug)]
pub(crate) struct Resp<'a> {
    pattern: &'a Pattern,
    number: u64,
    /// The size of a value, at most [`VALUE_MAX`].
    size: u64,
    pending: Pending,
    /// The reply to the oldest request in flight, and how much of it has come; empty if it is not known yet.
    expected: Vec<u8>,
    received: usize,
}

impl<'a> Resp<'a> {
    pub(crate) fn new(pattern: &'a Pattern, number: u64, size: u64, in_flight_max: usize) -> Self {
        let (pending, expected) = (Pending::new(in_flight_max), Vec::new());
        Self { pattern, number, size, pending, expected, received: 0 }
    }

    /// Writes the reply to request `request` into `expected`.
    fn expect(&mut self, request: u64) {
        self.received = 0;
        self.expected.clear();
        if request % 2 == 0 {
            self.expected.extend_from_slice(OK);
        } else {
            bulk(&mut self.expected, value(self.pattern, self.number, self.size, request));
        }
    }
}

/// Returns the value that request `request` of connection `number` stores, if it is a `SET`, and that the next
/// one gets.
fn value(pattern: &Pattern, number: u64, size: u64, request: u64) -> &[u8] {
    pattern.slice(pattern.beginning(number.wrapping_add(request / 2)), size)
}

/// Adds a bulk string.
fn bulk(bytes: &mut Vec<u8>, string: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", string.len()).as_bytes());
    bytes.extend_from_slice(string);
    bytes.extend_from_slice(b"\r\n");
}

impl Exchange for Resp<'_> {
    fn restart(&mut self, number: u64) {
        self.number = number;
        self.pending.clear();
        self.expected.clear();
    }

    fn has_room(&self) -> bool {
        self.pending.has_room()
    }

    fn in_flight(&self) -> usize {
        self.pending.in_flight()
    }

    fn in_flight_since(&self, from: Timestamp) -> usize {
        self.pending.in_flight_since(from)
    }

    fn begin(&mut self, due: Timestamp, _now: Timestamp) {
        let key = format!("epoll-load:{}", self.number);
        let (pattern, number, size) = (self.pattern, self.number, self.size);
        self.pending.begin(due, |bytes, request| {
            if request % 2 == 0 {
                bytes.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                bulk(bytes, key.as_bytes());
                bulk(bytes, value(pattern, number, size, request));
            } else {
                bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                bulk(bytes, key.as_bytes());
            }
        });
    }

    fn unsent(&self) -> &[u8] {
        self.pending.unsent()
    }

    fn sent(&mut self, len: usize) {
        self.pending.sent(len);
    }

    fn receive(&mut self, mut bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End> {
        while !bytes.is_empty() {
            let Some(request) = self.pending.oldest() else {
                let what = format!("{} bytes came that nobody asked for", bytes.len());
                return Err(End { failure: Failure::ExtraBytes, what });
            };
            if self.expected.is_empty() {
                self.expect(request);
            }
            let left = &self.expected[self.received..];
            let len = left.len().min(bytes.len());
            if bytes[..len] != left[..len] {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
                let what = format!("the reply to command {request} is wrong: {shown:?}");
                return Err(End { failure: Failure::WrongBytes, what });
            }
            bytes = &bytes[len..];
            self.received += len;
            if self.received == self.expected.len() {
                self.expected.clear();
                if let Some(due) = self.pending.answered() {
                    judged(Verdict::Answered(due));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(pattern: &Pattern) -> Resp<'_> {
        let mut resp = Resp::new(pattern, 7, 10, 4);
        for due in 0..3 {
            resp.begin(Timestamp::from_nanos(due), Timestamp::EPOCH);
        }
        resp
    }

    fn reply(resp: &mut Resp<'_>, bytes: &[u8]) -> Result<Vec<u64>, (Failure, String)> {
        let mut answers = Vec::new();
        let mut judged = |verdict| match verdict {
            Verdict::Answered(due) => answers.push(due.as_nanos()),
            other => panic!("{other:?}"),
        };
        resp.receive(bytes, &mut judged).map(|()| answers).map_err(|end| (end.failure, end.what))
    }

    #[test]
    fn a_key_is_set_and_got_in_turn() {
        let pattern = Pattern::for_size(10);
        let mut resp = connection(&pattern);
        let value = |at| pattern.slice(pattern.beginning(at), 10);
        let sent = [
            b"*3\r\n$3\r\nSET\r\n$12\r\nepoll-load:7\r\n$10\r\n",
            value(7),
            b"\r\n*2\r\n$3\r\nGET\r\n$12\r\nepoll-load:7\r\n",
            b"*3\r\n$3\r\nSET\r\n$12\r\nepoll-load:7\r\n$10\r\n",
            value(8),
            b"\r\n",
        ];
        assert_eq!(resp.unsent(), sent.concat());
        assert_eq!(resp.in_flight(), 3);
        let replies = [b"+OK\r\n$10\r\n", value(7), b"\r\n+OK\r\n"].concat();
        assert_eq!(reply(&mut resp, &replies), Ok(vec![0, 1, 2]));
        assert_eq!(reply(&mut resp, b"+").unwrap_err().0, Failure::ExtraBytes);
    }

    #[test]
    fn replies_may_come_byte_by_byte() {
        let pattern = Pattern::for_size(10);
        let mut resp = connection(&pattern);
        let value = pattern.slice(pattern.beginning(7), 10);
        let replies = [b"+OK\r\n$10\r\n", value, b"\r\n"].concat();
        let answers = replies.iter().flat_map(|byte| reply(&mut resp, &[*byte]).unwrap());
        assert_eq!(answers.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn any_other_reply_is_wrong() {
        let pattern = Pattern::for_size(10);
        for replies in [&b"-ERR no\r\n"[..], b"+OK\r\n$-1\r\n", b"+OK\r\n$10\r\n0123456789\r\n"] {
            let (failure, what) = reply(&mut connection(&pattern), replies).unwrap_err();
            assert_eq!(failure, Failure::WrongBytes);
            assert!(what.starts_with("the reply to command "), "{what}");
        }
    }
}
