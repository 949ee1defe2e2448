//! Servers that echo, in every way that messages can be sent.

use crate::program::{load, measure_well};
use crate::server::{Server, discard, echo, echo_in, message};
use serde_json::json;
use std::thread;
use std::time::Duration;

#[test]
fn every_request_is_answered() {
    let server = Server::tcp(echo);
    let args = ["--connections", "7", "--requests", "1000", "--size", "100"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["requests"], 1000);
    assert_eq!(json["bytes"], 100_000);
    assert_eq!(json["connects"], 7);
    assert_eq!(server.accepted(), 7);
}

#[test]
fn the_short_form_takes_host_port_connections_and_requests_of_each() {
    let server = Server::tcp(echo);
    let (host, port) = server.target.split_once(':').unwrap();
    let output = load(&[host, port, "3", "500"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(output.stderr, "", "a progress line where there is no terminal");
    for part in ["3 connections", "requests    1500 in", "p99.9 ", "errors      none"] {
        assert!(output.stdout.contains(part), "no '{part}': {output:?}");
    }
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_host_is_known_by_name() {
    let server = Server::tcp(echo);
    let (_, port) = server.target.split_once(':').unwrap();
    let json = measure_well(&format!("localhost:{port}"), &["--requests", "100"]);
    assert_eq!(json["target"], json!(server.target));
}

#[test]
fn a_run_lasts_as_long_as_it_is_to() {
    let server = Server::tcp(echo);
    let json = measure_well(&server.target, &["--duration", "300ms"]);
    assert!(json["duration_s"].as_f64().unwrap() > 0.2, "{json}");
    assert!(json["requests"].as_u64().unwrap() > 0);
}

/// The end comes while connections are still being filled for the first time.
#[test]
fn a_run_ends_however_short_it_is() {
    let server = Server::tcp(echo);
    for duration in ["1us", "50us", "200us", "500us", "1ms", "2ms"] {
        let args = ["--connections", "100", "--pipeline", "8", "--duration", duration];
        measure_well(&server.target, &args);
    }
}

#[test]
fn threads_share_the_connections_and_the_requests() {
    let server = Server::tcp(echo);
    let args = ["--connections", "5", "--threads", "3", "--requests", "1001"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["requests"], 1001);
    assert_eq!(json["threads"], 3);
    assert_eq!(server.accepted(), 5);
}

#[test]
fn several_messages_are_under_way_at_a_time() {
    // An answer of this server needs eight messages, so fewer at a time would never get one.
    let server = Server::tcp(|wire, _| {
        let mut eight = [0; 8 * 16];
        loop {
            wire.read_exact(&mut eight)?;
            wire.write_all(&eight)?;
        }
    });
    let args = ["--pipeline", "8", "--size", "16", "--connections", "4", "--requests", "3200"];
    assert_eq!(measure_well(&server.target, &args)["requests"], 3200);
}

#[test]
fn the_limit_of_an_answer_begins_anew_with_each_of_them() {
    // One answer is always owed, for longer in all than the limit of one.
    const REQUESTS: usize = 700;
    let server = Server::tcp(|wire, _| {
        let mut owed = message(wire, 64)?;
        for _ in 1..REQUESTS {
            let next = message(wire, 64)?;
            thread::sleep(Duration::from_millis(5));
            wire.write_all(&owed)?;
            owed = next;
        }
        wire.write_all(&owed)?;
        discard(wire)
    });
    let args = ["--pipeline", "2", "--connections", "1", "--timeout", "3s", "--requests", "700"];
    assert_eq!(measure_well(&server.target, &args)["requests"], REQUESTS);
}

#[test]
fn single_bytes_will_do() {
    let server = Server::tcp(echo);
    let args = ["--size", "1", "--pipeline", "5", "--requests", "3000"];
    assert_eq!(measure_well(&server.target, &args)["bytes"], 3000);
}

#[test]
fn messages_larger_than_any_buffer_do_not_block() {
    let server = Server::tcp(echo);
    let args = ["--size", "4MiB", "--connections", "3", "--requests", "12", "--pipeline", "2"];
    assert_eq!(measure_well(&server.target, &args)["bytes"], 12 << 22);
}

#[test]
fn a_reader_that_takes_little_at_a_time_gets_everything() {
    let server = Server::tcp(|wire, _| echo_in(wire, 1000));
    let args = ["--size", "4MiB", "--connections", "2", "--requests", "2", "--timeout", "60s"];
    assert_eq!(measure_well(&server.target, &args)["requests"], 2);
}

#[test]
fn unix_sockets_are_connected_to_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = Server::unix(&path, echo);
    for args in [
        &["--requests", "2000"][..],
        &["--requests", "8", "--size", "2MiB", "--connections", "2"],
        &["--requests", "500", "--churn", "--connections", "4"],
        &["--requests", "500", "--rate", "20000", "--threads", "2"],
    ] {
        let json = measure_well(&server.target, args);
        assert_eq!(json["requests"].to_string(), args[1]);
        assert_eq!(json["target"], json!(server.target));
    }
}

#[test]
fn each_message_of_a_churn_has_a_connection_of_its_own() {
    let server = Server::tcp(echo);
    let args = ["--churn", "--requests", "1000", "--connections", "9", "--size", "200"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["requests"], 1000);
    assert_eq!(json["connects"], 1000);
    assert_eq!(json["loop"], "churn");
    // One more, with which the program finds out whether anybody is there.
    assert_eq!(server.accepted(), 1001);
}

#[test]
fn a_churn_may_have_a_rate() {
    let server = Server::tcp(echo);
    let args = ["--churn", "--requests", "200", "--rate", "2000", "--threads", "2"];
    assert_eq!(measure_well(&server.target, &args)["connects"], 200);
}

#[test]
fn idle_connections_are_opened_first_and_only_held() {
    let idle = 30;
    let server = Server::tcp(move |wire, number| {
        // Of the first thirty nothing may come but their end.
        if number < idle { discard(wire) } else { echo(wire, number) }
    });
    let args = ["--idle", "30", "--connections", "2", "--requests", "400", "--threads", "2"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["idle"], 30);
    assert_eq!(json["connects"], 32);
    assert_eq!(server.accepted(), 32);
}

#[test]
fn the_congestion_control_can_be_chosen() {
    let server = Server::tcp(echo);
    let args = ["--congestion", "reno", "--requests", "100"];
    measure_well(&server.target, &args);
    load(&[&server.target, "--congestion", "no-such"])
        .complains(1, &[&server.target, "failed to use congestion control 'no-such': "]);
}
