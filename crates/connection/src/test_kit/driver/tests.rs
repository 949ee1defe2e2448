//! Tests that each check of the kit fails when its condition does not hold. Conditions that a correct connection
//! never violates are violated by hand.

use super::*;
use crate::{Consumed, Context, Flow};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Keeps its input, and writes or goes on as messages say.
struct Keeping;

enum Order {
    Write,
    Go(Flow),
    Deadline,
}

impl Protocol for Keeping {
    type Local = ();
    type Message = Order;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), Order>) -> Consumed {
        if input == b"." { Consumed::bytes(1) } else { Consumed::nothing() }
    }

    fn on_message(&mut self, order: &Order, context: &mut Context<'_, (), Order>) -> Flow {
        match order {
            Order::Write => context.write(b"abc"),
            Order::Deadline => context.set_deadline(Some(Duration::from_secs(5))),
            Order::Go(flow) => return *flow,
        }
        Flow::Keep
    }
}

fn driver() -> Driver<Keeping> {
    Driver::new(Trigger::Level, Keeping, ())
}

/// Returns whether the checks find something, after `tamper`.
fn finds(tamper: impl FnOnce(&mut Driver<Keeping>)) -> bool {
    let mut driver = driver();
    finds_in(&mut driver, tamper)
}

fn finds_in(driver: &mut Driver<Keeping>, tamper: impl FnOnce(&mut Driver<Keeping>)) -> bool {
    driver.check();
    tamper(driver);
    catch_unwind(AssertUnwindSafe(|| driver.check())).is_err()
}

#[test]
fn input_that_is_not_read_is_found_unless_the_connection_waits() {
    let arrives = |driver: &mut Driver<Keeping>| driver.prepare(Act::Arrive(b".".to_vec()));
    assert!(finds(arrives));
    let mut paused = driver();
    paused.message(&[Order::Go(Flow::Pause)]);
    assert!(!finds_in(&mut paused, arrives));
    let mut full = driver();
    full.message(&[Order::Write]);
    assert!(!finds_in(&mut full, arrives));
    let mut connecting = Driver::connecting(Trigger::Level, Keeping, ());
    assert!(!finds_in(&mut connecting, arrives));
}

#[test]
fn output_that_waits_though_there_is_room_is_found() {
    let mut full = driver();
    full.message(&[Order::Write]);
    assert!(finds_in(&mut full, |driver| driver.prepare(Act::Room(1))));
}

#[test]
fn more_input_than_may_be_kept_is_found() {
    let mut keeping = driver();
    keeping.act(Act::Arrive(b"abc".to_vec()));
    let one = NonZeroUsize::MIN;
    let mut with = |input_max, splice_bytes_max| {
        finds_in(&mut keeping, |driver| {
            let limits = Limits { read_buffer_len: one, input_max, ..Limits::default() };
            *driver.thread.limits_mut() = Limits { splice_bytes_max, ..limits };
        })
    };
    assert!(!with(3, None) && !with(0, NonZeroUsize::new(3)));
    assert!(with(2, None));
}

#[test]
fn a_deadline_without_a_timer_in_time_is_found() {
    let dated = || {
        let mut driver = driver();
        driver.message(&[Order::Deadline]);
        driver
    };
    let due = dated().timer.expect("a timer");
    assert!(!finds_in(&mut dated(), |driver| driver.timer = Some(due)));
    let late = due + Duration::from_nanos(1);
    assert!(finds_in(&mut dated(), |driver| driver.timer = Some(late)));
    assert!(finds_in(&mut dated(), |driver| driver.timer = None));
}

#[test]
fn what_is_sent_and_was_not_written_is_found() {
    assert!(finds(|driver| driver.wire.borrow().sent.push(b'x')));
    assert!(finds(|driver| driver.wire.borrow().is_output_closed = true));
}

#[test]
fn an_orderly_end_before_everything_is_sent_is_found() {
    for (reason, is_orderly) in [
        (CloseReason::PeerClosed, true),
        (CloseReason::Finished, true),
        (CloseReason::Drained, true),
        (CloseReason::Aborted, false),
    ] {
        let mut full = driver();
        full.message(&[Order::Write]);
        assert_eq!(finds_in(&mut full, |driver| driver.closed = Some(reason)), is_orderly);
        assert!(!finds(|driver| driver.closed = Some(reason)), "everything is sent");
    }
}
