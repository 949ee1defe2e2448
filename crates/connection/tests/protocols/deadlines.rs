//! Deadlines: when they come, and which of them cost the owner a timer.

use crate::harness::{BOTH, Obedient, PLENTY, arrive, obedient};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{CloseReason, Context, Protocol};
use std::time::Duration;

const KEEP: Obedient = Obedient { deadline: "keep", ..Obedient::NEW };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_deadline_comes_once() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        arrive(&mut driver, "after 5\n");
        driver.pass_time(seconds(4));
        assert_eq!(driver.local().len(), 2, "{trigger:?}");
        driver.pass_time(seconds(1));
        assert_eq!(driver.local()[2..], ["deadline"], "{trigger:?}");
        driver.pass_time(seconds(100));
        assert_eq!(driver.local().len(), 3, "{trigger:?}");
    }
}

#[test]
fn a_later_deadline_touches_no_timer_and_an_earlier_one_does() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        arrive(&mut driver, "after 5\n");
        assert_eq!(driver.timer_changes(), 1);
        for second in 0..4 {
            driver.pass_time(seconds(1));
            arrive(&mut driver, "after 5\n");
            assert_eq!(driver.timer_changes(), 1, "{trigger:?} at {second}");
        }
        // At 4: the deadline is at 9, the timer fires at 5 and is set again.
        driver.pass_time(seconds(4));
        assert_eq!(driver.timer_changes(), 2, "{trigger:?}");
        assert_eq!(driver.local().last().unwrap(), "after 5", "{trigger:?}");
        arrive(&mut driver, "after 0\n");
        assert_eq!(driver.timer_changes(), 3, "{trigger:?}: an earlier one");
        driver.pass_time(seconds(0));
        assert_eq!(driver.local().last().unwrap(), "deadline");
    }
}

#[test]
fn a_deadline_that_equals_the_timer_does_not_touch_it() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        arrive(&mut driver, "after 5\n");
        arrive(&mut driver, "after 5\n");
        arrive(&mut driver, "after 9\nafter 5\n");
        assert_eq!(driver.timer_changes(), 1, "{trigger:?}");
    }
}

#[test]
fn a_deadline_that_is_set_when_one_has_passed_comes_too() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { deadline: "after 3", ..Obedient::NEW });
        arrive(&mut driver, "after 5\n");
        for round in 1..5 {
            driver.pass_time(seconds(5));
            assert_eq!(driver.local().len(), 2 + round, "{trigger:?}");
        }
    }
}

#[test]
fn a_deadline_that_is_set_by_input_after_one_has_passed_comes_too() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        arrive(&mut driver, "after 5\n");
        driver.pass_time(seconds(5));
        arrive(&mut driver, "after 5\n");
        driver.pass_time(seconds(5));
        assert_eq!(driver.local()[3..], ["after 5", "deadline"], "{trigger:?}");
    }
}

#[test]
fn a_deadline_can_be_taken_back() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        arrive(&mut driver, "never\n");
        arrive(&mut driver, "after 5\n");
        driver.message(&["never"]);
        driver.pass_time(seconds(10));
        assert_eq!(driver.local().iter().filter(|call| *call == "deadline").count(), 0);
        arrive(&mut driver, "after 1\n");
        driver.pass_time(seconds(1));
        assert_eq!(driver.local().last().unwrap(), "deadline", "{trigger:?}");
    }
}

#[test]
fn a_message_sets_a_deadline() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, KEEP);
        driver.message(&["after 9", "after 2"]);
        assert_eq!(driver.timer_changes(), 1, "{trigger:?}");
        driver.pass_time(seconds(2));
        assert_eq!(driver.local().last().unwrap(), "deadline");
    }
}

#[test]
fn a_deadline_comes_while_output_waits_and_what_it_writes_follows() {
    for trigger in BOTH {
        let protocol = Obedient { deadline: "say late", ..Obedient::NEW };
        let mut driver = Driver::new(trigger, protocol, Vec::new());
        arrive(&mut driver, "after 1; say abc\n");
        driver.pass_time(seconds(1));
        assert_eq!(driver.counts().2, 7, "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abclate", "{trigger:?}");
    }
}

#[test]
fn a_deadline_that_finishes_sends_what_waits_first() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "after 1; say abc\n");
        driver.pass_time(seconds(1));
        assert!(!driver.is_output_closed());
        driver.act(PLENTY);
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!(driver.sent(), b"abc");
    }
}

#[test]
fn a_deadline_that_aborts_drops_what_waits() {
    for trigger in BOTH {
        let protocol = Obedient { deadline: "say d; abort", ..Obedient::NEW };
        let mut driver = Driver::new(trigger, protocol, Vec::new());
        arrive(&mut driver, "after 1; say abc\n");
        driver.pass_time(seconds(1));
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
        assert_eq!(driver.sent(), b"");
    }
}

#[test]
fn a_finishing_connection_is_not_told_of_its_deadline() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { deadline: "abort", ..Obedient::NEW });
        arrive(&mut driver, "after 1; finish\n");
        driver.pass_time(seconds(1));
        assert_eq!(driver.closed(), None, "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn a_deadline_beyond_all_time_is_none() {
    struct Far;
    impl Protocol for Far {
        type Local = ();
        type Message = ();

        fn on_input(
            &mut self,
            input: &mut [u8],
            context: &mut Context<'_, (), ()>,
        ) -> epoll_connection::Consumed {
            context.set_deadline(Some(Duration::MAX));
            epoll_connection::Consumed::bytes(input.len())
        }
    }
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Far, ());
        arrive(&mut driver, "x");
        assert_eq!(driver.timer_changes(), 0, "{trigger:?}");
    }
}
