//! Pacing to a number of bytes a second: the bytes held back, the length of the pause, and what goes on meanwhile.

use crate::harness::{BOTH, Calls, Obedient, PLENTY, arrive, buffer, obedient_with};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{
    Awaits, Buffered, Clocks, CloseReason, Connection, Consumed, Context, Limits, Protocol,
    ThreadState, Timestamp,
};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Readiness, Token};
use std::io::{Read, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// Ten bytes a second.
fn ten() -> Limits {
    Limits { bytes_per_s_max: NonZeroU64::new(10), ..buffer(64) }
}

fn paced(trigger: Trigger, protocol: Obedient) -> Driver<Obedient> {
    obedient_with(trigger, protocol, ten())
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn what_comes_too_soon_is_read_when_the_last_read_is_paid_for() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Input), "{trigger:?}");
        arrive(&mut driver, "say b\n");
        let calls = driver.calls();
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Allowance));
        driver.pass_time(ms(599));
        assert_eq!((driver.sent(), driver.calls()), (b"a".to_vec(), calls));
        driver.pass_time(ms(1));
        assert_eq!(
            (driver.sent(), driver.awaits()),
            (b"ab".to_vec(), Awaits::Input),
            "{trigger:?}"
        );
        // Six bytes a second later are paid for already.
        driver.pass_time(ms(1600));
        for _ in 0..2 {
            arrive(&mut driver, "say c\n");
            driver.pass_time(ms(600));
        }
        assert_eq!(driver.sent(), b"abcc", "{trigger:?}");
    }
}

#[test]
fn a_pause_for_it_silences_a_level_triggered_connection_at_once() {
    let mut driver = paced(Trigger::Level, Obedient::NEW);
    arrive(&mut driver, "say a\n");
    let reading = Interest::IN | Interest::RDHUP;
    assert_eq!((driver.registered(), driver.interest_changes()), (Some(reading), 0));
    for _ in 0..3 {
        arrive(&mut driver, "say b\n");
    }
    assert_eq!((driver.registered(), driver.interest_changes()), (Some(Interest::empty()), 1));
    driver.pass_time(ms(600));
    assert_eq!((driver.registered(), driver.sent()), (Some(reading), b"abbb".to_vec()));
    assert_eq!(driver.interest_changes(), 2);
}

#[test]
fn what_came_before_the_end_is_shown_before_it() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        driver.act(Act::Fin);
        assert_eq!((driver.closed(), driver.sent()), (None, b"a".to_vec()), "{trigger:?}");
        driver.pass_time(ms(600));
        driver.pass_time(ms(600));
        assert_eq!(driver.sent(), b"ab", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}

#[test]
fn it_ends_in_its_time_while_output_waits_for_room() {
    for trigger in BOTH {
        let mut driver = Driver::with_limits(trigger, Obedient::NEW, Calls::new(), ten());
        driver.act(Act::Room(1));
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        driver.message(&["say cc"]);
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Room), "{trigger:?}");
        driver.pass_time(ms(600));
        // Nothing is due any more, as the owner finds that looks again.
        let changes = driver.timer_changes();
        driver.change_limits(|_| {});
        assert_eq!(driver.timer_changes(), changes, "{trigger:?}");
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Room), "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"accb", "{trigger:?}");
    }
}

#[test]
fn a_pause_of_the_protocol_outlasts_it() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        driver.message(&["pause"]);
        driver.pass_time(ms(5000));
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Input), "{trigger:?}");
        driver.message(&["read"]);
        assert_eq!(driver.sent(), b"ab", "{trigger:?}");
        // And the protocol cannot end the other one.
        arrive(&mut driver, "say c\n");
        driver.message(&["pause"]);
        driver.message(&["read"]);
        assert_eq!((driver.sent(), driver.awaits()), (b"ab".to_vec(), Awaits::Allowance));
        driver.pass_time(ms(600));
        assert_eq!(driver.sent(), b"abc", "{trigger:?}");
    }
}

