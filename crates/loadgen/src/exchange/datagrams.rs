//! The echo protocol over UDP: each datagram comes back, or is lost, alone.
//!
//! A datagram begins with its number, which no other datagram of the run has; the rest is a piece of the pattern
//! that follows from the number. The answer is therefore checked whatever order it comes in, and needs no copy of
//! what was sent. What is kept is bounded: the datagrams in flight, and the last ones that are not any more.

use super::{Exchange, Verdict};
use crate::failure::End;
use crate::pattern::{Offset, Pattern};
use epoll_sys::Timestamp;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The length of the number.
const NUMBER_LEN: usize = size_of::<u64>();

/// The lengths of a datagram: that of its number at least, and at most what UDP carries over IPv4.
pub(crate) const LENS: RangeInclusive<u64> = NUMBER_LEN as u64..=65_507;

/// The bits of a number that count the datagrams of a connection; those above are the connection's.
const INDEX_BITS: u32 = 40;

/// The number of datagrams that are remembered after their answer or their loss.
const CLOSED_MAX: usize = 256;

/// A socket that sends datagrams to an echo server.
#[derive(Debug)]
pub(crate) struct Datagrams<'a> {
    pattern: &'a Pattern,
    /// The length of a datagram without its number.
    body_len: usize,
    in_flight_max: usize,
    /// The number of the datagram with index 0.
    first_number: u64,
    beginning: Offset,
    /// The number of datagrams that were begun.
    begun: u64,
    /// The number of datagrams that were sent.
    sent: u64,
    /// The datagram that is sent next; empty if there is none.
    next: Vec<u8>,
    /// The datagrams that were begun and are neither answered nor lost, by their index. Its order is that of the
    /// times as well.
    in_flight: VecDeque<InFlight>,
    /// The datagrams that were in flight last.
    closed: VecDeque<Closed>,
    /// The index from which on no datagram has been answered.
    unanswered_from: u64,
}

#[derive(Debug)]
struct InFlight {
    index: u64,
    due: Timestamp,
    begun: Timestamp,
}

#[derive(Debug)]
struct Closed {
    index: u64,
    due: Timestamp,
    is_answered: bool,
}

impl<'a> Datagrams<'a> {
    /// Returns the socket with this number, which sends datagrams of `size` bytes.
    pub(crate) fn new(pattern: &'a Pattern, number: u64, size: u64, in_flight_max: usize) -> Self {
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            pattern,
            body_len: len.saturating_sub(NUMBER_LEN),
            in_flight_max,
            first_number: first_number(number),
            beginning: pattern.beginning(number),
            begun: 0,
            sent: 0,
            next: Vec::with_capacity(len),
            in_flight: VecDeque::new(),
            closed: VecDeque::with_capacity(CLOSED_MAX),
            unanswered_from: 0,
        }
    }

    /// Returns the piece of the pattern in the datagram with this index.
    fn body(&self, index: u64) -> Offset {
        self.pattern.piece(self.beginning, index, self.body_len)
    }

    /// Puts together the datagram that is sent next, if there is one.
    fn prepare(&mut self) {
        self.next.clear();
        if self.sent < self.begun {
            let body = self.pattern.slice(self.body(self.sent), self.body_len as u64);
            self.next.extend_from_slice(&self.first_number.wrapping_add(self.sent).to_be_bytes());
            self.next.extend_from_slice(body);
        }
    }

    /// Returns the index of the datagram that was sent with the number of this one.
    fn index(&self, datagram: &[u8]) -> Result<u64, String> {
        let (number, _) = datagram
            .split_first_chunk()
            .ok_or_else(|| format!("a datagram of {} bytes came back", datagram.len()))?;
        let index = u64::from_be_bytes(*number).wrapping_sub(self.first_number);
        let is_sent = index < self.sent;
        is_sent.then_some(index).ok_or_else(|| "a datagram came that was not sent".to_owned())
    }

    /// Checks that the bytes are those of the datagram with this index.
    fn check(&self, index: u64, bytes: &[u8]) -> Result<(), String> {
        let len = NUMBER_LEN + self.body_len;
        if bytes.len() != len {
            let but = if bytes.len() > len { "more" } else { "fewer" };
            return Err(format!("{but} than the {len} bytes of datagram {index} came back"));
        }
        match self.pattern.mismatch(self.body(index), &bytes[NUMBER_LEN..]) {
            None => Ok(()),
            Some(at) => {
                let at = NUMBER_LEN + at;
                Err(format!("another byte came back at {at} of datagram {index}"))
            }
        }
    }

    /// Ends the flight of the datagram at this place.
    fn close(&mut self, place: usize, is_answered: bool) -> Option<(u64, Timestamp)> {
        let InFlight { index, due, .. } = self.in_flight.remove(place)?;
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(Closed { index, due, is_answered });
        Some((index, due))
    }

    /// Returns the verdict on a datagram that was answered rightly and is not in flight.
    fn answered_again(&mut self, index: u64) -> Verdict {
        match self.closed.iter_mut().rev().find(|closed| closed.index == index) {
            Some(closed) if closed.is_answered => Verdict::Duplicated(closed.due),
            Some(closed) => {
                closed.is_answered = true;
                Verdict::Late(Some(closed.due))
            }
            None => Verdict::Late(None),
        }
    }
}

