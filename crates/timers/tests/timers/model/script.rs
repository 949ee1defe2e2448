//! Operations, and a run of them on a wheel and on its model, with a look at both after each.

use super::queue::Queue;
use epoll_timers::{Clock, ClockTime, Fired, Key, Wheel};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names that a run remembers, those of timers that are gone included.
const NAMES: usize = 2048;

/// The most often that a timer is touched before it fires: moved down by each level but the lowest,
/// fired, and once more if it was put in too late.
const TOUCHES: usize = 12;

/// All timers are compared if there are no more.
const FEW: usize = 16;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(When),
    Cancel(Pick),
    Reschedule(Pick, When),
    /// Lets so much time pass; a pass of so many steps, in which the handlers take turns.
    Expire(Jump, usize, Vec<Handler>),
    /// The same, and the loop is left after so many timers.
    LeaveEarly(Jump, usize, Vec<Handler>),
    /// Passes of so many steps, until one is complete.
    Finish(usize),
    /// A key of another wheel, that of a timer of the same place.
    Stranger(usize),
    Shrink,
}

/// The actions when a timer fires.
#[derive(Clone, Debug)]
pub(super) struct Handler {
    pub(super) actions: Vec<Action>,
    pub(super) then: Then,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Insert(When),
    Cancel(Pick),
    Reschedule(Pick, When),
    CancelItself,
    RescheduleItself(When),
}

#[derive(Clone, Debug)]
pub(super) enum Then {
    End,
    Restart(When),
    /// A restart after the pass.
    RestartLate(When),
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

/// A change of the time, in nanoseconds.
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

pub(super) struct Run<C> {
    wheel: Wheel<u64, C>,
    strangers: Wheel<u64, C>,
    state: State<C>,
}

/// The state that handlers use besides the wheel.
struct State<C> {
    queue: Queue<C>,
    names: Vec<Key>,
    strangers: Vec<Key>,
    tick: Duration,
    now: ClockTime<C>,
    inserted: u64,
    /// The number of timers that have fired in the pass that was left early.
    open: Option<usize>,
    late: Vec<(Fired<u64, C>, When)>,
}

impl<C: Clock> Run<C> {
    pub(super) fn new(clock: C, tick: Duration) -> Self {
        let mut wheel = Wheel::with_clock(clock, tick).unwrap();
        let mut strangers = Wheel::with_clock(clock, tick).unwrap();
        wheel.set_steps_max(1);
        let tick = wheel.tick();
        let names = (1..64)
            .map(|ticks| strangers.insert(ClockTime::EPOCH + ticks * tick, u64::MAX))
            .collect();
        let state = State {
            queue: Queue::new(tick),
            names: Vec::new(),
            strangers: names,
            tick,
            now: ClockTime::EPOCH,
            inserted: 0,
            open: None,
            late: Vec::new(),
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
                state.jump(jump);
                wheel.set_steps_max(*steps_max);
                state.pass(wheel, usize::MAX, handlers);
            }
            Op::LeaveEarly(jump, fired_max, handlers) => {
                state.jump(jump);
                state.pass(wheel, *fired_max, handlers);
            }
            Op::Finish(steps_max) => {
                wheel.set_steps_max(*steps_max);
                let passes_max = wheel.len() * TOUCHES / (*steps_max).max(1) + 2;
                let mut passes = (0..passes_max).map(|_| state.pass(wheel, usize::MAX, &[]));
                assert!(passes.any(|is_complete| is_complete), "more than {passes_max} passes");
            }
            Op::Stranger(index) => self.use_stranger(*index),
            Op::Shrink => wheel.shrink_to_fit(),
        }
        self.state.assert_agrees_with(&self.wheel);
    }

