//! Operations, and a run of them on a wheel and on its model, with a look at both after each.

use super::queue::Queue;
use epoll_timers::{Key, Timestamp, Wheel};
use std::time::Duration;

/// Names that a run remembers, those of timers that are gone included.
const NAMES: usize = 2048;

/// The most often that a timer is touched in one pass: moved down by each level but the lowest, and
/// fired.
const TOUCHES: usize = 11;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(When),
    Cancel(Pick),
    Reschedule(Pick, When),
    /// Lets so much time pass; the handlers take turns.
    Expire(Jump, usize, Vec<Handler>),
    /// Passes of so many steps, until one is complete.
    Finish(usize),
    /// A key of another wheel, that of a timer of the same place.
    Stranger(usize),
}

/// What a timer does when it fires.
#[derive(Clone, Debug)]
pub(super) enum Handler {
    End,
    GoOn(When),
    CancelItself,
    CancelItselfAndGoOn(When),
    RescheduleItself(When),
    Insert(When),
    Cancel(Pick),
    Reschedule(Pick, When),
}

#[derive(Clone, Debug)]
pub(super) enum When {
    /// Nanoseconds from now.
    In(u64),
    /// Ticks from now.
    Ticks(u64),
    Ago(u64),
    SameAs(Pick),
    Never,
}

