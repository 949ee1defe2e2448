//! The check that a connection's echoes are the bytes it sent: a state machine that makes no system call
//! and reads no clock.
//!
//! Messages are answered in the order in which they were begun, and no byte can come back before it was
//! sent.

use crate::pattern::{Offset, Pattern};
use epoll_sys::Timestamp;
use std::collections::VecDeque;
use std::fmt;

/// The messages of a connection in flight, and the expected bytes of their answers.
///
/// ```
/// use epoll_load::{EchoCheck, Pattern};
/// use epoll_sys::Timestamp;
///
/// let pattern = Pattern::for_size(5);
/// let mut check = EchoCheck::new(&pattern, 1, 5, 1);
/// check.begin(Timestamp::EPOCH);
///
/// let message = check.unsent(&pattern).to_vec();
/// check.sent(&pattern, message.len());
/// assert!(check.unsent(&pattern).is_empty());
///
/// let mut answers = 0;
/// check.receive(&pattern, &message, |_| answers += 1)?;
/// assert_eq!(answers, 1);
/// # Ok::<(), epoll_load::Mismatch>(())
/// ```
#[derive(Debug)]
pub struct EchoCheck {
    /// The size of a message.
    size: u64,
    /// The number of bytes of begun messages that are not sent yet.
    unsent: u64,
    /// The number of bytes that were sent and have not come back.
    unanswered: u64,
    /// The number of bytes missing from the oldest answer; `size` if no answer is awaited.
    missing: u64,
    send_offset: Offset,
    receive_offset: Offset,
    received: u64,
    /// The due times of the messages in flight, the oldest first. Its buffer never grows.
    due: VecDeque<Timestamp>,
    in_flight_max: usize,
}

/// A difference between the bytes that came back and those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The byte at this position of the connection's stream differs.
    Byte {
        /// The position, counted from 0.
        position: u64,
        /// The size of a message.
        size: u64,
    },
    /// More bytes came back than were sent.
    Extra {
        /// The number of bytes that had been sent.
        sent: u64,
    },
}

impl EchoCheck {
    /// Returns the check for the connection with this number. Its messages have `size` bytes, and up to
    /// `in_flight_max` of them are in flight at a time; both are at least 1.
    #[must_use]
    pub fn new(pattern: &Pattern, number: u64, size: u64, in_flight_max: usize) -> Self {
        let beginning = pattern.beginning(number);
        Self {
            size,
            unsent: 0,
            unanswered: 0,
            missing: size,
            send_offset: beginning,
            receive_offset: beginning,
            received: 0,
            due: VecDeque::with_capacity(in_flight_max),
            in_flight_max,
        }
    }

    /// Starts over as the connection with another number, and forgets the messages in flight.
    pub fn restart(&mut self, pattern: &Pattern, number: u64) {
        let beginning = pattern.beginning(number);
        self.unsent = 0;
        self.unanswered = 0;
        self.missing = self.size;
        self.send_offset = beginning;
        self.receive_offset = beginning;
        self.received = 0;
        self.due.clear();
    }

    /// Returns whether one more message may be begun.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.due.len() < self.in_flight_max
    }

    /// Returns the number of messages that were begun and have not been answered.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.due.len()
    }

    /// Returns the number of messages in flight that were due at `from` or later.
    #[must_use]
    pub fn in_flight_since(&self, from: Timestamp) -> usize {
        self.due.iter().filter(|due| **due >= from).count()
    }

    /// Begins a message that was due at `due`. There must be room for it.
    #[inline]
    pub fn begin(&mut self, due: Timestamp) {
        debug_assert!(self.has_room());
        self.due.push_back(due);
        self.unsent += self.size;
    }

    /// Returns the bytes to send next, or a part of them; an empty slice if there are none.
    #[inline]
    #[must_use]
    pub fn unsent<'a>(&self, pattern: &'a Pattern) -> &'a [u8] {
        pattern.slice(self.send_offset, self.unsent)
    }

    /// Returns whether there are bytes to send.
    #[inline]
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Records that `len` bytes of [`unsent`](Self::unsent) were sent.
    #[inline]
    pub fn sent(&mut self, pattern: &Pattern, len: usize) {
        self.send_offset = pattern.after(self.send_offset, len);
        self.unsent -= len as u64;
        self.unanswered += len as u64;
    }

    /// Checks bytes that came back, and calls `answered` with the due time of each message that they
    /// complete.
    ///
    /// # Errors
    ///
    /// [`Mismatch`]: the bytes differ from those that were sent. None of them then completes a message.
    #[inline]
    pub fn receive(
        &mut self,
        pattern: &Pattern,
        bytes: &[u8],
        mut answered: impl FnMut(Timestamp),
    ) -> Result<(), Mismatch> {
        if let Some(index) = pattern.mismatch(self.receive_offset, bytes) {
            // Surplus bytes usually differ from the pattern as well; they are reported as surplus.
            if index as u64 >= self.unanswered {
                return Err(self.extra());
            }
            let position = self.received + index as u64;
            return Err(Mismatch::Byte { position, size: self.size });
        }
        let mut len = bytes.len() as u64;
        if len > self.unanswered {
            return Err(self.extra());
        }
        self.receive_offset = pattern.after(self.receive_offset, bytes.len());
        self.received += len;
        self.unanswered -= len;
        while len >= self.missing {
            len -= self.missing;
            self.missing = self.size;
            // As many were begun as bytes were sent for.
            if let Some(due) = self.due.pop_front() {
                answered(due);
            }
        }
        self.missing -= len;
        Ok(())
    }

    fn extra(&self) -> Mismatch {
        Mismatch::Extra { sent: self.received + self.unanswered }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte { position, size } => {
                let (message, byte) = (position / size, position % size);
                write!(f, "another byte came back at {byte} of message {message}")
            }
            Self::Extra { sent } => write!(f, "more came back than the {sent} bytes sent"),
        }
    }
}

impl std::error::Error for Mismatch {}
