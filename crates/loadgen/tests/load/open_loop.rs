//! Requests at a rate of their own: latencies count from when they were due, so a server that stands
//! still is seen to.

use crate::program::{measure, measure_well};
use crate::server::{Server, discard, echo, echo_messages};
use serde_json::json;
use std::thread;
use std::time::Duration;

const STALL: Duration = Duration::from_millis(300);

#[test]
fn a_stall_shows_in_the_latencies_of_all_requests_that_were_due() {
    let server = Server::tcp(|wire, number| {
        echo_messages(wire, 100, 64)?;
        // The fault that is to be seen.
        thread::sleep(STALL);
        echo(wire, number)
    });
    let args = ["--connections", "1", "--rate", "1000", "--duration", "1s"];
    let json = measure_well(&server.target, &args);
    // Not one request is left out: 300 of them were due while the server stood still. What is answered
    // late is answered.
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(1000), &json!(0)));
    let latency_us = |name: &str| json["latency_us"][name].as_f64().unwrap();
    assert!(latency_us("max") >= 299_000.0, "{json}");
    assert!(latency_us("p99") >= 250_000.0, "{json}");
    assert!(latency_us("p90") >= 150_000.0, "{json}");
}

#[test]
fn the_rate_is_kept() {
    let server = Server::tcp(echo);
    let args = ["--rate", "2000", "--requests", "1000", "--connections", "5"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["requests"], 1000);
    assert_eq!(json["loop"], "open");
    assert_eq!(json["rate"], 2000.0);
    // The last of them is due a little before, and has its time like the others.
    assert!(json["duration_s"].as_f64().unwrap() >= 0.5, "{json}");
    assert!(json["throughput_per_s"].as_f64().unwrap() <= 2000.0, "{json}");
}

#[test]
fn a_rate_is_one_over_the_time_that_was_asked_for() {
    let server = Server::tcp(echo);
    let json = measure_well(&server.target, &["--rate", "0.001", "--duration", "2s"]);
    assert_eq!(json["requests"], 1);
    assert_eq!((&json["duration_s"], &json["throughput_per_s"]), (&json!(2.0), &json!(0.5)));
}

#[test]
fn a_server_that_stops_answering_does_not_seem_to_keep_the_rate() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 100, 64)?;
        discard(wire)
    });
    let args = ["--connections", "1", "--rate", "1000", "--requests", "2000", "--timeout", "2s"];
    let (output, json) = measure(&server.target, &[&args[..], &["--abort-on-error"]].concat());
    output.complains(1, &["no answer within"]);
    // A hundred answers took a tenth of a second, and nothing came in those that followed.
    assert_eq!(json["requests"], 100);
    assert!(json["duration_s"].as_f64().unwrap() >= 2.0, "{json}");
    assert!(json["throughput_per_s"].as_f64().unwrap() <= 50.0, "{json}");
}

#[test]
fn requests_for_which_there_was_never_a_connection_are_counted() {
    let server = Server::tcp(|wire, _| {
        loop {
            echo_messages(wire, 1, 64)?;
            thread::sleep(Duration::from_millis(100));
        }
    });
    let args = ["--rate", "1000", "--duration", "200ms", "--connections", "1"];
    let (output, json) = measure(&server.target, &[&args[..], &["--timeout", "3s"]].concat());
    output.complains(1, &["no connection was free"]);
    let (answered, unsent) = (json["requests"].as_u64().unwrap(), &json["errors"]["unsent"]);
    assert_eq!(answered + unsent.as_u64().unwrap(), 200, "{json}");
    assert_eq!(json["unanswered"], 0);
}
