//! The end of connections: a server that was asked for nothing more is to send nothing more, and is to
//! close its half after ours, not before.
//!
//! Whether its end has come before ours can only be said where it has arrived by then. So nothing is
//! closed before a while of silence.

use super::Worker;
use crate::connection::End;
use epoll_sys::Timestamp;
use std::io;
use std::time::Duration;

/// How long a server that sends or closes too early has time to be found out.
const SILENCE: Duration = Duration::from_millis(10);

/// Closes our half of every connection, and reads to the server's end, for as long as an answer may
/// take. What comes before that, and what does not, is counted as failures. An interrupt ends it, and
/// after one in the run there is nothing to say about the end.
///
/// # Errors
///
/// What `epoll_wait` fails with.
pub(crate) fn close_all(workers: &mut [Worker<'_>]) -> io::Result<()> {
    if workers.iter().any(Worker::is_interrupted) {
        return Ok(());
    }
    let end = Timestamp::now() + SILENCE;
    for worker in &mut *workers {
        worker.listen(end)?;
    }
    for worker in &mut *workers {
        worker.close_halves();
    }
    let begin = Timestamp::now();
    workers.iter_mut().try_for_each(|worker| worker.read_to_the_ends(begin))
}

impl Worker<'_> {
    /// Handles what comes up to this time, and what has come if that is over already.
    fn listen(&mut self, end: Timestamp) -> io::Result<()> {
        loop {
            let left = end - Timestamp::now();
            self.wait(left)?;
            // A batch may not be all that there is. What is reported is closed, so this ends.
            if self.is_interrupted || left.is_zero() && self.events.is_empty() {
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
                // It was reset a moment ago, as a read says.
                let read = self.connections[index].read(&mut self.buffer);
                let end = read.err().unwrap_or_else(|| End::from(error));
                self.drop_connection(index, &end);
            }
        }
        self.idle.close_halves(&mut self.buffer, &mut self.stats);
    }

    /// Reads until the server has closed its half of each, or has taken too long since `begin`.
    fn read_to_the_ends(&mut self, begin: Timestamp) -> io::Result<()> {
        let limit = self.shared.plan.answer_limit;
        let deadline = begin + limit;
        while !self.is_interrupted && (self.awaiting > 0 || self.idle.is_awaiting()) {
            let now = Timestamp::now();
            // What has arrived is in time, however late this thread comes to look.
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

    /// The server has closed its half after ours. In a churn the next conversation may begin.
    pub(super) fn ended(&mut self, index: usize) {
        self.connections[index].close();
        self.awaiting -= 1;
        if self.shared.plan.churn {
            self.fill(index, Timestamp::now(), 1);
        }
    }
}
