//! The report for machines, name by name, and the server's figures.

use crate::program::{load, measure, measure_well};
use crate::server::{Server, discard, echo, message};
use epoll_kit_testing::{Guard, eventually};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

#[track_caller]
fn has_keys(object: &Value, keys: &[&str]) {
    let mut expected = keys.to_vec();
    expected.sort_unstable();
    let mut found: Vec<_> = object.as_object().expect("an object").keys().collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

/// Each figure of a request is the CPU time of its kind, divided by their number.
#[track_caller]
fn is_divided(figures: &Value, requests: u32) {
    let figure = |name: &str| figures[name].as_f64().unwrap();
    for (each, all) in [("user_us_per_request", "user_us"), ("system_us_per_request", "system_us")]
    {
        let expected = figure(all) / f64::from(requests);
        assert!((figure(each) - expected).abs() < 0.01, "{figures}");
    }
}

#[test]
fn the_object_has_these_keys() {
    let server = Server::tcp(echo);
    let json = measure_well(&server.target, &["--requests", "1000"]);
    has_keys(
        &json,
        &[
            "target",
            "loop",
            "connections",
            "idle",
            "threads",
            "protocol",
            "size",
            "pipeline",
            "rate",
            "duration_s",
            "requests",
            "bytes",
            "connects",
            "datagrams",
            "interrupted",
            "unanswered",
            "throughput_per_s",
            "mib_per_s",
            "latency_us",
            "latency_curve",
            "connect_us",
            "errors",
            "errors_per_s",
            "first_error",
            "failed_thresholds",
            "valid",
            "invalid_because",
            "own_delays",
            "series",
            "requests_per_connection",
            "warmup_s",
            "ramp_up_s",
            "client",
            "server",
        ],
    );
    has_keys(&json["latency_us"], &["min", "mean", "p50", "p90", "p99", "p99_9", "max"]);
    has_keys(
        &json["client"],
        &["user_us", "system_us", "user_us_per_request", "system_us_per_request"],
    );
    has_keys(&json["connect_us"], &["min", "mean", "p50", "p90", "p99", "p99_9", "max"]);
    has_keys(&json["own_delays"], &["ports_s", "descriptors_s", "late_requests", "late_max_us"]);
    has_keys(
        &json["series"][0],
        &["from_s", "length_s", "requests", "throughput_per_s", "errors", "latency_us"],
    );
    has_keys(&json["series"][0]["latency_us"], &["p50", "p99", "max"]);
    assert_eq!((&json["valid"], &json["invalid_because"]), (&json!(true), &json!([])));
    is_divided(&json["client"], 1000);
    assert_eq!(json["target"], json!(server.target));
    assert_eq!(json["loop"], "closed");
    assert_eq!(json["rate"], Value::Null);
    assert_eq!(json["server"], Value::Null);
    for (key, default) in [("connections", 50), ("idle", 0), ("threads", 1), ("size", 64)] {
        assert_eq!(json[key], default, "{key}");
    }
}

#[test]
fn latencies_and_rates_fit_together() {
    let server = Server::tcp(echo);
    let json = measure_well(&server.target, &["--requests", "2000", "--size", "1KiB"]);
    let figure = |name: &str| json["latency_us"][name].as_f64().unwrap();
    let rising = ["min", "p50", "p90", "p99", "p99_9", "max"].map(figure);
    assert!(rising.is_sorted() && rising[0] > 0.0, "{rising:?}");
    assert!((rising[0]..=rising[5]).contains(&figure("mean")));

    let curve: Vec<[f64; 2]> = serde_json::from_value(json["latency_curve"].clone()).unwrap();
    assert_eq!(curve[0], [50.0, figure("p50")]);
    assert_eq!(curve[1][0], 75.0);
    assert_eq!(*curve.last().unwrap(), [100.0, figure("max")]);
    assert!(curve.is_sorted());

    // Three decimals each, so half a thousandth is what rounding may make of it.
    let [seconds, per_second, mib] =
        ["duration_s", "throughput_per_s", "mib_per_s"].map(|name| json[name].as_f64().unwrap());
    assert!((2000.0 / per_second - seconds).abs() < 0.000_6, "{json}");
    assert!((per_second / 1024.0 - mib).abs() < 0.000_6, "{json}");
}

#[test]
fn the_server_is_measured_by_its_number() {
    // A process that no other test has, and whose threads do not end. All messages pass it.
    let mut cat = Command::new("cat");
    let mut cat = Guard::spawn(cat.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let pid = cat.pid().to_string();
    let child = cat.child();
    let pipes = Mutex::new((child.stdin.take().unwrap(), child.stdout.take().unwrap()));
    let stat = format!("/proc/{pid}/stat");
    let server = Server::tcp(move |wire, _| {
        loop {
            let mut message = message(wire, 64)?;
            let (input, output) = &mut *pipes.lock().unwrap();
            input.write_all(&message)?;
            output.read_exact(&mut message)?;
            // Which is a voluntary switch, before the run can be over.
            eventually("cat sleeps", || fs::read_to_string(&stat).unwrap().contains(" S "));
            wire.write_all(&message)?;
        }
    });
    let args = ["--requests", "2000", "--server-pid", &pid, "--idle", "5"];
    let json = measure_well(&server.target, &args);
    let figures = &json["server"];
    has_keys(
        figures,
        &[
            "pid",
            "user_us",
            "system_us",
            "user_us_per_request",
            "system_us_per_request",
            "cpu_us_per_request",
            "voluntary_switches",
            "involuntary_switches",
            "memory_bytes_per_connection",
        ],
    );
    assert_eq!(figures["pid"].to_string(), pid);
    let figure = |name: &str| figures[name].as_f64().unwrap();
    let cpu = figure("cpu_us_per_request");
    assert!(cpu > 0.0, "{figures}");
    is_divided(figures, 2000);
    let sum = figure("user_us_per_request") + figure("system_us_per_request");
    assert!((sum - cpu).abs() < 0.01, "{figures}");
    assert!(figures["voluntary_switches"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["memory_bytes_per_connection"].is_u64(), "{figures}");
}

#[test]
fn people_see_user_and_system_time_of_a_request() {
    let server = Server::tcp(echo);
    let pid = std::process::id().to_string();
    let output = load(&[&server.target, "--requests", "500", "--server-pid", &pid]);
    assert_eq!(output.status, 0, "{output:?}");
    for whose in ["client CPU", "server CPU"] {
        let line = output.stdout.lines().find(|line| line.starts_with(whose)).expect("a line");
        let (sum, parts) = line.split_once(" us a request (").expect("figures of a request");
        let sum = number(sum.rsplit(' ').next());
        let (user, system) = parts.split_once(" user, ").expect("two parts");
        let parts = number(Some(user)) + number(system.strip_suffix(" system)"));
        assert!((parts - sum).abs() < 0.02, "{line}");
    }
}

#[track_caller]
fn number(text: Option<&str>) -> f64 {
    text.and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn a_process_that_ends_during_the_run_is_not_measured() {
    for form in [&[][..], &["--json"]] {
        let process = Guard::spawn(Command::new("sleep").arg("600")).unwrap();
        let pid = process.pid().to_string();
        let process = Mutex::new(Some(process));
        let server = Server::tcp(move |wire, number| {
            let message = message(wire, 64)?;
            drop(process.lock().unwrap().take());
            wire.write_all(&message)?;
            echo(wire, number)
        });
        let args = ["--connections", "1", "--requests", "10", "--server-pid", &pid];
        let output = load(&[&[server.target.as_str()], &args[..], form].concat());
        assert_eq!(output.status, 0, "{output:?}");
        let said = match form {
            [] => format!("server      not measured: process {pid} has ended\n"),
            _ => "\"server\":null".to_owned(),
        };
        assert!(output.stdout.contains(&said), "{output:?}");
    }
}

#[test]
fn a_churn_holds_no_connection_that_memory_could_be_divided_by() {
    let server = Server::tcp(echo);
    let pid = std::process::id().to_string();
    let args = ["--churn", "--requests", "50", "--server-pid", &pid];
    let json = measure_well(&server.target, &args);
    assert_eq!(json["server"]["memory_bytes_per_connection"], Value::Null);
}

#[test]
fn a_run_without_an_answer_has_no_latency() {
    let server = Server::tcp(|wire, _| discard(wire));
    let pid = std::process::id().to_string();
    let args = ["--requests", "10", "--timeout", "2s", "--server-pid", &pid];
    let (output, json) = measure(&server.target, &args);
    assert_eq!(output.status, 1);
    assert_eq!(json["requests"], 0);
    // An answer was waited for that long.
    assert!(json["duration_s"].as_f64().unwrap() >= 2.0, "{json}");
    assert_eq!(json["throughput_per_s"], 0.0);
    has_keys(&json["latency_us"], &["min", "mean", "p50", "p90", "p99", "p99_9", "max"]);
    let latencies = json["latency_us"].as_object().unwrap();
    assert!(latencies.values().all(Value::is_null), "{json}");
    assert_eq!(json["latency_curve"], json!([]));
    for each in ["user_us_per_request", "system_us_per_request"] {
        assert_eq!(json["client"].get(each), Some(&Value::Null), "{each}");
        assert_eq!(json["server"].get(each), Some(&Value::Null), "{each}");
    }
    assert_eq!(json["server"].get("cpu_us_per_request"), Some(&Value::Null));

    let output = load(&[&[server.target.as_str()], &args[..]].concat());
    assert!(output.stdout.contains("\nlatency     -\n"), "{output:?}");
    let of_a_request = " system, - us a request (- user, - system)\n";
    assert_eq!(output.stdout.matches(of_a_request).count(), 2, "{output:?}");
}
