//! The end of connections: after its last answer a server must send nothing more, and must not close its
//! half before the client has closed its own.
//!
//! An end that comes too early is only seen if it arrives before the client closes. The client therefore
//! stays silent for a moment first.

use super::Worker;
use crate::failure::End;
use epoll_sys::Timestamp;
use std::io;
use std::time::Duration;

/// The time of silence in which a server that sends or closes too early is found.
const SILENCE: Duration = Duration::from_millis(10);

/// Closes our half of every connection, and reads up to the server's end within the time limit of an
/// answer. Surplus bytes and missing ends are counted as failures. An interrupt ends the wait; after an
/// interrupted run nothing is checked.
///
/// # Errors
///
/// Those of `epoll_wait`.
pub(crate) fn close_all(workers: &mut [Worker<'_>]) -> io::Result<()> {
    if workers.iter().any(Worker::is_interrupted) {
        return Ok(());
    }
    let end = Timestamp::now() + SILENCE;
    for worker in &mut *workers {
        worker.listen(end)?;
    }
    if workers.iter().any(|worker| worker.batch.is_some()) {
        // The silence was for duplicates. Datagrams have no end.
        return Ok(());
    }
    for worker in &mut *workers {
        worker.close_halves();
    }
    let begin = Timestamp::now();
    workers.iter_mut().try_for_each(|worker| worker.read_to_the_ends(begin))
}

impl Worker<'_> {
    /// Handles the events up to `end`, and those that are pending if that has passed.
    fn listen(&mut self, end: Timestamp) -> io::Result<()> {
        loop {
            let left = end - Timestamp::now();
            self.wait(left)?;
            // A batch may not hold all events. Reported connections are closed, so this ends; datagrams may come
            // for ever.
            let is_done = self.events.is_empty() || self.batch.is_some();
            if self.is_interrupted || left.is_zero() && is_done {
                return Ok(());
            }
        }
    }

    fn close_halves(&mut self) {
        let now = Timestamp::now();
        for index in 0..self.connections.len() {
            if !self.connections[index].is_attached() {
                continue;
            }
            self.awaiting += 1;
            if let Err(error) = self.connections[index].close_half(now) {
                // The connection was reset a moment ago; a read returns the error.
                let read = self.connections[index].read(&mut self.buffer);
                let end = read.err().unwrap_or_else(|| End::from(error));
                self.drop_connection(index, &end);
            }
        }
        self.idle.close_halves(&mut self.buffer, &mut self.stats);
    }

    /// Reads until the server has closed its half of each connection, or has taken too long since `begin`.
    fn read_to_the_ends(&mut self, begin: Timestamp) -> io::Result<()> {
        let limit = self.shared.plan.answer_limit;
        let deadline = begin + limit;
        while !self.is_interrupted && (self.awaiting > 0 || self.idle.is_awaiting()) {
            let now = Timestamp::now();
            // Bytes that have arrived are in time, however late this thread is.
            self.listen(now)?;
            self.sweep(now);
            if now >= deadline {
                self.idle.give_up(limit, &mut self.stats);
            }
            let next = (now + self.sweep_every()).min(deadline);
            self.wait(next - now)?;
        }
        Ok(())
    }

    /// Handles the server's end after our own. In a churn the next request may begin.
    pub(super) fn ended(&mut self, index: usize) {
        self.connections[index].close();
        self.awaiting -= 1;
        if self.shared.plan.churn {
            self.fill(index, Timestamp::now(), 1);
        }
    }
}
