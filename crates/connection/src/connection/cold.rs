//! What most connections do not have at rest: output that waits, input that is kept, a deadline.

use crate::Step;
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Output that the transport has not taken, from `output_at` on. Not allocated while there is none.
    output: Vec<u8>,
    output_at: usize,
    /// Input that the protocol has not consumed, from `input_at` to `input_end`. As long as what the
    /// protocol has asked for, or just as long as what is kept.
    input: Box<[u8]>,
    input_at: usize,
    input_end: usize,
    /// The length that the kept input has to have before it is shown again.
    pub(super) need: usize,
    pub(super) deadline: Option<Timestamp>,
    /// The time at which the owner's timer fires.
    pub(super) timer_time: Option<Timestamp>,
    /// The owner's timer fires after the deadline, and the owner does not know yet.
    pub(super) is_timer_late: bool,
    /// The end of the connection, as a message's callback has answered it.
    pub(super) failed: Option<Step>,
    /// A message has changed what the owner registers, and the owner does not know yet.
    pub(super) has_changed: bool,
    /// An end, an error or urgent data was reported during a pause, or with what led to it.
    pub(super) is_end_announced: bool,
    /// `on_finish` was called.
    pub(super) has_said_last_words: bool,
    /// Bytes of this connection wait for room in another one.
    pub(super) waits_for_receiver: bool,
    /// The protocol wants no input either, while bytes wait for their receiver.
    pub(super) is_paused_besides: bool,
    /// The connections whose bytes wait for room in this one.
    pub(super) feeders: Vec<Token>,
}

impl Cold {
    pub(super) fn pending(&self) -> usize {
        self.output.len() - self.output_at
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output[self.output_at..]
    }

    pub(super) fn append_output(&mut self, bytes: &[u8]) {
        if self.output_at > 0 && self.output_at >= self.output.len() / 2 {
            self.output.drain(..self.output_at);
            self.output_at = 0;
        }
        self.output.extend_from_slice(bytes);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.output_at += bytes;
        if self.output_at == self.output.len() {
            self.output = Vec::new();
            self.output_at = 0;
        }
    }

    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.input_at..self.input_end]
    }

    /// Keeps a copy of `rest`.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.keep_from(rest.into(), 0, rest.len());
    }

    /// Keeps the part of `input` from `at` to `end`.
    pub(super) fn keep_from(&mut self, input: Box<[u8]>, at: usize, end: usize) {
        (self.input, self.input_at, self.input_end) = (input, at, end);
    }

    /// Takes the buffer with the kept input, and the range that it is in.
    pub(super) fn take_input(&mut self) -> (Box<[u8]>, usize, usize) {
        let taken = (std::mem::take(&mut self.input), self.input_at, self.input_end);
        (self.input_at, self.input_end) = (0, 0);
        taken
    }

    /// Makes a buffer of `len` bytes that begins with the kept input.
    pub(super) fn grow_input(&mut self, len: usize) {
        if self.input_at == 0 && self.input.len() >= len {
            return;
        }
        let mut input = vec![0; len].into_boxed_slice();
        let kept = self.input().len();
        input[..kept].copy_from_slice(self.input());
        self.keep_from(input, 0, kept);
    }

    /// The room behind the kept input.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.input[self.input_end..]
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
        self.input_end += len;
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
                prop_assert!(cold.output.len() <= 2 * cold.pending() + len);
                for byte in &cold.output()[..takes.min(cold.pending())] {
                    sent = sent.wrapping_add(1);
                    prop_assert_eq!(*byte, sent);
                }
                cold.sent(takes.min(cold.pending()));
            }
            if cold.pending() == 0 {
                prop_assert_eq!(cold.output.capacity(), 0, "at rest there is no buffer");
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
                prop_assert!(cold.input.len() <= (2 * (end - at)).max(first));
            }
            prop_assert!(cold.input.len() <= (total - at).max(first));
        }
    }
}
