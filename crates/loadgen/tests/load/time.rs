//! Tests of the times that count: the warm-up, the ramp-up, the series, the log of the histograms, and delays
//! that are the program's own.

use crate::program::{Running, load, measure, measure_well, measured};
use crate::server::{Server, echo};
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, LogEntry,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A server that counts messages of 64 bytes.
fn counting() -> (Server, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let server = Server::tcp(move |wire, _| {
        loop {
            let message = crate::server::message(wire, 64)?;
            counter.fetch_add(1, Ordering::SeqCst);
            wire.write_all(&message)?;
        }
    });
    (server, count)
}

fn sum(json: &Value, name: &str) -> u64 {
    json["series"].as_array().unwrap().iter().map(|it| it[name].as_u64().unwrap()).sum()
}

#[test]
fn a_warm_up_is_not_counted() {
    for how in [
        &["--rate", "500", "--requests", "100"][..],
        &["--requests", "100"],
        &["--requests-per-connection", "50", "--threads", "2"],
        &["--churn", "--requests", "100"],
    ] {
        let (server, count) = counting();
        let args = ["--connections", "2", "--warmup", "200ms"];
        let json = measure_well(&server.target, &[&args[..], how].concat());
        assert_eq!((&json["requests"], &json["warmup_s"]), (&json!(100), &json!(0.2)), "{how:?}");
        assert_eq!(sum(&json, "requests"), 100, "{how:?}: {json}");
        let sent = count.load(Ordering::SeqCst);
        assert!(sent > 100, "{how:?}: {sent}");
        if how[0] == "--rate" {
            assert!(sent <= 200, "{sent}");
            assert!(json["duration_s"].as_f64().unwrap() >= 0.2, "{json}");
        }
    }
}

#[test]
fn failures_of_a_warm_up_are_counted() {
    let server = Server::tcp(|wire, number| match number {
        0 => crate::server::echo_messages(wire, 5, 64),
        _ => echo(wire, number),
    });
    let args = ["--connections", "2", "--warmup", "300ms", "--rate", "1000", "--duration", "100ms"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["1 errors; the first: connection 0"]);
    assert_eq!(json["requests"], 100);
}

#[test]
fn connections_are_opened_over_the_ramp_up() {
    let server = Server::tcp(echo);
    let started = std::time::Instant::now();
    let args = ["--connections", "4", "--idle", "6", "--ramp-up", "500ms", "--requests", "100"];
    let json = measure_well(&server.target, &args);
    // The last of ten is due at nine tenths.
    assert!(started.elapsed() >= Duration::from_millis(450));
    assert_eq!((&json["connects"], &json["ramp_up_s"]), (&json!(10), &json!(0.5)));
    assert!(json["connect_us"]["max"].as_f64().unwrap() > 0.0, "{json}");
}

#[test]
fn each_connection_sends_its_number_of_requests() {
    let counts: Arc<[AtomicU64; 5]> = Arc::default();
    let counters = Arc::clone(&counts);
    let server = Server::tcp(move |wire, number| {
        loop {
            let message = crate::server::message(wire, 64)?;
            counters[number].fetch_add(1, Ordering::SeqCst);
            // One that is slower than the others gets as many.
            thread::sleep(Duration::from_millis(if number == 0 { 2 } else { 0 }));
            wire.write_all(&message)?;
        }
    });
    let (host, port) = server.target.split_once(':').unwrap();
    let output = load(&[host, port, "5", "40", "--threads", "3", "--json"]);
    let (output, json) = measured(output);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!((&json["requests"], &json["requests_per_connection"]), (&json!(200), &json!(40)));
    let counts = counts.iter().map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts.collect::<Vec<_>>(), [40; 5]);
}

#[test]
fn the_series_has_an_object_for_each_interval() {
    let server = Server::tcp(echo);
    let args = ["--rate", "500", "--duration", "450ms", "--interval", "100ms", "--threads", "2"];
    let json = measure_well(&server.target, &args);
    let series = json["series"].as_array().unwrap();
    let begins: Vec<_> = series.iter().map(|it| it["from_s"].as_f64().unwrap()).collect();
    assert_eq!(begins[..5], [0.0, 0.1, 0.2, 0.3, 0.4]);
    assert_eq!(sum(&json, "requests"), 225);
    assert!(series.iter().all(|it| it["length_s"].as_f64().unwrap() > 0.0), "{json}");

    let output = load(&[&[server.target.as_str()], &args[..]].concat());
    assert_eq!(output.status, 0, "{output:?}");
    let lines = output.stdout.lines().filter(|line| line.contains(" s   "));
    assert!(lines.count() >= 5, "{output:?}");
    assert!(output.stdout.contains("\n  0.400 s   "), "{output:?}");
}

