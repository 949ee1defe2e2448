//! A panic in the handler of a connection: that one ends, and nothing else. strace makes the handler
//! panic: it has a `send` answer that more was sent than there was.

use crate::harness::{Launch, Mode, Stats, closed, tool, uninterrupted};
use std::io::{Read, Write};
use std::net::TcpStream;

/// An injection that makes `send` return a wrong count once on each thread, so that the server panics.
const LIE: &str = "inject=sendto:retval=1000000:when=3";

in_all_modes!(a_panic_ends_its_connection_and_nothing_else);

fn a_panic_ends_its_connection_and_nothing_else(mode: Mode) {
    const CLIENTS: usize = 8;
    let Some(strace) = tool("strace") else { return };
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--log-format", "json");
    let (launch, stats) = Stats::of(launch);
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    let mut server = launch.under(["-e", LIE]).start();
    let mut streams: Vec<TcpStream> = (0..CLIENTS).map(|_| server.client()).collect();
    // So many that a thread has told its lie for sure, however they share.
    for _ in 0..6 {
        streams.retain_mut(is_served);
    }
    assert!(streams.len() < CLIENTS, "nobody has told a lie");
    streams.extend((0..CLIENTS).map(|_| server.client()));
    for _ in 0..6 {
        streams.retain_mut(is_served);
    }
    let left = streams.len() as u64;
    let over = 2 * CLIENTS as u64 - left;
    assert!(over <= mode.threads().into(), "{over} connections are over");
    let threads = server.process.event_loops().len();
    assert_eq!(threads, mode.threads() as usize + usize::from(mode.is_shared()));
    drop(streams);
    server.drain();

    let stats = stats.read();
    assert_eq!((closed(&stats, "panicked"), closed(&stats, "peer-closed")), (over, left));
    let log = server.stderr.rest();
    let panics: Vec<_> = log.iter().filter(|line| line.contains("panicked at")).collect();
    assert_eq!(panics.len() as u64, over, "{log:#?}");
    for line in panics {
        let panic: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(panic["level"], "ERROR");
        let backtrace = panic["backtrace"].as_str().expect("a backtrace");
        assert!(backtrace.contains("epoll_server::"), "no frame of the server in: {backtrace}");
    }
}

/// Returns whether a message comes back. Otherwise the connection must be over, without a byte of the echo.
#[track_caller]
fn is_served(stream: &mut TcpStream) -> bool {
    let mut echo = [0; 5];
    // What was written to a connection that is over is not always refused.
    if stream.write_all(b"hello").is_err() {
        return false;
    }
    match uninterrupted(|| stream.read(&mut echo)) {
        Ok(0) | Err(_) => false,
        Ok(len) => {
            stream.read_exact(&mut echo[len..]).expect("the rest of an echo");
            assert_eq!(&echo, b"hello");
            true
        }
    }
}
