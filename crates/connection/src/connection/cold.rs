//! The state that most connections do not have at rest: output that waits, input that is kept, a deadline.

use crate::{Allowance, Step};
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::Timestamp;
use std::num::NonZeroU64;

#[derive(Debug)]
pub(super) struct Cold {
    /// Boxed by itself, because many idle connections have a deadline but no bytes that wait.
    waiting: Option<Box<Waiting>>,
    /// The deadline of the protocol, and the time at which the owner's timer fires. Never is
    /// [`Timestamp::MAX`], which takes less room than `None`.
    deadline: Timestamp,
    timer_time: Timestamp,
    /// The owner's timer fires after the deadline, and the owner does not know yet.
    pub(super) is_timer_late: bool,
    /// The end of the connection, as a message's callback has answered it.
    pub(super) failed: Option<Step>,
    /// A message has changed what the owner registers, and the owner does not know yet.
    pub(super) has_changed: bool,
    /// An end, an error or urgent data was reported during a pause, or with what led to it.
    pub(super) is_end_announced: bool,
    /// `HUP` was reported during a pause: both halves are closed, and what has arrived is read after it.
    pub(super) is_hung_up: bool,
    /// `on_finish` was called.
    pub(super) has_said_last_words: bool,
    /// Bytes that this connection has forwarded wait in their receiver. It is paused meanwhile.
    pub(super) waits_for_receiver: bool,
    /// It has received more than it may so far. It is paused meanwhile, and waits for no receiver.
    pub(super) is_paced: bool,
    /// The protocol has paused as well, so the pause outlasts that wait.
    pub(super) is_paused_by_protocol: bool,
    /// Input is read even while output waits for room.
    pub(super) is_duplex: bool,
}

/// Bytes that wait, and what belongs to them. It is dropped when all of it is empty.
#[derive(Debug, Default)]
struct Waiting {
    /// Output that the transport has not taken, from `output_at` on. Not allocated while there is none.
    output: Vec<u8>,
    output_at: usize,
    /// Input that the protocol has not consumed, from `input_at` to `input_end`. As long as what the
    /// protocol has asked for, or just as long as what is kept.
    input: Box<[u8]>,
    input_at: usize,
    input_end: usize,
    /// The length that the kept input has to have before it is shown again.
    need: usize,
    /// The connections whose forwarded bytes wait for room in this one.
    senders: Vec<Token>,
    /// The number of bytes that it may receive a second, if that is limited, and what is left of them.
    per_s: Option<NonZeroU64>,
    allowance: Allowance,
    /// The number of bytes that the owner knows of, see [`Buffered`](super::Buffered).
    counted: usize,
}

impl Default for Cold {
    fn default() -> Self {
        Self {
            waiting: None,
            deadline: Timestamp::MAX,
            timer_time: Timestamp::MAX,
            is_timer_late: false,
            failed: None,
            has_changed: false,
            is_end_announced: false,
            is_hung_up: false,
            has_said_last_words: false,
            waits_for_receiver: false,
            is_paced: false,
            is_paused_by_protocol: false,
            is_duplex: false,
        }
    }
}

