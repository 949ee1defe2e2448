//! Signals while the server is at work: none kills it, none disturbs anybody.

use crate::harness::{Crowd, Launch, Mode, Outcome, PATIENCE, Sends, Server, Stats, Streaming};
use crate::harness::{converse, ends};
use rustix::process::Signal;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

/// The number of bytes that each client of a storm sends.
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

in_all_modes!(a_signal_that_is_ignored_at_the_start_stays_ignored);

/// A shell ignores `SIGINT` for the background jobs of a script, and `nohup` ignores `SIGHUP`.
fn a_signal_that_is_ignored_at_the_start_stays_ignored(mode: Mode) {
    let shell = ["sh", "-c", "trap '' INT HUP; exec \"$0\" \"$@\""];
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--drain-timeout", "0").under(shell);
    let mut server = launch.start();
    let mut stream = server.client();
    let send_ignored = || [Signal::INT, Signal::HUP].map(|signal| server.process.signal(signal));
    send_ignored();
    converse(&mut stream, b"as before");
    converse(&mut server.client(), b"a new one");
    server.process.signal(Signal::TERM);
    ends(&mut stream);
    // While it drains, too, where a second signal would end it.
    send_ignored();
    drop(stream);
    assert_eq!(server.await_end().code(), Some(0));
    let lines = server.stderr.rest();
    let about_signals: Vec<_> = lines.iter().filter(|line| line.contains("signal=")).collect();
    assert!(matches!(&about_signals[..], [line] if line.contains("draining")), "{lines:#?}");
}

in_all_modes!(every_thread_logs_its_counters_and_their_sum_is_right);

fn every_thread_logs_its_counters_and_their_sum_is_right(mode: Mode) {
    let (launch, stats) = Stats::of(Launch::at("127.0.0.1:0").mode(mode));
    let mut server = launch.flag("--log-format", "json").start();
    let mut crowd = Crowd::of(server.inet(), 20);
    let bytes = 20 * "welcome".len() as u64;
    come_to(&server, mode, &Sum { open: 20, opened: 20, received: Some(bytes) });

    let sends = Sends::Bytes { count: BYTES, after: Duration::ZERO };
    let streaming = Streaming::start(server.inet(), [sends; 4]);
    while streaming.received() < 4 * BYTES / 2 {
        let Sum { open, opened, received } = counters(&server, mode);
        // Those that are open are counted last, when more may have been opened than the threads have told of.
        let is_possible = |count| (20..=24).contains(count);
        assert!(is_possible(&opened) && is_possible(&open), "{open} {opened}");
        // Of connections that are at work just then nothing is known.
        let most = bytes + 4 * BYTES;
        assert!(received.is_none_or(|received| (bytes..=most).contains(&received)));
    }
    streaming.outcomes();
    drop(crowd.streams.pop());
    let all = bytes + 4 * BYTES;
    come_to(&server, mode, &Sum { open: 19, opened: 24, received: Some(all) });
    drop(crowd);
    server.drain();
    assert_eq!(stats.read()["connections"]["bytes_received"], all);
}

/// Waits until the counters are these: a thread may be a little behind what its clients have seen.
#[track_caller]
fn come_to(server: &Server, mode: Mode, expected: &Sum) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sum = counters(server, mode);
        if sum == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{sum:?}, not {expected:?}");
    }
}

/// The sums that the server reports about all of its connections.
#[derive(Debug, PartialEq)]
struct Sum {
    open: u64,
    opened: u64,
    /// `None`: some connections could not be looked at.
    received: Option<u64>,
}

/// Asks the server for its counters, and reads what each of its threads says.
#[track_caller]
fn counters(server: &Server, mode: Mode) -> Sum {
    server.process.signal(Signal::HUP);
    let mut open = None;
    let mut unseen = 0;
    let mut threads = Vec::new();
    loop {
        let line = server.stderr.next().expect("a line");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"));
        match line["message"].as_str() {
            Some("counters") => {
                // Fields of their own, and numbers.
                assert!(number("reactor.waits") > 0 && number("accept.pauses") == 0, "{line}");
                threads.push(number("thread"));
            }
            Some("counters of shared connections") => unseen = number("unseen"),
            Some("open connections") => open = Some(number("open")),
            Some("connections so far") => {
                threads.sort_unstable();
                let loops = if mode.is_shared() { 1 } else { mode.threads().into() };
                assert!(threads.into_iter().eq(0..loops), "not every thread has told");
                let received = (unseen == 0).then(|| number("received"));
                let open = open.expect("how many are open");
                return Sum { open, opened: number("connections"), received };
            }
            _ => {}
        }
    }
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
