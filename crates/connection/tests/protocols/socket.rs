//! Connections over real sockets: what the kit's transport stands for.

use crate::harness::{Calls, Obedient, buffer};
use epoll_connection::{
    Clocks, CloseReason, Connection, Consumed, Context, Forward, Limits, Protocol, Request, Step,
    ThreadState,
};
use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::epoll_sys::socket::{self, Family};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Token, Watch};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Thread = ThreadState<Obedient>;

fn thread() -> Thread {
    ThreadState::new(0, Calls::new(), Limits::default(), Clocks::default())
}

/// Waits until an outgoing connection is reported, and makes a step.
fn connect(stream: Stream, protocol: Obedient, thread: &mut Thread) -> Step {
    let mut reactor: Reactor<Connection<Obedient, Stream>> = Reactor::new().unwrap();
    let connection = Connection::connecting(protocol, stream);
    let token = reactor.insert(connection, Watch::level(Interest::OUT)).unwrap();
    reactor.wait(None).unwrap();
    let Some(Ready::Owned { source, readiness, .. }) = reactor.next_ready() else {
        panic!("a report");
    };
    source.step(readiness, token, thread)
}

#[test]
fn an_outgoing_connection_is_opened_and_speaks_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = Stream::connect(&listener.local_addr().unwrap().into()).unwrap();
    let mut thread = thread();
    let protocol = Obedient { open: "say hello", ..Obedient::NEW };
    let step = connect(stream, protocol, &mut thread);
    assert_eq!(step, Step::Changed);
    assert_eq!(thread.local, ["open"]);
    // The connection was dropped with its reactor.
    let mut received = String::new();
    listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello");
}

#[test]
fn an_outgoing_connection_that_is_refused_says_so() {
    // A port that is taken by a socket that does not listen.
    let taken = socket::stream(Family::Inet).unwrap();
    socket::bind(&taken, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let stream = Stream::connect(&socket::local_address(&taken).unwrap()).unwrap();
    let mut thread = thread();
    let step = connect(stream, Obedient::NEW, &mut thread);
    let refused = CloseReason::ConnectFailed(ErrorKind::ConnectionRefused);
    assert_eq!(step, Step::Done(refused));
    assert_eq!(thread.local, ["ConnectFailed(ConnectionRefused)"]);
}

#[test]
fn the_peer_reads_the_end_of_our_half_while_the_connection_lingers() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let (mut thread, token) = (thread(), Token::detached(0));
    let mut connection = Connection::new(Obedient::NEW, ours);
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    theirs.write_all(b"say bye; finish\n").unwrap();
    assert_eq!(connection.step(Readiness::IN, token, &mut thread), Step::Changed);
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "bye");
    theirs.shutdown(Shutdown::Write).unwrap();
    let ready = Readiness::IN | Readiness::RDHUP | Readiness::HUP;
    let step = connection.step(ready, token, &mut thread);
    assert_eq!(step, Step::Done(CloseReason::Finished));
}

#[test]
fn a_peer_that_is_gone_with_what_led_to_a_pause_ends_it() {
    use CloseReason::{Failed, PeerClosed};
    let gone = Readiness::IN | Readiness::RDHUP | Readiness::HUP;
    let reset = Failed(ErrorKind::ConnectionReset);
    for (ready, reason) in [(gone, PeerClosed), (gone | Readiness::ERR, reset)] {
        let (ours, mut theirs) = Stream::pair().unwrap();
        let (mut thread, token) = (thread(), Token::detached(0));
        let mut connection = Connection::new(Obedient::NEW, ours);
        assert_eq!(connection.open(token, &mut thread), Step::Wait);
        theirs.write_all(b"pause\n").unwrap();
        // An edge: it is reported once.
        assert_eq!(connection.step(ready, token, &mut thread), Step::Done(reason));
    }
}

/// Passes everything back.
struct Mirror;

impl Protocol for Mirror {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn passes_everything(&self, (): &()) -> bool {
        true
    }
}

#[test]
fn a_long_stream_is_spliced_through_a_pipe() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let limits = Limits { splice_bytes_max: NonZeroUsize::new(4096), ..buffer(1024) };
    let mut thread = ThreadState::new(0, (), limits, Clocks::default());
    let (mut connection, token) = (Connection::new(Mirror, ours), Token::detached(0));
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    let bytes: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    theirs.write_all(&bytes).unwrap();
    let mut pipe = Some(Pipe::new().unwrap());
    let (mut step, mut splices) = (Step::Yield, 0);
    for _ in 0..1000 {
        step = match step {
            Step::Splice => {
                splices += 1;
                connection.splice(Readiness::IN, &mut pipe, token, &mut thread)
            }
            Step::Yield => connection.step(Readiness::IN, token, &mut thread),
            Step::Wait | Step::Changed | Step::Forward | Step::Done(_) => break,
        };
    }
    assert!(splices > 0, "{step:?}");
    assert!(pipe.is_some(), "it can be used again");
    assert_eq!((connection.received(), connection.pending()), (80_000, 0));
    drop(connection);
    let mut received = Vec::new();
    theirs.read_to_end(&mut received).unwrap();
    assert_eq!(received, bytes);
}

/// Panics when it is told that it is over.
struct Fragile;

impl Protocol for Fragile {
    type Local = Calls;
    type Message = &'static str;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, Calls, &'static str>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn on_close(&mut self, _: CloseReason, _: &mut Context<'_, Calls, &'static str>) {
        panic!("as the test wants it");
    }
}

#[test]
fn those_whose_bytes_wait_go_on_when_a_callback_panics() {
    for is_abandoned in [true, false] {
        let (ours, _theirs) = Stream::pair().unwrap();
        let mut thread: ThreadState<Fragile> =
            ThreadState::new(0, Calls::new(), Limits::default(), Clocks::default());
        let (token, from) = (Token::detached(0), Token::detached(7));
        let mut connection = Connection::new(Fragile, ours);
        assert_eq!(connection.open(token, &mut thread), Step::Wait);
        let mut forward = Forward::of(from, token, &vec![0; 4 << 20]);
        let step = connection.receive_forward(&mut forward, &mut None, token, &mut thread);
        assert_eq!((step, forward.is_waiting()), (Step::Changed, true));
        if is_abandoned {
            connection.abandon(&mut thread);
        } else {
            let closed = AssertUnwindSafe(|| connection.close(token, &mut thread));
            assert!(catch_unwind(closed).is_err());
        }
        let mut requests = Vec::new();
        thread.swap_requests(&mut requests);
        assert!(matches!(requests[..], [Request::ResumeForwarding(of)] if of == from));
    }
}

#[test]
fn what_was_sent_before_both_halves_were_closed_is_received_behind_what_is_kept() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let (mut thread, token) = (thread(), Token::detached(0));
    let mut connection = Connection::new(Obedient::NEW, ours);
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    let readable = Readiness::IN;
    theirs.write_all(b"say no").unwrap();
    assert_eq!(connection.step(readable, token, &mut thread), Step::Wait);
    assert_eq!(connection.kept(), 6);
    theirs.write_all(b"thing\nkeep\n").unwrap();
    drop(theirs);
    let closed = readable | Readiness::RDHUP | Readiness::HUP;
    let step = connection.step(closed, token, &mut thread);
    assert!(matches!(step, Step::Done(_)), "{step:?}");
    assert_eq!(thread.local[1], "say nothing");
}
