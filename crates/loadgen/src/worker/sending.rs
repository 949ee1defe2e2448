//! Sending requests: which connection has room for the next one, and what it sends.
//!
//! A connection is in the queue of connections with room at most once.

use super::Worker;
use crate::plan::Plan;
use epoll_sys::Timestamp;

impl Worker<'_> {
    /// Sends the requests that are due on connections that have room.
    pub(super) fn send_due(&mut self, mut now: Timestamp) {
        let Plan { rate, pipeline, .. } = *self.shared.plan;
        while self.pacer.is_due(now) && !self.is_backing_off(now) {
            let Some(index) = self.ready.pop_front() else { return };
            let index = index as usize;
            self.connections[index].is_ready = false;
            match rate {
                // Connections take turns.
                Some(_) => self.fill(index, now, 1),
                // Each connection is filled at once, with a time of its own: the last of many must not seem
                // to have waited for the first, and the end of the run must be noticed meanwhile.
                None => {
                    now = Timestamp::now();
                    self.fill(index, now, pipeline);
                }
            }
        }
    }

    /// Sends at most `count_max` messages that are due on one connection.
    #[inline]
    pub(super) fn fill(&mut self, index: usize, now: Timestamp, count_max: u32) {
        if self.shared.plan.churn && !self.connect(index, now) {
            return;
        }
        let connection = &mut self.connections[index];
        let was_awaiting = connection.is_awaiting();
        for _ in 0..count_max {
            if !connection.has_room() {
                break;
            }
            let Some(due) = self.pacer.next(now) else { break };
            connection.exchange.begin(due, now);
            if !self.is_warming_up {
                connection.take_request();
                if self.batch.is_some() {
                    self.stats.datagrams.sent += 1;
                }
                if due <= self.stalled_until {
                    self.stats.sent_late(now - due, self.tolerance);
                }
            }
        }
        if !was_awaiting && connection.is_awaiting() {
            self.awaiting += 1;
            connection.await_from(now);
        }
        if connection.exchange.has_unsent() && !connection.awaits_room() {
            self.flush(index);
        }
        self.make_ready(index);
    }

    #[inline]
    pub(super) fn flush(&mut self, index: usize) {
        if let Err(end) = self.connections[index].flush(&self.epoll, index as u64) {
            self.drop_connection(index, &end);
        }
    }

    /// Puts a connection that has room into the queue of those.
    #[inline]
    pub(super) fn make_ready(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.has_room() && !connection.is_ready {
            connection.is_ready = true;
            // There are at most as many connections as a `u32` counts.
            self.ready.push_back(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }
}