impl Exchange for Datagrams<'_> {
    fn restart(&mut self, number: u64) {
        self.first_number = first_number(number);
        self.beginning = self.pattern.beginning(number);
        (self.begun, self.sent, self.unanswered_from) = (0, 0, 0);
        self.next.clear();
        self.in_flight.clear();
        self.closed.clear();
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn in_flight_since(&self, from: Timestamp) -> usize {
        self.in_flight.iter().filter(|datagram| datagram.due >= from).count()
    }

    fn begin(&mut self, due: Timestamp, now: Timestamp) {
        self.in_flight.push_back(InFlight { index: self.begun, due, begun: now });
        self.begun += 1;
        if self.next.is_empty() {
            self.prepare();
        }
    }

    fn unsent(&self) -> &[u8] {
        &self.next
    }

    /// A datagram is sent whole.
    fn sent(&mut self, _len: usize) {
        self.sent += 1;
        self.prepare();
    }

    fn receive(&mut self, bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End> {
        let index = match self.index(bytes) {
            Ok(index) => index,
            Err(what) => {
                judged(Verdict::Wrong(None, what));
                return Ok(());
            }
        };
        let checked = self.check(index, bytes);
        let place = self.in_flight.binary_search_by_key(&index, |datagram| datagram.index).ok();
        let closed = place.and_then(|place| self.close(place, true));
        judged(match (checked, closed) {
            (Err(what), closed) => Verdict::Wrong(closed.map(|(_, due)| due), what),
            (Ok(()), Some((_, due))) if index < self.unanswered_from => Verdict::Reordered(due),
            (Ok(()), Some((_, due))) => {
                self.unanswered_from = index + 1;
                Verdict::Answered(due)
            }
            (Ok(()), None) => self.answered_again(index),
        });
        Ok(())
    }

    fn has_overdue(&self, now: Timestamp, limit: Duration) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_some_and(|oldest| oldest.index < self.sent && now - oldest.begun >= limit)
    }

    fn give_up_overdue(
        &mut self,
        now: Timestamp,
        limit: Duration,
        judged: &mut dyn FnMut(Verdict),
    ) {
        while self.has_overdue(now, limit) {
            if let Some((index, due)) = self.close(0, false) {
                judged(Verdict::Lost(due, index));
            }
        }
    }
}