#[test]
fn the_histograms_are_in_a_log() {
    let server = Server::tcp(echo);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.hlog");
    let args = ["--rate", "500", "--duration", "250ms", "--interval", "100ms", "--hdr"];
    let json = measure_well(&server.target, &[&args[..], &[path.to_str().unwrap()]].concat());
    let log = fs::read(&path).unwrap();
    let intervals: Vec<_> = IntervalLogIterator::new(&log)
        .map(Result::unwrap)
        .filter_map(|entry| match entry {
            LogEntry::Interval(interval) => Some(interval),
            LogEntry::StartTime(_) | LogEntry::BaseTime(_) => None,
        })
        .collect();
    let begins: Vec<_> = intervals.iter().map(|it| it.start_timestamp().as_millis()).collect();
    assert_eq!(begins[..3], [0, 100, 200]);
    // The maximum is the one of the report.
    let max_ns = intervals.iter().map(IntervalLogHistogram::max).fold(0.0, f64::max);
    assert!((max_ns / 1e3 - json["latency_us"]["max"].as_f64().unwrap()).abs() < 0.01, "{json}");

    load(&[&server.target, "--hdr", "/no/such/folder/log"]).complains(1, &["--hdr /no/such"]);
}

#[test]
fn a_line_for_each_interval_is_shown_where_that_is_asked_for() {
    let server = Server::tcp(echo);
    let args = ["--rate", "1000", "--duration", "1010ms", "--interval", "20ms", "--live"];
    let output = load(&[&[server.target.as_str()], &args[..]].concat());
    assert_eq!(output.status, 0, "{output:?}");
    let lines: Vec<_> = output.stderr.lines().collect();
    // More if the last answers took long.
    assert!(lines.len() >= 51, "{output:?}");
    for line in &lines {
        assert!(line.contains(" a second, p99 ") && line.ends_with(" 0 errors"), "{output:?}");
        assert!(!line.contains('\x1b'), "{output:?}");
    }
    assert!(lines[lines.len() - 1].contains(" 1010 requests, "), "{output:?}");
}

#[test]
fn figures_of_a_program_that_could_not_run_are_invalid() {
    let (server, count) = counting();
    let args = ["--connections", "5", "--rate", "1000", "--duration", "1s", "--json"];
    let program = Running::start(&[&[server.target.as_str()], &args[..]].concat());
    epoll_kit_testing::eventually("messages come", || count.load(Ordering::SeqCst) > 20);
    kill_process(program.pid(), Signal::STOP).expect("a process");
    thread::sleep(Duration::from_millis(300));
    kill_process(program.pid(), Signal::CONT).expect("a process");
    let (output, json) = measured(program.output());
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!((&json["requests"], &json["valid"]), (&json!(1000), &json!(false)));
    let reason = json["invalid_because"][0].as_str().unwrap();
    assert!(reason.contains("lacked CPU time"), "{json}");
    let delays = &json["own_delays"];
    assert!(delays["late_requests"].as_u64().unwrap() >= 250, "{json}");
    assert!(delays["late_max_us"].as_u64().unwrap() >= 250_000, "{json}");
}

#[test]
fn requests_that_wait_for_the_server_are_not_called_late() {
    let server = Server::tcp(|wire, number| {
        crate::server::echo_messages(wire, 100, 64)?;
        thread::sleep(Duration::from_millis(300));
        echo(wire, number)
    });
    let args = ["--connections", "1", "--rate", "500", "--duration", "1s"];
    let json = measure_well(&server.target, &args);
    assert!(json["latency_us"]["max"].as_f64().unwrap() >= 250_000.0, "{json}");
    assert!(json["own_delays"]["late_max_us"].as_u64().unwrap() < 250_000, "{json}");
}
