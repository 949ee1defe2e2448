//! The number of bytes that a connection may receive a second. Reads are not cut short for it: one that brings more
//! than is allowed is followed by a pause, until it is paid for.
//!
//! Invariant: with such a limit a connection is never at rest, so every read is one that counts. The limit is the
//! connection's, not that of the thread that has it: where threads share connections and the limit changes, some of
//! them may not know yet.

use super::{Connection, Flags};
use crate::{Protocol, ThreadState, Transport};
use std::num::NonZeroU64;

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Applies the [`bytes_per_s_max`](crate::Limits::bytes_per_s_max) of the thread to this connection. Opening a
    /// connection does this too; call it after the limit has changed.
    ///
    /// If the connection has received more than the old limit allows, the length of its pause is computed anew by the
    /// new limit, and the pause ends at once if there is none. The owner then sets its timer for
    /// [`deadline`](Self::deadline), and [`expire`](Self::expire) ends the pause.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_connection::{Clocks, Connection, Consumed, Context, Limits, Protocol, ThreadState};
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Readiness, Token};
    /// use std::io::Write;
    /// use std::num::NonZeroU64;
    ///
    /// struct Discard;
    ///
    /// impl Protocol for Discard {
    ///     type Local = ();
    ///     type Message = ();
    ///
    ///     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
    ///         Consumed::bytes(input.len())
    ///     }
    /// }
    ///
    /// let limits = Limits { bytes_per_s_max: NonZeroU64::new(1), ..Limits::default() };
    /// let mut thread = ThreadState::new(0, (), limits, Clocks::default());
    /// let (ours, mut peer) = Stream::pair()?;
    /// let (mut connection, token) = (Connection::new(Discard, ours), Token::detached(0));
    /// let _ = connection.open(token, &mut thread);
    /// for _ in 0..2 {
    ///     peer.write_all(&[b'x'; 3600])?;
    ///     let _ = connection.step(Readiness::IN, token, &mut thread);
    /// }
    /// assert!(connection.is_paused(), "for an hour");
    ///
    /// thread.limits_mut().bytes_per_s_max = None;
    /// connection.apply_limits(&mut thread);
    /// let _ = connection.expire(token, &mut thread);
    /// assert_eq!(connection.received(), 7200);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn apply_limits(&mut self, thread: &mut ThreadState<P>) {
        self.set_per_s(thread);
        self.stay_paced();
    }

    /// Takes the limit of the thread over.
    #[cold]
    pub(super) fn set_per_s(&mut self, thread: &mut ThreadState<P>) {
        let per_s = thread.limits().bytes_per_s_max;
        if per_s != self.per_s() {
            let now = thread.turn.now();
            self.cold_mut().set_per_s(per_s, now);
        }
    }

    /// Returns how many bytes it may receive a second, if that is limited.
    pub(super) fn per_s(&self) -> Option<NonZeroU64> {
        self.cold.as_ref().and_then(|cold| cold.per_s())
    }

    /// Notes that `bytes` were received.
    pub(super) fn charge(&mut self, bytes: usize, thread: &mut ThreadState<P>) {
        if let Some(cold) = &mut self.cold {
            cold.charge(bytes as u64, || thread.turn.now());
        }
    }

    /// Pauses if more was received than is paid for. Returns whether it does.
    pub(super) fn begin_pace(&mut self, thread: &mut ThreadState<P>) -> bool {
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.per_s().is_some()) else {
            return false;
        };
        if cold.allowance().paid_at() <= thread.turn.now() {
            return false;
        }
        cold.begin_pace();
        // It was about to read, so there may be more: it would be reported.
        self.flags.insert(Flags::PAUSED | Flags::SILENCED);
        true
    }

    /// Ends such a pause if everything is paid for. Returns whether input may be read and shown.
    pub(super) fn end_pace(&mut self, thread: &mut ThreadState<P>) -> bool {
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.is_paced) else { return false };
        if cold.allowance().paid_at() > thread.turn.now() {
            return false;
        }
        cold.end_pace();
        if std::mem::take(&mut cold.is_paused_by_protocol) {
            return false;
        }
        self.flags.remove(Flags::PAUSED | Flags::SILENCED);
        true
    }

    /// Sees to it that the next step is not the usual one, which counts nothing.
    pub(super) fn stay_paced(&mut self) {
        if self.per_s().is_some() {
            self.flags.insert(Flags::READABLE);
        }
    }
}