fn first_number(connection: u64) -> u64 {
    connection.wrapping_shl(INDEX_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Timestamp {
        Timestamp::from_nanos(ns)
    }

    /// Sends `count` datagrams, each of which is due, and sent, a nanosecond after the one before.
    fn send(datagrams: &mut Datagrams<'_>, count: u64) -> Vec<Vec<u8>> {
        let send = |time| {
            datagrams.begin(at(time), at(time));
            let datagram = datagrams.unsent().to_vec();
            datagrams.sent(datagram.len());
            datagram
        };
        (0..count).map(send).collect()
    }

    #[track_caller]
    fn receive(datagrams: &mut Datagrams<'_>, bytes: &[u8]) -> Verdict {
        let mut all = Vec::new();
        datagrams.receive(bytes, &mut |verdict| all.push(verdict)).unwrap();
        let [verdict] = &all[..] else { panic!("{all:?}") };
        verdict.clone()
    }

    #[track_caller]
    fn is_wrong(datagrams: &mut Datagrams<'_>, bytes: &[u8], due: Option<u64>, part: &str) {
        let Verdict::Wrong(of, what) = receive(datagrams, bytes) else { panic!("not wrong") };
        assert_eq!(of, due.map(at));
        assert!(what.contains(part), "{what}");
    }

    #[test]
    fn each_datagram_is_told_by_its_number_in_any_order() {
        let pattern = Pattern::for_size(20);
        let mut datagrams = Datagrams::new(&pattern, 3, 20, 4);
        let sent = send(&mut datagrams, 4);
        assert!(!datagrams.has_room());
        assert!(sent.iter().all(|datagram| datagram.len() == 20));
        assert_eq!(receive(&mut datagrams, &sent[1]), Verdict::Answered(at(1)));
        assert_eq!(receive(&mut datagrams, &sent[0]), Verdict::Reordered(at(0)));
        assert_eq!(receive(&mut datagrams, &sent[1]), Verdict::Duplicated(at(1)));
        assert_eq!(receive(&mut datagrams, &sent[3]), Verdict::Answered(at(3)));
        assert_eq!((datagrams.in_flight(), datagrams.in_flight_since(at(3))), (1, 0));
    }

    #[test]
    fn what_is_lost_may_come_late_once() {
        let pattern = Pattern::for_size(8);
        let mut datagrams = Datagrams::new(&pattern, 0, 8, 3);
        let sent = send(&mut datagrams, 3);
        let (ns, mut lost) = (Duration::from_nanos, Vec::new());
        assert!(!datagrams.has_overdue(at(10), ns(11)));
        datagrams.give_up_overdue(at(10), ns(9), &mut |verdict| lost.push(verdict));
        assert_eq!(lost, [Verdict::Lost(at(0), 0), Verdict::Lost(at(1), 1)]);
        assert_eq!(receive(&mut datagrams, &sent[1]), Verdict::Late(Some(at(1))));
        assert_eq!(receive(&mut datagrams, &sent[1]), Verdict::Duplicated(at(1)));
        assert_eq!(receive(&mut datagrams, &sent[2]), Verdict::Answered(at(2)));
    }

    #[test]
    fn what_was_not_sent_is_not_overdue() {
        let pattern = Pattern::for_size(8);
        let mut datagrams = Datagrams::new(&pattern, 0, 8, 1);
        datagrams.begin(at(0), at(0));
        assert!(!datagrams.has_overdue(at(9), Duration::ZERO));
        datagrams.sent(8);
        assert!(datagrams.has_overdue(at(9), Duration::ZERO));
    }

    #[test]
    fn every_byte_is_checked() {
        let pattern = Pattern::for_size(20);
        let mut datagrams = Datagrams::new(&pattern, 3, 20, 9);
        let sent = send(&mut datagrams, 2);
        let foreign = send(&mut Datagrams::new(&pattern, 4, 20, 9), 1);
        is_wrong(&mut datagrams, &foreign[0], None, "that was not sent");
        is_wrong(&mut datagrams, &[], None, "of 0 bytes");
        datagrams.begin(at(2), at(2));
        let early = datagrams.unsent().to_vec();
        is_wrong(&mut datagrams, &early, None, "that was not sent");
        for at in 8..20 {
            let mut wrong = sent[0].clone();
            wrong[at] ^= 1;
            let due = (at == 8).then_some(0);
            is_wrong(&mut datagrams, &wrong, due, &format!("at {at} of datagram 0"));
        }
        is_wrong(&mut datagrams, &sent[1][..19], Some(1), "fewer than the 20 bytes of datagram 1");
        is_wrong(&mut datagrams, &[&sent[1][..], &[0]].concat(), None, "more than the 20 bytes");
    }

    #[test]
    fn little_is_remembered_of_what_is_over() {
        let pattern = Pattern::for_size(8);
        let mut datagrams = Datagrams::new(&pattern, 0, 8, 2 * CLOSED_MAX);
        let sent = send(&mut datagrams, CLOSED_MAX as u64 + 1);
        for datagram in &sent {
            receive(&mut datagrams, datagram);
        }
        assert_eq!(datagrams.closed.len(), CLOSED_MAX);
        assert_eq!(receive(&mut datagrams, &sent[0]), Verdict::Late(None));
        assert_eq!(receive(&mut datagrams, &sent[1]), Verdict::Duplicated(at(1)));
    }
}
