//! Signals while the server is at work: none kills it, none disturbs anybody.

use crate::harness::{Launch, Mode, Outcome, Sends, Server, Streaming, converse, ends};
use rustix::process::Signal;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

/// How much each client of a storm sends.
const BYTES: u64 = 4_000_000;

/// Clients under whose load signals come; `act` goes on until they have read half of everything.
#[track_caller]
fn under_load(server: &Server, mut act: impl FnMut(usize)) {
    let sends = Sends::Bytes { count: BYTES, after: Duration::ZERO };
    let streaming = Streaming::start(server.inet(), [sends; 4]);
    let half = 4 * BYTES / 2;
    for round in 0.. {
        act(round);
        if round >= 1000 && streaming.received() >= half {
            break;
        }
    }
    for Outcome { sent, received, .. } in streaming.outcomes() {
        assert_eq!((sent, received), (BYTES, BYTES));
    }
}

/// Ends a server that nobody is connected to.
#[track_caller]
fn ends_well(mut server: Server) {
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    stream.shutdown(Shutdown::Write).unwrap();
    ends(&mut stream);
    server.process.signal(Signal::TERM);
    assert_eq!(server.await_end().code(), Some(0));
}

in_all_modes!(a_storm_of_signals_disturbs_nobody);

fn a_storm_of_signals_disturbs_nobody(mode: Mode) {
    let server = Launch::tcp(mode).start();
    let mut quiet = server.client();
    converse(&mut quiet, b"before");
    under_load(&server, |round| {
        server.process.signal(Signal::HUP);
        server.process.signal(Signal::USR1);
        if round % 100 == 0 {
            converse(&mut quiet, b"in the middle of it");
            converse(&mut server.client(), b"a new one");
        }
    });
    converse(&mut quiet, b"after");
    drop(quiet);
    ends_well(server);
}

in_all_modes!(stops_and_continuations_disturb_nobody);

fn stops_and_continuations_disturb_nobody(mode: Mode) {
    let server = Launch::tcp(mode).start();
    under_load(&server, |round| {
        if round % 20 == 0 {
            server.process.stop();
            server.process.signal(Signal::CONT);
        }
        thread::yield_now();
    });
    ends_well(server);
}
