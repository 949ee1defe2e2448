//! Listeners and streams: what a server needs of them, and what goes wrong around them.

mod addresses;
mod closing;
mod connecting;
mod conversions;
mod datagrams;
mod injected;
mod listening;
mod options;
mod paths;
mod pausing;
mod shedding;
mod streams;

use crate::support::wait;
use epoll_kit_testing::{assert_kind, eventually};
use epoll_reactor::net::{Accepted, Address, BatchEnd, ListenOptions, Listener, Stream};
use epoll_reactor::{Interest, Reactor, Watch};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

/// A listener on a port of the kernel's choice.
fn tcp_listener(options: &ListenOptions) -> Listener {
    Listener::bind(&"127.0.0.1:0".parse().unwrap(), options).unwrap()
}

/// The pause that the last batch ended with.
fn pause_of(listener: &Listener) -> Option<Duration> {
    match listener.batch_end() {
        Some(BatchEnd::Paused(pause)) => Some(pause),
        _ => None,
    }
}

/// Makes `count` connections, and returns the clients when all are in the queue of a TCP listener.
#[track_caller]
fn queued(listener: &Listener, count: usize) -> Vec<Stream> {
    // A connect that waits returns when the connection is in the queue.
    let address = listener.address().inet().unwrap();
    (0..count).map(|_| TcpStream::connect(address).unwrap().try_into().unwrap()).collect()
}

/// Returns when `source` is ready for `interest`.
#[track_caller]
fn await_readiness(source: impl AsFd, interest: Interest) {
    let mut reactor = Reactor::<Stream>::new().unwrap();
    reactor.watch(source, (), Watch::level(interest)).unwrap();
    wait(&mut reactor);
}

/// The next connection of the queue, once there is one.
#[track_caller]
fn accept(listener: &mut Listener) -> Accepted {
    await_readiness(&*listener, Interest::IN);
    listener.accept_batch().next().unwrap()
}

/// A new client of the listener, and what the listener makes of it.
#[track_caller]
fn connected(listener: &mut Listener) -> (Stream, Stream) {
    let client = Stream::connect(listener.address()).unwrap();
    (client, accept(listener).stream)
}

/// Asserts that a client can connect to `address` and be heard by `listener`.
#[track_caller]
fn assert_serves(listener: &mut Listener, address: &Address) {
    let mut client = Stream::connect(address).unwrap();
    let server = accept(listener).stream;
    await_readiness(&client, Interest::OUT);
    client.write_all(b"hello").unwrap();
    assert_receives(&server, b"hello");
}

/// Asserts that these bytes arrive.
#[track_caller]
fn assert_receives(mut stream: &Stream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    let mut len = 0;
    eventually("the bytes arrive", || {
        match stream.read(&mut received[len..]) {
            Ok(0) => panic!("the stream ended"),
            Ok(more) => len += more,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        len == expected.len()
    });
    assert_eq!(received, expected);
}

/// Asserts that the other end is closed, in order or by a reset.
#[track_caller]
fn assert_ends(mut stream: &Stream) {
    eventually("the stream ends", || match stream.read(&mut [0]) {
        Ok(len) => len == 0,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    });
}

/// Asserts that the other end is neither closed nor has it written.
#[track_caller]
fn assert_silent(mut stream: &Stream) {
    assert_kind(stream.read(&mut [0]), ErrorKind::WouldBlock);
}
