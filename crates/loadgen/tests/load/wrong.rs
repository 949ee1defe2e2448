//! Servers that send other bytes than they got: each is found, and named by its kind.

use crate::program::measure;
use crate::server::{Server, Wire, discard, echo, echo_messages, message};
use std::io;
use std::sync::{Barrier, Mutex};

const SIZE: usize = 32;

/// Runs a load against a server that answers wrongly, asserts the kind of the error, and returns the stderr.
#[track_caller]
fn is_found(
    kind: &str,
    args: &[&str],
    serve: impl Fn(&mut dyn Wire) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    let server = Server::tcp(move |wire, _| serve(wire));
    let size = SIZE.to_string();
    let few = ["--abort-on-error", "--connections", "1", "--requests", "100", "--size", &size];
    let (output, json) = measure(&server.target, &[&few, args].concat());
    output.complains(1, &["1 errors; the first: connection 0: "]);
    assert_eq!(json["errors"], serde_json::json!({ kind: 1 }), "{output:?}");
    output.stderr
}

#[test]
fn a_wrong_byte() {
    let said = is_found("wrong-bytes", &[], |wire| {
        echo_messages(wire, 3, SIZE)?;
        let mut message = message(wire, SIZE)?;
        message[17] ^= 1;
        wire.write_all(&message)?;
        discard(wire)
    });
    assert!(said.contains("another byte came back at 17 of message 3"), "{said}");
}

#[test]
fn an_extra_byte_after_an_answer() {
    is_found("extra-bytes", &[], |wire| {
        let mut message = message(wire, SIZE)?;
        message.push(7);
        wire.write_all(&message)?;
        discard(wire)
    });
}

#[test]
fn a_byte_too_much_within_an_answer() {
    is_found("wrong-bytes", &["--pipeline", "2"], |wire| {
        let mut message = message(wire, SIZE)?;
        let doubled = message[9];
        message.insert(9, doubled);
        wire.write_all(&message)?;
        echo(wire, 0)
    });
}

#[test]
fn a_message_that_comes_twice() {
    is_found("wrong-bytes", &["--pipeline", "4"], |wire| {
        let message = message(wire, SIZE)?;
        wire.write_all(&message)?;
        wire.write_all(&message)?;
        discard(wire)
    });
}

#[test]
fn messages_that_have_changed_places() {
    is_found("wrong-bytes", &["--pipeline", "2"], |wire| {
        let (first, second) = (message(wire, SIZE)?, message(wire, SIZE)?);
        wire.write_all(&[second, first].concat())?;
        discard(wire)
    });
}

#[test]
fn a_byte_that_is_missing() {
    is_found("wrong-bytes", &["--pipeline", "2"], |wire| {
        let first = message(wire, SIZE)?;
        wire.write_all(&first[1..])?;
        echo(wire, 0)
    });
}

#[test]
fn the_answer_of_another_connection() {
    // Two connections exchange their first messages.
    let (both_read, messages) = (Barrier::new(2), Mutex::new([const { Vec::new() }; 2]));
    let server = Server::tcp(move |wire, number| {
        let message = message(wire, SIZE)?;
        messages.lock().unwrap()[number] = message;
        both_read.wait();
        let other = messages.lock().unwrap()[1 - number].clone();
        wire.write_all(&other)?;
        discard(wire)
    });
    let args = ["--abort-on-error", "--connections", "2", "--requests", "2", "--size", "32"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["2 errors"]);
    assert_eq!(json["errors"], serde_json::json!({ "wrong-bytes": 2 }));
}

#[test]
fn bytes_on_a_connection_that_is_only_held() {
    let is_sent = Barrier::new(2);
    let server = Server::tcp(move |wire, number| {
        if number == 0 {
            wire.write_all(b"hello")?;
        }
        // No answer comes sooner, so the run cannot be over by then.
        is_sent.wait();
        echo(wire, number)
    });
    let args = ["--idle", "1", "--connections", "1", "--requests", "100"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["an idle connection: 5 bytes"]);
    assert_eq!(json["errors"], serde_json::json!({ "extra-bytes": 1 }));
}

#[test]
fn bytes_after_the_end() {
    let server = Server::tcp(|wire, number| {
        echo(wire, number)?;
        wire.write_all(b"ab")
    });
    let args = ["--idle", "3", "--connections", "2", "--requests", "10"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["5 errors"]);
    assert_eq!(json["errors"], serde_json::json!({ "extra-bytes": 5 }));
}
