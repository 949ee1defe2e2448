//! Requests of protocols to the service, the clocks, and the names of connections.

use crate::harness::{BOTH, PLENTY, arrive};
use epoll_connection::test_kit::Driver;
use epoll_connection::{
    Clocks, Connection, ConnectionId, Consumed, Context, Flow, Limits, Protocol, Request, Step,
    ThreadState,
};
use epoll_reactor::epoll_sys::{ClockTime, Timestamp};
use epoll_reactor::net::Stream;
use epoll_reactor::{Readiness, Token};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Asks for everything, whatever comes.
struct Asking;

impl Protocol for Asking {
    type Local = ();
    type Message = &'static str;

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, (), &'static str>,
    ) -> Consumed {
        let own = context.id();
        context.send(own, "one");
        context.broadcast("all");
        context.connect("127.0.0.1:80".parse().unwrap(), "new");
        Consumed::bytes(input.len())
    }

    fn on_close(
        &mut self,
        _: epoll_connection::CloseReason,
        context: &mut Context<'_, (), &'static str>,
    ) {
        context.broadcast("closed");
    }
}

#[test]
fn requests_come_in_order_and_are_taken_once() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Asking, ());
        driver.act(PLENTY);
        arrive(&mut driver, "x");
        let requests = driver.take_requests();
        let own = ConnectionId::new(0, Token::detached(0));
        let address = "127.0.0.1:80".parse().unwrap();
        assert!(matches!(requests[0], Request::Send(to, "one") if to == own));
        assert!(matches!(requests[1], Request::Broadcast("all")));
        assert!(matches!(&requests[2], Request::Connect { from, address: to, message: "new" }
                if *from == own && *to == address));
        assert_eq!(requests.len(), 3);
        assert!(driver.take_requests().is_empty(), "{trigger:?}");
        driver.end_well();
        assert!(matches!(driver.take_requests()[..], [Request::Broadcast("closed")]));
    }
}

#[test]
fn a_thread_knows_whether_it_was_asked_for_something() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut thread = ThreadState::new(7, (), Limits::default(), Clocks::default());
    let (mut connection, token) = (Connection::new(Asking, ours), Token::detached(3));
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    assert!(!thread.has_requests());
    theirs.write_all(b"x").unwrap();
    assert_eq!(connection.step(Readiness::IN, token, &mut thread), Step::Wait);
    assert!(thread.has_requests());
    let mut requests = Vec::new();
    thread.swap_requests(&mut requests);
    assert!(!thread.has_requests());
    let Request::Send(to, _) = requests[0] else { panic!("{requests:?}") };
    assert_eq!((to.thread(), to.token()), (7, token));
    connection.close(token, &mut thread);
    assert!(thread.has_requests(), "messages of the close are sent");
}

/// Writes the seconds of both clocks, twice.
struct Clock;

impl Protocol for Clock {
    type Local = Vec<(Timestamp, Duration)>;
    type Message = ();

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, ()>,
    ) -> Consumed {
        for _ in 0..2 {
            let times = (context.now(), context.wall_clock().since_epoch());
            context.local().push(times);
        }
        Consumed::bytes(input.len()).then(Flow::Keep)
    }
}

static READINGS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

fn clocks() -> Clocks {
    Clocks {
        monotonic: || Timestamp::from_nanos(READINGS[0].fetch_add(1, Ordering::Relaxed)),
        realtime: || ClockTime::from_nanos(100 + READINGS[1].fetch_add(1, Ordering::Relaxed)),
    }
}

#[test]
fn each_clock_is_read_once_a_turn_and_only_if_it_is_asked_for() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut thread = ThreadState::<Clock>::new(0, Vec::new(), Limits::default(), clocks());
    let (mut connection, token) = (Connection::new(Clock, ours), Token::detached(0));
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    let mut turn = |now| {
        thread.begin_turn(now);
        for _ in 0..2 {
            theirs.write_all(b"x").unwrap();
            assert_eq!(connection.step(Readiness::IN, token, &mut thread), Step::Wait);
        }
        let times = std::mem::take(&mut thread.local);
        assert_eq!(times, [times[0]; 4]);
        (times[0].0.as_nanos(), times[0].1.as_nanos())
    };
    assert_eq!(turn(None), (0, 100));
    assert_eq!(turn(None), (1, 101));
    assert_eq!(turn(Some(Timestamp::from_nanos(50))), (50, 102));
    assert_eq!(READINGS[0].load(Ordering::Relaxed), 2);
}

#[test]
fn limits_can_be_changed() {
    let mut thread = ThreadState::<Clock>::new(0, Vec::new(), Limits::default(), Clocks::default());
    assert_eq!(thread.limits().output_max, 64 * 1024);
    assert_eq!(thread.limits().read_buffer_len.get(), 64 * 1024);
    assert_eq!(thread.limits().step_bytes_max, 256 * 1024);
    assert_eq!(thread.limits().input_max, 1024 * 1024);
    assert_eq!(thread.limits().splice_bytes_max, None);
    thread.limits_mut().output_max = 1;
    assert_eq!(thread.limits().output_max, 1);
}
