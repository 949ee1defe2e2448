//! Limits that decide the exit status, and errors that are allowed.

use crate::program::{load, measure, measure_well};
use crate::server::{Server, echo, echo_messages};
use serde_json::json;
use std::thread;
use std::time::Duration;

#[test]
fn a_limit_that_is_not_kept_is_named() {
    let server = Server::tcp(|wire, number| {
        echo_messages(wire, 10, 64)?;
        thread::sleep(Duration::from_millis(50));
        echo(wire, number)
    });
    let args = ["--connections", "1", "--requests", "20", "--max-p99", "49ms"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["error: p99 ", " is longer than --max-p99 49ms"]);
    assert_eq!(json["errors"], json!({}));
    assert_eq!(json["failed_thresholds"].as_array().unwrap().len(), 1, "{json}");
    let output = load(&[&[server.target.as_str()], &args[..]].concat());
    output.complains(1, &["--max-p99 49ms"]);
    assert!(output.stdout.contains("errors      none"), "{output:?}");
}

#[test]
fn limits_that_are_kept_change_nothing() {
    let server = Server::tcp(echo);
    let args = ["--requests", "100", "--max-p99", "1h", "--max-errors", "0"];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["failed_thresholds"], json!([]));
}

#[test]
fn as_many_errors_as_allowed_are_no_failure() {
    let serve = || {
        Server::tcp(|wire, number| match number {
            0..2 => echo_messages(wire, 1, 64),
            _ => echo(wire, number),
        })
    };
    for (allowed, status) in [("1", 1), ("2", 0)] {
        let server = serve();
        let args = ["--connections", "2", "--requests", "100", "--max-errors", allowed];
        let (output, json) = measure(&server.target, &args);
        assert_eq!(output.status, status, "{output:?}");
        let said = match status {
            0 => String::new(),
            _ => "epoll-load: error: 2 errors are more than --max-errors 1\n".to_owned(),
        };
        assert_eq!(output.stderr, said);
        assert!(json["first_error"].as_str().unwrap().contains("connection "), "{json}");
    }
}