#[test]
fn a_deadline_comes_in_its_time() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient { deadline: "say d", ..Obedient::NEW });
        // 12 bytes, and 1.2 seconds.
        arrive(&mut driver, "after 1;;;;\n");
        arrive(&mut driver, "say b\n");
        for (time, sent) in [(999, &b""[..]), (1, b"d"), (199, b"d"), (1, b"db")] {
            driver.pass_time(ms(time));
            assert_eq!(driver.sent(), sent, "{trigger:?}");
        }
        // A later one is not forgotten for the end of a pause.
        driver.pass_time(ms(10_000));
        arrive(&mut driver, "after 2\n");
        arrive(&mut driver, "say c\n");
        driver.pass_time(ms(800));
        assert_eq!(driver.sent(), b"dbc", "{trigger:?}");
        driver.pass_time(ms(1199));
        assert_eq!(driver.sent(), b"dbc", "{trigger:?}");
        driver.pass_time(ms(1));
        assert_eq!(driver.sent(), b"dbcd", "{trigger:?}");
    }
}

#[test]
fn one_that_is_told_to_finish_receives_what_has_arrived_in_its_time() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        driver.finish();
        assert_eq!(driver.sent(), b"a", "{trigger:?}");
        driver.pass_time(ms(600));
        driver.pass_time(ms(600));
        assert_eq!(
            (driver.sent(), driver.awaits()),
            (b"ab".to_vec(), Awaits::Close),
            "{trigger:?}"
        );
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn a_limit_that_comes_later_holds_from_the_next_read_on() {
    for trigger in BOTH {
        let mut driver = obedient_with(trigger, Obedient::NEW, buffer(64));
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        assert!(driver.is_at_rest(), "{trigger:?}");
        let calls = driver.calls();
        driver.change_limits(|limits| limits.bytes_per_s_max = ten().bytes_per_s_max);
        assert_eq!(driver.calls(), calls, "it is not read for that");
        arrive(&mut driver, "say c\n");
        arrive(&mut driver, "say d\n");
        let awaits = driver.awaits();
        assert_eq!((driver.sent(), awaits), (b"abc".to_vec(), Awaits::Allowance), "{trigger:?}");
        driver.pass_time(ms(600));
        assert_eq!(driver.sent(), b"abcd", "{trigger:?}");
    }
}

#[test]
fn a_limit_that_is_gone_ends_the_pause_and_leaves_nothing() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Allowance));
        driver.change_limits(|limits| limits.bytes_per_s_max = None);
        assert_eq!((driver.sent(), driver.awaits()), (b"ab".to_vec(), Awaits::Input));
        for _ in 0..3 {
            arrive(&mut driver, "say c\n");
        }
        assert_eq!(driver.sent(), b"abccc", "{trigger:?}");
        assert!(driver.is_at_rest(), "{trigger:?}");
        // What came before does not count any more.
        driver.change_limits(|limits| limits.bytes_per_s_max = ten().bytes_per_s_max);
        arrive(&mut driver, "say d\n");
        assert_eq!(driver.sent(), b"abcccd", "{trigger:?}");
        // One that is not held up is at rest with its next message.
        driver.pass_time(ms(600));
        driver.change_limits(|limits| limits.bytes_per_s_max = None);
        arrive(&mut driver, "say e\n");
        assert!(driver.is_at_rest(), "{trigger:?}");
    }
}

