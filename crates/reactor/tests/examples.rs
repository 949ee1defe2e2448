//! The examples, run as anybody would run them: each ends by itself, finds what it claims to be so,
//! and prints its table.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

/// How long an example may take, with what has to be built for it.
const DEADLINE: Duration = Duration::from_secs(300);

#[test]
fn a_level_is_reported_until_it_is_dry() {
    assert_prints("level", &["3 1 4 0", "4 0 0 0", "bytes that nobody reads 10"]);
}

#[test]
fn an_edge_is_reported_once() {
    assert_prints(
        "edge",
        &["level reads four 3 3 12 0", "edge reads four 1 1 4 8", "edge reads until dry 1 4 12 0"],
    );
}

#[test]
fn a_oneshot_source_is_in_one_hand_and_costs_a_call() {
    assert_prints(
        "oneshot",
        &["reports to the second until it lets go 0", "reports to the second after that 1"],
    );
}

#[test]
fn an_exclusive_registration_wakes_one() {
    assert_prints("exclusive", &["ordinary 20 20", "exclusive 20 0"]);
}

#[test]
fn a_half_close_keeps_every_byte() {
    assert_prints(
        "half_close",
        &["echoes all, closes 1000 end of stream", "echoes half, closes 500 connection reset"],
    );
}

#[test]
fn a_budget_lets_the_quiet_peers_through() {
    assert_prints("starvation", &["the quiet peers wait for 64 times less"]);
}

#[test]
fn an_event_does_not_reach_a_newcomer() {
    assert_prints("stale", &["reported 1", "dropped as stale 1"]);
}

#[test]
fn connections_are_handed_over() {
    assert_prints("handoff", &["MESSAGE 2"]);
}

/// Runs an example, which has to print these lines, blanks aside, among others.
#[track_caller]
fn assert_prints(name: &str, lines: &[&str]) {
    let Output { status, stdout, stderr } = run(name);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name}: {status}\n{stdout}{stderr}");
    for line in lines {
        let is_this = |printed: &str| printed.split_whitespace().eq(line.split_whitespace());
        assert!(stdout.lines().any(is_this), "{name} does not print {line:?}:\n{stdout}");
    }
}

/// By way of cargo, which has let go of its lock by the time that it runs tests: the programs beside
/// this one may be older than their sources.
#[track_caller]
fn run(name: &str) -> Output {
    let own = env::current_exe().expect("a path");
    // TARGET/PROFILE/deps/examples-HASH
    let profile = own.ancestors().nth(2).and_then(Path::file_name).expect("the profile's folder");
    let target = own.ancestors().nth(3).expect("the target folder");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--example", name]);
    command.arg("--profile").arg(if profile == "debug" { "dev".as_ref() } else { profile });
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What an example prints fits into a pipe.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finished(command.spawn().expect("cargo can be started"))
}

/// What a child leaves behind. Cargo becomes the example, so the id is that of either.
#[track_caller]
fn finished(mut child: Child) -> Output {
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("a child");
            panic!("not over within {DEADLINE:?}: {output:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("a child")
}