    #[track_caller]
    fn use_stranger(&mut self, index: usize) {
        let Self { wheel, strangers, state } = self;
        let stranger = state.strangers[index % state.strangers.len()];
        assert_eq!((wheel.get(stranger), wheel.deadline(stranger)), (None, None));
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

impl<C: Clock> State<C> {
    #[track_caller]
    fn insert(&mut self, wheel: &mut Wheel<u64, C>, when: &When) {
        let (deadline, value) = (self.deadline(when), self.inserted);
        let key = wheel.insert(deadline, value);
        self.take_note(key, deadline, value);
    }

    /// Takes note of a new timer.
    #[track_caller]
    fn take_note(&mut self, key: Key, deadline: ClockTime<C>, value: u64) {
        self.queue.insert(key, deadline, value);
        match usize::try_from(self.inserted).unwrap() {
            index if index < NAMES => self.names.push(key),
            index => self.names[index % NAMES] = key,
        }
        self.inserted += 1;
    }

    #[track_caller]
    fn cancel(&mut self, wheel: &mut Wheel<u64, C>, pick: &Pick) {
        let Some(key) = self.pick(pick) else { return };
        assert_eq!(wheel.get(key).copied(), self.queue.get(key));
        assert_eq!(wheel.deadline(key), self.queue.deadline(key));
        assert_eq!(wheel.cancel(key), self.queue.cancel(key));
        assert_eq!(wheel.get(key), None);
    }

    #[track_caller]
    fn reschedule(&mut self, wheel: &mut Wheel<u64, C>, pick: &Pick, when: &When) {
        let Some(key) = self.pick(pick) else { return };
        let deadline = self.deadline(when);
        assert_eq!(wheel.reschedule(key, deadline), self.queue.reschedule(key, deadline));
        assert_eq!(wheel.get(key).copied(), self.queue.get(key));
        assert_eq!(wheel.deadline(key), self.queue.deadline(key));
    }

    fn jump(&mut self, jump: &Jump) {
        self.now = match *jump {
            Jump::On(by) => self.now + Duration::from_nanos(by),
            Jump::Back(by) => self.now - Duration::from_nanos(by),
        };
    }

    /// A pass at the present time, or the rest of the one that was left; whether nothing is due after
    /// it. It is left after `fired_max` timers.
    #[track_caller]
    fn pass(&mut self, wheel: &mut Wheel<u64, C>, fired_max: usize, handlers: &[Handler]) -> bool {
        let open = self.open.take();
        let mut fired = open.unwrap_or(0);
        if open.is_none() {
            self.queue.begin(self.now);
        }
        let leave_at = fired.saturating_add(fired_max.max(1));
        let end = Handler { actions: Vec::new(), then: Then::End };
        loop {
            if fired == leave_at {
                self.open = Some(fired);
                return false;
            }
            let Some(timer) = wheel.next_due(self.now) else { break };
            fired += 1;
            assert_eq!(self.queue.get(timer.key), Some(timer.value));
            assert_eq!(self.queue.deadline(timer.key), Some(timer.deadline));
            self.queue.fire(timer.key);
            let handler = handlers.get(fired % handlers.len().max(1)).unwrap_or(&end);
            self.handle(wheel, timer, handler);
        }
        for (timer, when) in std::mem::take(&mut self.late) {
            let (before, value, deadline) = (timer.key, timer.value, self.deadline(&when));
            let key = wheel.restart(timer, deadline);
            assert_ne!(key, before);
            self.take_note(key, deadline, value);
        }
        if open.is_none() {
            assert!(fired <= wheel.steps_max(), "{fired} of {}", wheel.steps_max());
        }
        let is_due = |expiry: ClockTime<C>| expiry <= self.queue.present();
        let is_complete = !wheel.next_expiry().is_some_and(is_due);
        if is_complete {
            self.queue.assert_nothing_is_due();
        }
        is_complete
    }

    #[track_caller]
    fn handle(&mut self, wheel: &mut Wheel<u64, C>, timer: Fired<u64, C>, handler: &Handler) {
        for action in &handler.actions {
            match action {
                Action::Insert(when) => self.insert(wheel, when),
                Action::Cancel(pick) => self.cancel(wheel, pick),
                Action::Reschedule(pick, when) => self.reschedule(wheel, pick, when),
                Action::CancelItself => assert_eq!(wheel.cancel(timer.key), None),
                Action::RescheduleItself(when) => {
                    assert!(!wheel.reschedule(timer.key, self.deadline(when)));
                }
            }
            assert_eq!(wheel.get(timer.key), None);
        }
        match &handler.then {
            Then::End => {}
            Then::Restart(when) => {
                let (before, value, deadline) = (timer.key, timer.value, self.deadline(when));
                assert_eq!(wheel.restart(timer, deadline), before);
                self.queue.insert(before, deadline, value);
            }
            Then::RestartLate(when) => self.late.push((timer, when.clone())),
        }
    }

    #[track_caller]
    fn assert_agrees_with(&self, wheel: &Wheel<u64, C>) {
        assert_eq!(wheel.len(), self.queue.len());
        assert_eq!(wheel.is_empty(), self.queue.len() == 0);
        let (next, first) = (wheel.next_expiry(), self.queue.first());
        assert_eq!(next.is_some(), first.is_some());
        assert!(next <= first, "{next:?} is later than {first:?}");
        if wheel.len() <= FEW {
            let mut values = BTreeSet::new();
            for (key, deadline, value) in wheel.iter() {
                assert_eq!(self.queue.deadline(key), Some(deadline));
                assert_eq!(self.queue.get(key), Some(*value));
                assert!(values.insert(*value));
            }
            assert_eq!(values.len(), self.queue.len());
        }
    }

    fn pick(&self, pick: &Pick) -> Option<Key> {
        match *pick {
            Pick::Any(index) => self.names.get(index % self.names.len().max(1)).copied(),
            Pick::Early(index) => self.queue.early(index),
        }
    }

    fn deadline(&self, when: &When) -> ClockTime<C> {
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
            When::Never => ClockTime::MAX,
        }
    }
}
