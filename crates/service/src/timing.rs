//! The timers of connections, and what was found when they were looked at.

use crate::Timeouts;
use crate::timeouts::Sample;
use epoll_reactor::Token;
use epoll_timers::{CompactKey, Timers, Timestamp};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of timers that a pass may touch before the loop looks after its connections again.
pub(crate) const TIMER_STEPS_MAX: usize = 1024;

/// There is room for the timers of so many slots at least. Then the GNU C library gives them a mapping of their own from
/// the beginning (its threshold is 128 KiB at first), which grows without a copy, and of which untouched pages cost no
/// memory.
const SLOTS_MIN: usize = 17_000;
const _: () = assert!(SLOTS_MIN * size_of::<CompactKey>() > 128 << 10);

/// The timers of connections that are kept together.
///
/// Who locks it may have a connection in hand, but does not wait for one.
pub(crate) struct Timing {
    /// With the slot of the connection: a token would cost every timer twelve bytes more.
    pub(crate) timers: Timers<u32>,
    /// The timer of each slot. It outlasts the connection: the next one in the slot mostly has a later deadline, so to
    /// take the timer over costs a store, where to end it and to insert another one would cost five times as much. A
    /// slot that stays vacant loses its timer when that fires.
    slots: Vec<Option<CompactKey>>,
    /// The timeouts that they are set by. They are here because whoever needs them locks this anyway, and they may
    /// be changed at any time.
    pub(crate) timeouts: Timeouts,
    /// The findings about connections that were looked at, and know it.
    pub(crate) samples: HashMap<Token, Sample>,
}

impl Timing {
    pub(crate) fn new(mut timers: Timers<u32>, timeouts: Timeouts) -> Arc<Mutex<Self>> {
        timers.set_steps_max(TIMER_STEPS_MAX);
        let (slots, samples) = (Vec::with_capacity(SLOTS_MIN), HashMap::new());
        Arc::new(Mutex::new(Self { timers, slots, timeouts, samples }))
    }

    /// Has the timer of the connection in this slot fire at `deadline`, or ends it.
    #[inline]
    pub(crate) fn set_timer(&mut self, slot: usize, deadline: Option<Timestamp>) -> io::Result<()> {
        let stored = self.slots.get(slot).copied().flatten();
        let key = stored.map(|stored| self.timers.key(stored));
        let Some(deadline) = deadline else {
            key.map(|key| self.timers.cancel(key));
            return Ok(());
        };
        match key {
            Some(key) if self.timers.reschedule(key, deadline)? => return Ok(()),
            // It has fired.
            _ => {}
        }
        let key = self.timers.insert(deadline, number(slot))?.compact();
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some(key);
        Ok(())
    }

    /// Returns the finding about this connection.
    #[inline]
    pub(crate) fn sample(&self, token: Token) -> Option<Sample> {
        // A hash costs more than the look.
        if self.samples.is_empty() { None } else { self.samples.get(&token).copied() }
    }
}

/// Returns the number of a slot as its timer has it.
fn number(slot: usize) -> u32 {
    // A token has 32 bits for it.
    u32::try_from(slot).unwrap_or(u32::MAX)
}

pub(crate) fn lock(timing: &Mutex<Timing>) -> MutexGuard<'_, Timing> {
    // A panic may leave a timer too many or too few; the service lives on.
    timing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Returns the slots whose timers fire, with the deadlines of these, in seconds after `now`.
    fn fired(timing: &mut Timing, now: Timestamp, seconds: u64) -> Vec<(u32, Duration)> {
        let time = now + Duration::from_secs(seconds);
        let due = std::iter::from_fn(|| timing.timers.next_due(time).unwrap());
        due.map(|fired| (fired.value, fired.deadline - now)).collect()
    }

    #[test]
    fn the_next_connection_in_a_slot_takes_the_timer_over() {
        let timing = Timing::new(Timers::new().unwrap(), Timeouts::default());
        let mut timing = lock(&timing);
        let now = timing.timers.now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let second = Duration::from_secs(1);
        for deadline in [10, 50, 20] {
            timing.set_timer(3, Some(after(deadline))).unwrap();
            assert_eq!(timing.timers.len(), 1);
        }
        timing.set_timer(0, Some(after(40))).unwrap();
        assert_eq!(fired(&mut timing, now, 15), []);
        assert_eq!(fired(&mut timing, now, 21), [(3, 20 * second)]);
        // It has fired in the meantime.
        timing.set_timer(3, Some(after(30))).unwrap();
        assert_eq!(fired(&mut timing, now, 41), [(3, 30 * second), (0, 40 * second)]);
        timing.set_timer(3, Some(after(60))).unwrap();
        for slot in [3, 0, 7] {
            timing.set_timer(slot, None).unwrap();
        }
        assert!(timing.timers.is_empty());
    }
}
