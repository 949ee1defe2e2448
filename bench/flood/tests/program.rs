//! The program, run small against an echo server of the standard library.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

/// Echoes until the client ends.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

/// Runs a flood of 0.3 s against a server, and returns what it did.
fn flood(flags: &[&str]) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // They end with the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| echo(stream));
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_flood"));
    let output = command.args([&address, "--duration", "0.3"]).args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_kind_does_what_it_is_there_for() {
    let did = flood(&["--resets", "3", "--mute", "1", "--drip", "2", "--burst", "1"]);
    let count = |kind: &str, what: &str| did[kind][what].as_u64().expect("a number");
    assert!(count("resets", "connections") > 3, "{did}");
    assert!(count("mute", "sent") > 0 && count("mute", "received") == 0, "{did}");
    // A tick sends one byte, and a tick that is late is left out.
    let drip = count("drip", "sent");
    assert!((2..=64).contains(&drip) && count("drip", "received") <= drip, "{did}");
    assert!(count("burst", "sent") >= 16 * 1024 && count("burst", "received") > 0, "{did}");
    assert_eq!(["mute", "drip", "burst"].map(|kind| count(kind, "ended")), [0; 3], "{did}");
}

#[test]
fn a_kind_that_is_not_asked_for_does_nothing() {
    let did = flood(&["--drip", "1"]);
    for (kind, what) in [("resets", "connections"), ("mute", "sent"), ("burst", "sent")] {
        assert_eq!(did[kind][what], 0, "{did}");
    }
    assert_ne!(did["drip"]["sent"], 0, "{did}");
}
