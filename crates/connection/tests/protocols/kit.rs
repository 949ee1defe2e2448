//! Tests of the kit: the mistakes that it finds, and the extent of its search.

use epoll_connection::test_kit::{Act, Driver, Exploration, Trigger, explore};
use epoll_connection::{Consumed, Context, Flow, Protocol};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Takes everything, and goes on after the end of its peer until its deadline, which it counts.
struct Late<'a>(&'a Cell<usize>);

impl Protocol for Late<'_> {
    type Local = ();
    type Message = ();

    fn on_open(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
        context.set_deadline(Some(Duration::from_secs(9)));
        Flow::Keep
    }

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn on_peer_finished(&mut self, _: &[u8], _: &mut Context<'_, (), ()>) -> Flow {
        Flow::Keep
    }

    fn on_deadline(&mut self, _: &mut Context<'_, (), ()>) -> Flow {
        self.0.set(self.0.get() + 1);
        Flow::Finish
    }
}

#[test]
fn every_split_disturbance_and_end_is_a_run() {
    for (len, splits) in [(2, 3), (40, 39 * 40 / 2 + 2), (41, 40 + 2)] {
        let deadlines = Cell::new(0);
        let input = vec![b'x'; len];
        let runs = explore(&Exploration::new(|| Late(&deadlines), || ()).input(&input));
        // Three rooms and two ends for each split, two disturbances of three calls, and five acts of the
        // owner at each place, with three rooms; all that with both triggers.
        assert_eq!(runs, 2 * (splits * 3 * 2 + 2 * 3 + (len + 1) * 5 * 3), "{len} bytes");
        // All but the interrupted runs and the resets are counted; each ends by its deadline, unless the
        // owner ends it before. The kit makes some runs more to know what to expect.
        let by_owner = 2 * (len + 1) * 2 * 3;
        assert!(deadlines.get() >= runs - 12 - by_owner, "{} of {runs}", deadlines.get());
    }
}

/// Writes a byte for each call.
struct Counting;

impl Protocol for Counting {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
        context.write(b"x");
        Consumed::bytes(input.len())
    }
}

#[test]
fn an_output_that_depends_on_the_split_is_found() {
    let explored = AssertUnwindSafe(|| explore(&Exploration::new(|| Counting, || ()).input(b"ab")));
    let panic = catch_unwind(explored).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("cut at [1"), "{message}");
    // Both outputs can be read.
    assert!(message.contains("\"x\"") && message.contains("\"xx\""), "{message}");
}

/// Writes how many seconds have passed, whatever it is called for.
struct Clock;

impl Clock {
    fn tell(context: &mut Context<'_, (), ()>) {
        let seconds = context.now().since_epoch().as_secs();
        context.write(format!("{seconds} ").as_bytes());
    }
}

impl Protocol for Clock {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
        Self::tell(context);
        Consumed::bytes(input.len())
    }

    fn on_message(&mut self, (): &(), context: &mut Context<'_, (), ()>) -> Flow {
        Self::tell(context);
        Flow::Keep
    }

    fn on_drain(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
        Self::tell(context);
        Flow::Keep
    }
}

#[test]
fn every_callback_sees_the_time_that_has_passed() {
    let mut driver = Driver::new(Trigger::Level, Clock, ());
    driver.act(Act::Room(100));
    driver.pass_time(Duration::from_secs(1));
    driver.message(&[()]);
    driver.act(Act::Arrive(b".".to_vec()));
    driver.pass_time(Duration::from_secs(1));
    driver.message(&[()]);
    driver.pass_time(Duration::from_secs(1));
    driver.drain();
    assert_eq!(driver.sent(), b"1 1 2 3 ");
}
