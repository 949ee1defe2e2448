//! The requests in flight of a protocol whose requests are written into a buffer.

use epoll_sys::Timestamp;
use std::collections::VecDeque;

/// Requests that are to be sent, and those that wait for an answer.
#[derive(Debug)]
pub(super) struct Pending {
    /// The bytes of requests; those before `sent` are sent.
    bytes: Vec<u8>,
    sent: usize,
    /// The due times of the requests in flight, the oldest first. Its buffer never grows.
    due: VecDeque<Timestamp>,
    in_flight_max: usize,
    /// The number of requests whose last byte is sent or to be sent, since the connection was made.
    begun: u64,
}

impl Pending {
    pub(super) fn new(in_flight_max: usize) -> Self {
        let due = VecDeque::with_capacity(in_flight_max);
        Self { bytes: Vec::new(), sent: 0, due, in_flight_max, begun: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.due.clear();
        self.begun = 0;
    }

    pub(super) fn has_room(&self) -> bool {
        self.due.len() < self.in_flight_max
    }

    pub(super) fn in_flight(&self) -> usize {
        self.due.len()
    }

    pub(super) fn in_flight_since(&self, from: Timestamp) -> usize {
        self.due.iter().filter(|due| **due >= from).count()
    }

    /// Returns the number of the oldest request in flight on the connection, counted from 0; `None` if no
    /// request is in flight.
    pub(super) fn oldest(&self) -> Option<u64> {
        (!self.due.is_empty()).then(|| self.begun - self.due.len() as u64)
    }

    /// Begins a request, whose bytes `write` adds to the buffer for its number on the connection.
    pub(super) fn begin(&mut self, due: Timestamp, write: impl FnOnce(&mut Vec<u8>, u64)) {
        debug_assert!(self.has_room());
        self.due.push_back(due);
        write(&mut self.bytes, self.begun);
        self.begun += 1;
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Takes the oldest request in flight, which is answered.
    pub(super) fn answered(&mut self) -> Option<Timestamp> {
        self.due.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_numbered_and_sent_in_their_order() {
        let at = Timestamp::from_nanos;
        let mut pending = Pending::new(2);
        assert_eq!((pending.oldest(), pending.has_room()), (None, true));
        for due in [5, 7] {
            pending.begin(at(due), |bytes, number| bytes.extend(format!("a{number}").bytes()));
        }
        assert!(!pending.has_room());
        assert_eq!(pending.unsent(), b"a0a1");
        pending.sent(3);
        assert_eq!((pending.unsent(), pending.in_flight_since(at(6))), (&b"1"[..], 1));
        pending.sent(1);
        assert_eq!((pending.unsent(), pending.oldest()), (&b""[..], Some(0)));
        assert_eq!((pending.answered(), pending.oldest()), (Some(at(5)), Some(1)));
        pending.clear();
        assert_eq!((pending.in_flight(), pending.oldest()), (0, None));
    }
}