/// How the time changes, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) enum Jump {
    On(u64),
    Back(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Pick {
    /// Any timer, or one that is gone.
    Any(usize),
    /// One of the earliest timers, which may be due in the same pass.
    Early(usize),
}

pub(super) struct Run {
    wheel: Wheel<u64>,
    strangers: Wheel<u64>,
    state: State,
}

/// What handlers have in hand besides the wheel.
struct State {
    queue: Queue,
    names: Vec<Key>,
    strangers: Vec<Key>,
    tick: Duration,
    now: Timestamp,
    inserted: u64,
}

impl Run {
    pub(super) fn new(tick: Duration) -> Self {
        let (wheel, mut strangers) = (Wheel::new(tick).unwrap(), Wheel::new(tick).unwrap());
        let tick = wheel.tick();
        let names = (1..64)
            .map(|ticks| strangers.insert(Timestamp::EPOCH + ticks * tick, u64::MAX))
            .collect();
        let state = State {
            queue: Queue::new(tick),
            names: Vec::new(),
            strangers: names,
            tick,
            now: Timestamp::EPOCH,
            inserted: 0,
        };
        Self { wheel, strangers, state }
    }

    pub(super) fn len(&self) -> usize {
        self.wheel.len()
    }

    #[track_caller]
    pub(super) fn apply(&mut self, op: &Op) {
        let Self { wheel, state, .. } = self;
        match op {
            Op::Insert(when) => state.insert(wheel, when),
            Op::Cancel(pick) => state.cancel(wheel, pick),
            Op::Reschedule(pick, when) => state.reschedule(wheel, pick, when),
            Op::Expire(jump, steps_max, handlers) => {
                state.now = match *jump {
                    Jump::On(by) => state.now + Duration::from_nanos(by),
                    Jump::Back(by) => state.now - Duration::from_nanos(by),
                };
                state.pass(wheel, *steps_max, handlers);
            }
            Op::Finish(steps_max) => {
                let passes_max = wheel.len() * TOUCHES / (*steps_max).max(1) + 1;
                let mut passes = (0..passes_max).map(|_| state.pass(wheel, *steps_max, &[]));
                assert!(passes.any(|is_complete| is_complete), "more than {passes_max} passes");
            }
            Op::Stranger(index) => self.use_stranger(*index),
        }
        self.state.assert_agrees_with(&self.wheel);
    }

    #[track_caller]
    fn use_stranger(&mut self, index: usize) {
        let Self { wheel, strangers, state } = self;
        let stranger = state.strangers[index % state.strangers.len()];
        assert_eq!(wheel.get(stranger), None);
        assert!(!wheel.reschedule(stranger, state.now));
        assert_eq!(wheel.cancel(stranger), None);
        assert_eq!(strangers.get(stranger), Some(&u64::MAX));
        if let Some(key) = state.pick(&Pick::Any(index)) {
            assert_eq!(strangers.get(key), None);
            assert!(!strangers.reschedule(key, state.now));
            assert_eq!(strangers.cancel(key), None);
        }
    }
}

impl State {
    #[track_caller]
    fn insert(&mut self, wheel: &mut Wheel<u64>, when: &When) {
        let (deadline, value) = (self.deadline(when), self.inserted);
        self.inserted += 1;
        let key = wheel.insert(deadline, value);
        self.queue.insert(key, deadline, value);
        match usize::try_from(value).unwrap() {
            index if index < NAMES => self.names.push(key),
            index => self.names[index % NAMES] = key,
        }
    }

    #[track_caller]
    fn cancel(&mut self, wheel: &mut Wheel<u64>, pick: &Pick) {
        let Some(key) = self.pick(pick) else { return };
        assert_eq!(wheel.get(key).copied(), self.queue.get(key));
        assert_eq!(wheel.cancel(key), self.queue.cancel(key));
        assert_eq!(wheel.get(key), None);
    }

    #[track_caller]
    fn reschedule(&mut self, wheel: &mut Wheel<u64>, pick: &Pick, when: &When) {
        let Some(key) = self.pick(pick) else { return };
        let deadline = self.deadline(when);
        assert_eq!(wheel.reschedule(key, deadline), self.queue.reschedule(key, deadline));
        assert_eq!(wheel.get(key).copied(), self.queue.get(key));
    }

    /// One pass at the present time; whether it is complete.
    #[track_caller]
    fn pass(&mut self, wheel: &mut Wheel<u64>, steps_max: usize, handlers: &[Handler]) -> bool {
        self.queue.begin(self.now);
        let mut fired = 0;
        let pass = wheel.expire(self.now, steps_max, |wheel, key| {
            fired += 1;
            self.queue.fire(key);
            assert_eq!(wheel.get(key).copied(), self.queue.get(key));
            let handler = handlers.get(fired % handlers.len().max(1)).unwrap_or(&Handler::End);
            let answer = self.handle(wheel, key, handler);
            self.queue.settle(answer);
            answer
        });
        assert_eq!(pass.fired, fired);
        assert!(fired <= steps_max.max(1), "{fired} of {steps_max}");
        if pass.is_complete {
            self.queue.assert_nothing_is_due();
        }
        let is_due = |expiry: Timestamp| expiry <= self.queue.present();
        assert_eq!(wheel.next_expiry().is_some_and(is_due), !pass.is_complete);
        pass.is_complete
    }

    #[track_caller]
    fn handle(&mut self, wheel: &mut Wheel<u64>, key: Key, handler: &Handler) -> Option<Timestamp> {
        match handler {
            Handler::End => {}
            Handler::GoOn(when) => return Some(self.deadline(when)),
            Handler::CancelItself | Handler::CancelItselfAndGoOn(_) => {
                assert_eq!(wheel.cancel(key), self.queue.cancel(key));
                assert!(!wheel.reschedule(key, self.now));
            }
            Handler::RescheduleItself(when) => {
                assert!(wheel.reschedule(key, self.deadline(when)));
            }
            Handler::Insert(when) => self.insert(wheel, when),
            Handler::Cancel(pick) => self.cancel(wheel, pick),
            Handler::Reschedule(pick, when) => self.reschedule(wheel, pick, when),
        }
        match handler {
            // It is gone: the answer has nothing to put back.
            Handler::CancelItselfAndGoOn(when) => Some(self.deadline(when)),
            _ => None,
        }
    }

    #[track_caller]
    fn assert_agrees_with(&self, wheel: &Wheel<u64>) {
        assert_eq!(wheel.len(), self.queue.len());
        assert_eq!(wheel.is_empty(), self.queue.len() == 0);
        let (next, first) = (wheel.next_expiry(), self.queue.first());
        assert_eq!(next.is_some(), first.is_some());
        assert!(next <= first, "{next:?} is later than {first:?}");
    }

    fn pick(&self, pick: &Pick) -> Option<Key> {
        match *pick {
            Pick::Any(index) => self.names.get(index % self.names.len().max(1)).copied(),
            Pick::Early(index) => self.queue.early(index),
        }
    }

    fn deadline(&self, when: &When) -> Timestamp {
        match when {
            When::In(nanoseconds) => self.now + Duration::from_nanos(*nanoseconds),
            When::Ticks(ticks) => {
                let tick = u64::try_from(self.tick.as_nanos()).unwrap();
                self.now + Duration::from_nanos(tick.saturating_mul(*ticks))
            }
            When::Ago(nanoseconds) => self.now - Duration::from_nanos(*nanoseconds),
            When::SameAs(pick) => {
                let deadline = self.pick(pick).and_then(|key| self.queue.deadline(key));
                deadline.unwrap_or(self.now)
            }
            When::Never => Timestamp::MAX,
        }
    }
}
