//! Datagrams: they are received in batches, each is answered or lost alone, and a loss ends no connection.

use super::{Worker, numbered};
use crate::exchange::Verdict;
use crate::failure::{End, Failure};
use crate::plan::Plan;
use crate::series::Slice;
use crate::stats::Stats;
use epoll_sys::Timestamp;
use epoll_sys::socket::RecvBatch;
use std::time::Duration;

/// The largest number of datagrams that are received at once.
const BATCH_MAX: u32 = 32;

/// The largest number of batches that are read before datagrams count as lost: more than a socket holds.
const READS_MAX: usize = 1024;

/// A closed loop gives up when no datagram was answered for so many times the limit of one. Fewer would end
/// runs in which many are lost.
pub(super) const SILENT_LIMITS: u32 = 10;

/// Returns the buffers for datagrams; `None` if messages are none.
pub(super) fn batch(plan: &Plan) -> anyhow::Result<Option<RecvBatch>> {
    if !plan.has_datagrams() {
        return Ok(None);
    }
    let count = usize::try_from(plan.in_flight_max().min(BATCH_MAX))?;
    // One byte more shows that an answer is too long.
    Ok(Some(RecvBatch::new(count, usize::try_from(plan.size)?.saturating_add(1))))
}

/// Records the verdict on a request of the connection with this number. Of the counters of datagrams, those from the
/// warm-up are left out; failures are not.
#[inline]
pub(super) fn record(
    stats: &mut Stats,
    slice: &mut Slice,
    connection: u64,
    now: Timestamp,
    verdict: Verdict,
) {
    let from = stats.from();
    let one = |due: Option<Timestamp>| u64::from(due.is_none_or(|due| due >= from));
    match verdict {
        Verdict::Answered(due) | Verdict::Reordered(due) => {
            if verdict == Verdict::Reordered(due) {
                stats.datagrams.reordered += one(Some(due));
            }
            if let Some(latency_ns) = stats.answered(due, now) {
                slice.record(latency_ns);
            }
        }
        Verdict::Duplicated(due) => stats.datagrams.duplicated += one(Some(due)),
        Verdict::Late(due) => stats.datagrams.late += one(due),
        Verdict::Wrong(due, what) => {
            stats.datagrams.wrong += one(due);
            stats.failed(Failure::WrongBytes, 1, || format!("connection {connection}: {what}"));
        }
        Verdict::Lost(due, index) => {
            stats.datagrams.lost += one(Some(due));
            let what =
                || format!("connection {connection}: datagram {index} was not answered in time");
            stats.failed(Failure::Lost, 1, what);
        }
    }
}

impl Worker<'_> {
    /// Gives up the datagrams of a socket that were not answered within `limit`, and sends others.
    pub(super) fn give_up_overdue(&mut self, index: usize, now: Timestamp, limit: Duration) {
        // Datagrams that have arrived are in time, however late this thread is.
        for _ in 0..READS_MAX {
            if !self.connections[index].exchange.has_overdue(now, limit) || !self.read(index) {
                break;
            }
        }
        let exchange = &mut self.connections[index].exchange;
        if !exchange.has_overdue(now, limit) {
            return;
        }
        let (stats, slice) = (&mut self.stats, &mut self.slice);
        let number = numbered(self.share, index as u64);
        let mut judged = |verdict| record(stats, slice, number, now, verdict);
        exchange.give_up_overdue(now, limit, &mut judged);
        if exchange.in_flight() == 0 {
            self.awaiting -= 1;
        }
        self.fill(index, Timestamp::now(), self.shared.plan.pipeline);
    }

    /// Counts the datagrams in flight on a socket that fails as lost. The failure is that of the socket.
    pub(super) fn lose_in_flight(&mut self, index: usize) {
        let (exchange, from) = (&mut self.connections[index].exchange, self.stats.from());
        let counts = &mut self.stats.datagrams;
        let mut judged = |verdict| match verdict {
            Verdict::Lost(due, _) if due >= from => counts.lost += 1,
            _ => {}
        };
        exchange.give_up_overdue(Timestamp::MAX, Duration::ZERO, &mut judged);
        // The rest was counted as sent when it was begun.
        counts.sent = counts.sent.saturating_sub(exchange.in_flight_since(from) as u64);
    }

    /// Returns whether nobody listens at the address, and has not since the beginning of the run.
    pub(super) fn is_nobody_there(&self, end: &End) -> bool {
        self.batch.is_some() && end.failure == Failure::Refused && self.stats.until.is_none()
    }
}
