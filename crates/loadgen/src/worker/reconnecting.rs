//! Lost connections are made again, after a pause that grows with each attempt. Requests of an open loop that
//! become due while no connection of the thread is open fail; its schedule goes on.
//!
//! A connection of a churn is made for each request anyway; after a loss it only pauses.

use super::{Worker, numbered};
use crate::address::lacks;
use crate::connector::WAVE;
use crate::failure::{End, Failure};
use epoll_sys::Timestamp;
use std::cmp::Reverse;
use std::time::Duration;

/// The pause after the first loss. It doubles with each further one, up to the longest, until an answer has
/// come: a server that restarts is found soon, and one that is gone is not flooded.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Worker<'_> {
    /// Counts the failure of a connection and closes it, for good or until it is made again.
    pub(super) fn lose(&mut self, index: usize, end: &End) {
        let number = numbered(self.share, index as u64);
        let whom = match (&self.batch, end.failure) {
            (Some(_), Failure::Refused) => {
                format!("nobody listens at {}: ", self.shared.connector.address)
            }
            _ => String::new(),
        };
        let what = || format!("connection {number}: {whom}{}", end.what);
        let is_final = self.shared.plan.abort_on_error || self.is_nobody_there(end);
        self.stats.failed(end.failure, 1, what);
        if is_final {
            return self.connections[index].fail();
        }
        let pause = self.connections[index].lose(FIRST_PAUSE, LONGEST_PAUSE);
        self.retry_at(index, Timestamp::now() + pause);
    }

    /// Makes lost connections again whose pause is over, as many at a time as a server's backlog holds.
    pub(super) fn reconnect_due(&mut self, now: Timestamp) {
        if self.retries.is_empty() || self.pacer.is_over(now) && !self.is_warming_up {
            return;
        }
        while self.next_retry().is_some_and(|at| at <= now) {
            let Some(Reverse((_, index))) = self.retries.pop() else { return };
            let index = index as usize;
            if self.shared.plan.churn {
                self.connections[index].reopen();
                self.revive(index, now);
            } else {
                self.reconnect(index);
            }
        }
    }

    /// Returns the time of the next attempt; `None` if there is none, or if there are enough at present.
    pub(super) fn next_retry(&self) -> Option<Timestamp> {
        let Reverse((at, _)) = self.retries.peek()?;
        (self.connecting < WAVE).then_some(*at)
    }

    /// Looks at a connection that is made again, and takes it into use when it is established.
    #[cold]
    pub(super) fn arrive(&mut self, index: usize) {
        match self.connections[index].arrive(&self.epoll, index as u64) {
            Ok(false) => {}
            Ok(true) => {
                let now = Timestamp::now();
                self.connecting -= 1;
                self.stats.connects += 1;
                if let Some(begun) = self.connections[index].take_connecting_since() {
                    self.stats.connected(now - begun);
                }
                self.revive(index, now);
            }
            Err(error) => self.drop_connection(index, &error.into()),
        }
    }

    /// Fails the requests of an open loop that are due while no connection is open.
    pub(super) fn fail_due(&mut self, now: Timestamp) {
        let plan = self.shared.plan;
        if self.alive > 0 || plan.rate.is_none() || plan.abort_on_error {
            return;
        }
        let failed = self.pacer.skip_due(now);
        if !self.is_warming_up {
            let what = || format!("{failed} requests were due while no connection was open");
            self.stats.failed(Failure::Unsent, failed, what);
        }
    }

    /// Closes the connections that are being made again at the end of the run.
    pub(super) fn abandon_connecting(&mut self) {
        for connection in &mut self.connections {
            if connection.is_connecting() {
                connection.fail();
            }
        }
        self.connecting = 0;
    }

    fn reconnect(&mut self, index: usize) {
        let connector = self.shared.connector;
        let begun = Timestamp::now();
        let socket = match connector.connect(numbered(self.share, index as u64)) {
            Ok(socket) => socket,
            Err(error) => {
                let Some(resource) = lacks(connector.address, &error) else {
                    return self.lose(index, &error.into());
                };
                // No loss: the server had no part in it.
                self.stats.own_delays.waited(resource, FIRST_PAUSE);
                return self.retry_at(index, begun + FIRST_PAUSE);
            }
        };
        let (connection, data) = (&mut self.connections[index], index as u64);
        match connection.attach_connecting(socket, &self.epoll, data, begun) {
            Ok(()) => {
                self.connecting += 1;
                // On the loopback interface it is established by now.
                self.arrive(index);
            }
            Err(error) => self.lose(index, &error.into()),
        }
    }

    /// Takes a connection into use again.
    fn revive(&mut self, index: usize, now: Timestamp) {
        self.fail_due(now);
        self.alive += 1;
        self.make_ready(index);
    }

    fn retry_at(&mut self, index: usize, at: Timestamp) {
        // There are at most as many connections as a `u32` counts.
        self.retries.push(Reverse((at, u32::try_from(index).unwrap_or(u32::MAX))));
    }
}
