//! The echo protocol: every byte comes back.

use super::{Exchange, Verdict};
use crate::echo_check::EchoCheck;
use crate::failure::End;
use crate::pattern::Pattern;
use epoll_sys::Timestamp;

/// A connection to an echo server.
#[derive(Debug)]
pub(crate) struct Echo<'a> {
    check: EchoCheck,
    pattern: &'a Pattern,
}

impl<'a> Echo<'a> {
    pub(crate) fn new(pattern: &'a Pattern, number: u64, size: u64, in_flight_max: usize) -> Self {
        Self { check: EchoCheck::new(pattern, number, size, in_flight_max), pattern }
    }
}

impl Exchange for Echo<'_> {
    fn restart(&mut self, number: u64) {
        self.check.restart(self.pattern, number);
    }

    fn has_room(&self) -> bool {
        self.check.has_room()
    }

    fn in_flight(&self) -> usize {
        self.check.in_flight()
    }

    fn in_flight_since(&self, from: Timestamp) -> usize {
        self.check.in_flight_since(from)
    }

    fn begin(&mut self, due: Timestamp, _now: Timestamp) {
        self.check.begin(due);
    }

    fn unsent(&self) -> &[u8] {
        self.check.unsent(self.pattern)
    }

    fn sent(&mut self, len: usize) {
        self.check.sent(self.pattern, len);
    }

    fn receive(&mut self, bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End> {
        let answered = |due| judged(Verdict::Answered(due));
        self.check.receive(self.pattern, bytes, answered).map_err(End::from)
    }
}
