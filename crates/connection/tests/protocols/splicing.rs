//! Protocols that pass everything back: `on_input` is not called, and much goes through a pipe.

use crate::harness::{BOTH, PLENTY, arrive, buffer};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Context, Flow, Limits, Protocol};
use std::num::NonZeroUsize;

/// Passes everything back until a message says otherwise, and takes what comes then in upper case.
#[derive(Clone, Copy, Debug)]
struct Switch {
    passes: bool,
}

impl Protocol for Switch {
    type Local = ();
    type Message = Option<&'static str>;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), Self::Message>) -> Consumed {
        assert!(!self.passes, "input is shown though everything is passed");
        input.make_ascii_uppercase();
        Consumed::pass(input.len())
    }

    fn on_message(
        &mut self,
        message: &Self::Message,
        context: &mut Context<'_, (), Self::Message>,
    ) -> Flow {
        match message {
            Some(message) => context.write(message.as_bytes()),
            None => self.passes = !self.passes,
        }
        Flow::Keep
    }

    fn passes_everything(&self, (): &()) -> bool {
        self.passes
    }
}

fn switch(trigger: Trigger) -> Driver<Switch> {
    let limits = Limits { splice_bytes_max: NonZeroUsize::new(40), ..buffer(16) };
    Driver::with_limits(trigger, Switch { passes: true }, (), limits).with_pipe(64)
}

#[test]
fn much_goes_through_the_pipe_until_the_protocol_looks_at_its_input() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        let piped = driver.piped();
        assert_eq!(piped, 84, "{trigger:?}");
        driver.message(&[None]);
        arrive(&mut driver, [b'b'; 100]);
        assert_eq!(driver.piped(), piped, "{trigger:?}");
        assert_eq!(driver.sent()[100..], [b'B'; 100]);
        assert!(driver.is_at_rest(), "{trigger:?}: it is as if nothing had been spliced");
        // And back again.
        driver.message(&[None]);
        arrive(&mut driver, [b'c'; 100]);
        assert!(driver.piped() > piped, "{trigger:?}");
        driver.end_well();
        assert_eq!(driver.sent()[200..], [b'c'; 100]);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_message_comes_between_what_is_spliced() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        driver.message(&[Some("-"), Some("-")]);
        arrive(&mut driver, [b'b'; 100]);
        // The kit compares what is sent with what was written and passed.
        assert_eq!(driver.sent().len(), 202, "{trigger:?}");
        assert_eq!(driver.sent()[100..102], *b"--");
    }
}

#[test]
fn a_message_follows_what_the_pipe_could_not_send() {
    for trigger in BOTH {
        let mut driver = switch(trigger);
        driver.act(Act::Room(30));
        arrive(&mut driver, [b'a'; 50]);
        let waiting = driver.counts().2;
        assert!(waiting > 0, "{trigger:?}");
        driver.message(&[Some("-")]);
        driver.act(PLENTY);
        assert_eq!(driver.sent(), [&[b'a'; 50][..], b"-"].concat(), "{trigger:?}");
        assert_eq!(driver.counts(), (50, 51, 0, 0));
    }
}

#[test]
fn without_a_limit_for_it_nothing_is_spliced() {
    for trigger in BOTH {
        let mut driver =
            Driver::with_limits(trigger, Switch { passes: true }, (), buffer(16)).with_pipe(64);
        driver.act(PLENTY);
        arrive(&mut driver, [b'a'; 100]);
        assert_eq!((driver.piped(), driver.sent().len()), (0, 100), "{trigger:?}");
    }
}