impl Cold {
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        Some(self.deadline).filter(|deadline| *deadline < Timestamp::MAX)
    }

    /// Returns the time at which the owner calls: that of the deadline, or of the end of a pause.
    pub(super) fn next_call(&self) -> Option<Timestamp> {
        let pace = if self.is_paced { self.allowance().paid_at() } else { Timestamp::MAX };
        Some(self.deadline.min(pace)).filter(|time| *time < Timestamp::MAX)
    }

    pub(super) fn allowance(&self) -> Allowance {
        self.waiting.as_ref().map_or(Allowance::FULL, |waiting| waiting.allowance)
    }

    /// Returns how many bytes it may receive a second, if that is limited.
    pub(super) fn per_s(&self) -> Option<NonZeroU64> {
        self.waiting.as_ref().and_then(|waiting| waiting.per_s)
    }

    /// Changes how many bytes it may receive a second. What was received before and is not paid for is paid for by
    /// the new limit, and at once if there is none. The owner's timer may fire too late afterwards.
    pub(super) fn set_per_s(&mut self, per_s: Option<NonZeroU64>, now: Timestamp) {
        let is_paced = self.is_paced;
        let waiting = self.waiting_mut();
        let before = std::mem::replace(&mut waiting.per_s, per_s);
        waiting.allowance = match (before, per_s) {
            (Some(before), Some(per_s)) => waiting.allowance.at_rate(before, per_s, now),
            // The end of the pause is a call of the owner, which is due now.
            _ if is_paced => waiting.allowance.paid_by(now),
            _ => Allowance::FULL,
        };
        self.drop_waiting_if_empty();
    }

    /// Notes that `bytes` were received.
    pub(super) fn charge(&mut self, bytes: u64, now: impl FnOnce() -> Timestamp) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Some(per_s) = waiting.per_s {
            waiting.allowance.take(bytes, per_s, now());
        }
    }

    pub(super) fn begin_pace(&mut self) {
        self.is_paced = true;
        self.is_timer_late |= self.allowance().paid_at() < self.timer_time;
    }

    /// Ends a pause of that kind, whose limit may be gone.
    pub(super) fn end_pace(&mut self) {
        self.is_paced = false;
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.per_s.is_none()) {
            waiting.allowance = Allowance::FULL;
            self.drop_waiting_if_empty();
        }
    }

    /// Returns whether it is paused for another reason than the protocol's.
    pub(super) fn is_held(&self) -> bool {
        self.waits_for_receiver || self.is_paced
    }

    /// Returns how many bytes the owner knows of.
    pub(super) fn buffered_before(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.counted)
    }

    /// Returns how many bytes the owner knows of, and lets it know of those that there are.
    pub(super) fn count_buffered(&mut self) -> (usize, usize) {
        let Some(waiting) = &mut self.waiting else { return (0, 0) };
        let buffered = waiting.output.capacity() + waiting.input.len();
        let before = std::mem::replace(&mut waiting.counted, buffered);
        self.drop_waiting_if_empty();
        (before, buffered)
    }

    pub(super) fn set_deadline(&mut self, deadline: Option<Timestamp>) {
        self.deadline = deadline.unwrap_or(Timestamp::MAX);
        self.is_timer_late = self.next_call().is_some_and(|time| time < self.timer_time);
    }

    pub(super) fn set_timer_time(&mut self, time: Option<Timestamp>) {
        self.timer_time = time.unwrap_or(Timestamp::MAX);
        self.is_timer_late = false;
    }

    fn waiting_mut(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    fn drop_waiting_if_empty(&mut self) {
        self.waiting.take_if(|waiting| {
            let has_bytes = !waiting.output.is_empty() || !waiting.input.is_empty();
            let is_idle = !has_bytes && waiting.need == 0 && waiting.senders.is_empty();
            let is_unlimited = waiting.per_s.is_none() && waiting.allowance == Allowance::FULL;
            is_idle && is_unlimited && waiting.counted == 0
        });
    }

    pub(super) fn pending(&self) -> usize {
        self.output().len()
    }

    pub(super) fn output(&self) -> &[u8] {
        self.waiting.as_ref().map_or(&[], |waiting| &waiting.output[waiting.output_at..])
    }

    pub(super) fn append_output(&mut self, bytes: &[u8]) {
        let Waiting { output, output_at, .. } = self.waiting_mut();
        if *output_at > 0 && *output_at >= output.len() / 2 {
            output.drain(..*output_at);
            *output_at = 0;
        }
        output.extend_from_slice(bytes);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        let Waiting { output, output_at, .. } = self.waiting_mut();
        *output_at += bytes;
        if *output_at == output.len() {
            *output = Vec::new();
            *output_at = 0;
            self.drop_waiting_if_empty();
        }
    }

    /// Notes that forwarded bytes of the connection `from` wait among the output.
    pub(super) fn add_sender(&mut self, from: Token) {
        self.waiting_mut().senders.push(from);
    }

    pub(super) fn take_senders(&mut self) -> Vec<Token> {
        let senders = self.waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.senders));
        self.drop_waiting_if_empty();
        senders.unwrap_or_default()
    }

    pub(super) fn need(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.need)
    }

    pub(super) fn set_need(&mut self, need: usize) {
        if need != self.need() {
            self.waiting_mut().need = need;
            self.drop_waiting_if_empty();
        }
    }

    pub(super) fn input(&self) -> &[u8] {
        let waiting = self.waiting.as_ref();
        waiting.map_or(&[], |waiting| &waiting.input[waiting.input_at..waiting.input_end])
    }

    /// Keeps a copy of `rest`.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.keep_from(rest.into(), 0, rest.len());
    }

    /// Keeps the part of `input` from `at` to `end`.
    pub(super) fn keep_from(&mut self, input: Box<[u8]>, at: usize, end: usize) {
        let waiting = self.waiting_mut();
        (waiting.input, waiting.input_at, waiting.input_end) = (input, at, end);
    }

    /// Takes the buffer with the kept input, and the range that it is in. It needs nothing any more.
    pub(super) fn take_input(&mut self) -> (Box<[u8]>, usize, usize) {
        let Some(waiting) = &mut self.waiting else { return Default::default() };
        let taken = (std::mem::take(&mut waiting.input), waiting.input_at, waiting.input_end);
        (waiting.input_at, waiting.input_end, waiting.need) = (0, 0, 0);
        self.drop_waiting_if_empty();
        taken
    }

    /// Makes a buffer of `len` bytes that begins with the kept input.
    pub(super) fn grow_input(&mut self, len: usize) {
        let waiting = self.waiting_mut();
        if waiting.input_at == 0 && waiting.input.len() >= len {
            return;
        }
        let mut input = vec![0; len].into_boxed_slice();
        let kept = self.input().len();
        input[..kept].copy_from_slice(self.input());
        self.keep_from(input, 0, kept);
    }

    /// The room behind the kept input.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let Waiting { input, input_end, .. } = self.waiting_mut();
        &mut input[*input_end..]
    }

    /// Appends `bytes` to the kept input, in a buffer that grows with it up to `len_max`.
    pub(super) fn append_input(&mut self, bytes: &[u8], len_max: usize) {
        let len = self.input().len() + bytes.len();
        if self.room().len() < bytes.len() {
            self.grow_input(len_max.min(2 * len));
        }
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    pub(super) fn filled(&mut self, len: usize) {
        self.waiting_mut().input_end += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn output_is_sent_in_order_out_of_a_buffer_that_follows_what_waits(
            steps in prop::collection::vec((0_usize..20, 0_usize..20), 0..60),
        ) {
            let (mut cold, mut written, mut sent) = (Cold::default(), 0_u8, 0_u8);
            for (len, takes) in steps {
                let mut next = || { written = written.wrapping_add(1); written };
                let bytes: Vec<_> = (0..len).map(|_| next()).collect();
                cold.append_output(&bytes);
                // What was sent is dropped when it is as long as what waits, before more is appended.
                prop_assert!(cold.waiting_mut().output.len() <= 2 * cold.pending() + len);
                for byte in &cold.output()[..takes.min(cold.pending())] {
                    sent = sent.wrapping_add(1);
                    prop_assert_eq!(*byte, sent);
                }
                cold.sent(takes.min(cold.pending()));
            }
            if cold.pending() == 0 {
                prop_assert!(cold.waiting.is_none(), "at rest there is no buffer");
            }
        }

        #[test]
        fn input_is_kept_in_order_in_a_buffer_that_follows_what_is_there(
            pieces in prop::collection::vec(1_usize..20, 1..60),
            first in 0_usize..30,
            at in 0_usize..30,
        ) {
            let bytes: Vec<u8> = (0..u8::MAX).cycle().take(2000).collect();
            let at = at.min(first);
            let mut cold = Cold::default();
            cold.keep_from(bytes[..first].into(), at, first);
            let (mut end, total) = (first, first + pieces.iter().sum::<usize>());
            for len in pieces {
                cold.append_input(&bytes[end..end + len], total - at);
                end += len;
                prop_assert_eq!(cold.input(), &bytes[at..end]);
                prop_assert!(cold.waiting_mut().input.len() <= (2 * (end - at)).max(first));
            }
            prop_assert!(cold.waiting_mut().input.len() <= (total - at).max(first));
            let (input, from, to) = cold.take_input();
            prop_assert_eq!(&input[from..to], &bytes[at..end]);
            prop_assert!(cold.waiting.is_none(), "at rest there is no buffer");
        }
    }

    #[test]
    fn what_waits_is_there_as_long_as_any_of_it() {
        let mut cold = Cold::default();
        cold.append_output(b"a");
        cold.keep(b"b");
        cold.add_sender(Token::detached(1));
        cold.sent(1);
        assert_eq!(cold.input(), b"b");
        drop(cold.take_input());
        assert_eq!(cold.take_senders(), [Token::detached(1)]);
        assert!(cold.waiting.is_none());
        cold.keep(b"c");
        assert_eq!(cold.take_senders(), []);
        assert_eq!(cold.input(), b"c");
        // A deadline at rest costs little.
        assert!(size_of::<Cold>() <= 40, "{} bytes", size_of::<Cold>());
    }
}