#[test]
fn the_pause_of_a_protocol_outlasts_a_limit_that_is_gone() {
    for trigger in BOTH {
        let mut driver = paced(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\n");
        arrive(&mut driver, "say b\n");
        driver.message(&["pause"]);
        driver.change_limits(|limits| limits.bytes_per_s_max = None);
        assert_eq!((driver.sent(), driver.awaits()), (b"a".to_vec(), Awaits::Input), "{trigger:?}");
        driver.message(&["read"]);
        assert_eq!(driver.sent(), b"ab", "{trigger:?}");
    }
}

#[test]
fn what_is_not_paid_for_is_paid_for_by_the_new_limit() {
    for trigger in BOTH {
        for (per_s, left) in [(100, 30), (10, 300), (1, 3000)] {
            let mut driver = paced(trigger, Obedient::NEW);
            arrive(&mut driver, "say a\n");
            arrive(&mut driver, "say b\n");
            // Three of six bytes.
            driver.pass_time(ms(300));
            driver.change_limits(|limits| limits.bytes_per_s_max = NonZeroU64::new(per_s));
            driver.pass_time(ms(left - 1));
            assert_eq!(driver.sent(), b"a", "{trigger:?}, {per_s} a second");
            driver.pass_time(ms(1));
            assert_eq!(driver.sent(), b"ab", "{trigger:?}, {per_s} a second");
        }
    }
}

#[test]
fn an_outgoing_connection_has_the_limit_from_when_it_is_established() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut connection = Connection::connecting(Echo, ours);
    let clocks = Clocks { monotonic: || Timestamp::EPOCH, ..Clocks::default() };
    let mut thread = ThreadState::new(0, (), ten(), clocks);
    let token = Token::detached(0);
    let _ = connection.step(Readiness::OUT, token, &mut thread);
    for (received, awaits) in [(6, Awaits::Input), (6, Awaits::Allowance)] {
        theirs.write_all(b"six...").unwrap();
        let _ = connection.step(Readiness::IN, token, &mut thread);
        assert_eq!((connection.received(), connection.awaits()), (received, awaits));
    }
}

/// Passes everything.
struct Echo;

impl Protocol for Echo {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::pass(input.len())
    }

    fn passes_everything(&self, (): &()) -> bool {
        true
    }
}

#[test]
fn every_byte_counts_and_none_is_spliced() {
    for trigger in BOTH {
        let limits = Limits { splice_bytes_max: NonZeroUsize::new(64), ..ten() };
        let mut driver = Driver::with_limits(trigger, Echo, (), limits);
        driver.act(PLENTY);
        // The first read takes 64 bytes.
        arrive(&mut driver, [b'x'; 100]);
        for (seconds, sent) in [(0, 64), (6, 64), (1, 100), (3, 100)] {
            driver.pass_time(Duration::from_secs(seconds));
            assert_eq!(driver.sent().len(), sent, "{trigger:?}");
        }
        // What was read at 7 seconds is paid for at 10.6.
        arrive(&mut driver, b"y");
        assert_eq!(driver.sent().len(), 100, "{trigger:?}");
        driver.pass_time(ms(600));
        assert_eq!(driver.sent().len(), 101, "{trigger:?}");
    }
}

#[test]
fn buffers_are_counted_once() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut connection = Connection::new(Echo, ours);
    let mut thread = ThreadState::new(0, (), buffer(4096), Clocks::default());
    let token = Token::detached(0);
    let _ = connection.open(token, &mut thread);
    assert_eq!(connection.count_buffered(), Buffered { before: 0, now: 0 });
    // Until it holds something.
    while connection.pending() == 0 {
        let _ = theirs.write(&[0; 4096]);
        let _ = connection.step(Readiness::IN, token, &mut thread);
    }
    let held = connection.count_buffered();
    assert_eq!(held.before, 0);
    assert!((connection.pending()..=4096).contains(&held.now), "{held:?}");
    assert_eq!(connection.count_buffered(), Buffered { before: held.now, now: held.now });
    assert_eq!(connection.buffered_before(), held.now);
    let mut buffer = vec![0; 1 << 20];
    while connection.pending() > 0 {
        let _ = theirs.read(&mut buffer);
        let _ = connection.step(Readiness::OUT, token, &mut thread);
    }
    assert_eq!(connection.count_buffered(), Buffered { before: held.now, now: 0 });
    assert_eq!(connection.buffered_before(), 0);
}
