//! The programs, run small: each prints what it should, of every contestant in every round.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 2;

/// A program that takes so long does not end.
const PATIENCE: Duration = Duration::from_secs(300);

/// The number of measurements of each contestant, by case.
type Counts = BTreeMap<String, BTreeMap<String, usize>>;

/// Runs a program, which must end by itself, and returns its output.
#[track_caller]
fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (sender, text) = mpsc::channel();
    // Ends with the child.
    thread::spawn(move || {
        let mut text = String::new();
        sender.send(stdout.read_to_string(&mut text).map(|_| text))
    });
    let text = text.recv_timeout(PATIENCE);
    if text.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    text.unwrap().unwrap()
}

/// Runs a program and checks each line.
#[track_caller]
fn measure(program: &str, suite: &str) -> Counts {
    let mut counts = Counts::new();
    for line in output(program, &["--quick", "--rounds", &ROUNDS.to_string()]).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        assert_eq!(text("suite"), suite);
        assert!(["ns", "per_s"].contains(&&*text("unit")), "{line}");
        assert!(row["x"].as_u64().is_some_and(|x| x > 0), "{line}");
        assert!(row["round"].as_u64().is_some_and(|round| round < ROUNDS as u64), "{line}");
        assert!(row["value"].as_f64().is_some_and(f64::is_finite), "{line}");
        let again = if text("role").ends_with("-again") { " again" } else { "" };
        let contestant = text("contestant") + again;
        *counts.entry(text("case")).or_default().entry(contestant).or_default() += 1;
    }
    counts
}

/// Asserts that every case has these contestants, each as often as there are rounds.
#[track_caller]
fn competed(counts: &Counts, cases: usize, contestants: &[&str]) {
    // Where descriptors are scarce, the greater cases are left out.
    assert!((1..=cases).contains(&counts.len()), "{counts:?}");
    for (case, counts) in counts {
        for contestant in contestants {
            assert_eq!(counts.get(*contestant), Some(&ROUNDS), "{case}: {contestant}");
        }
    }
}

#[test]
fn waits_find_what_is_ready() {
    let counts = measure(env!("CARGO_BIN_EXE_select-poll-epoll"), "select-poll-epoll");
    let contestants = ["floor", "floor again", "epoll, edge", "poll"];
    competed(&counts, 12, &contestants);
    assert_eq!(counts["1000 descriptors, 100 ready"]["select"], ROUNDS);
    assert!(counts.get("5000 descriptors, 100 ready").is_none_or(|it| !it.contains_key("select")));
}

#[test]
fn bytes_go_round_the_chain() {
    let counts = measure(env!("CARGO_BIN_EXE_dispatch"), "dispatch");
    let contestants = ["floor", "floor again", "epoll-kit", "mio", "polling", "calloop"];
    competed(&counts, 8, &contestants);
    competed(&counts, 8, &["floor, edge", "floor, edge again", "epoll-kit, edge"]);
}

#[test]
fn no_wake_is_lost() {
    let counts = measure(env!("CARGO_BIN_EXE_wake"), "wake");
    competed(&counts, 4, &["floor", "floor again", "epoll-kit", "mio", "polling"]);
    assert_eq!(counts.len(), 4);
}

#[test]
fn every_keeper_of_timers_does_every_operation() {
    let counts = measure(env!("CARGO_BIN_EXE_timers"), "timers");
    let ours = ["epoll-timers", "epoll-timers again"];
    let others = ["DelayQueue", "BTreeMap", "BinaryHeap", "hierarchical_hash_wheel_timer"];
    competed(&counts, 10, &[&ours[..], &others[..]].concat());
    assert_eq!(counts.len(), 10);
}

#[test]
fn a_flag_that_means_nothing_is_refused() {
    for (arguments, named) in
        [(&["--rounds", "0"][..], "--rounds"), (&["--round", "1"], "--round"), (&["x"], "x")]
    {
        let program = env!("CARGO_BIN_EXE_wake");
        let output = Command::new(program).args(arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(named), "{message}");
    }
}
