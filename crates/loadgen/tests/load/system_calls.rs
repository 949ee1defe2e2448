//! System calls, counted by strace: a message costs a `send` and a `recv`, and never an `epoll_ctl`;
//! whoever can only wait does not spin. And one that strace makes slow.

use crate::program::{PATH, measured, output_of};
use crate::server::{Server, echo};
use epoll_kit_testing::leave_out;
use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

const REQUESTS: u64 = 500;

#[test]
fn a_message_costs_a_send_and_a_recv() {
    if !has_strace("system_calls::a_message_costs_a_send_and_a_recv") {
        return;
    }
    let server = Server::tcp(echo);
    for connections in [1, 20] {
        let (number, requests) = (connections.to_string(), REQUESTS.to_string());
        let args = [&server.target, "--connections", &number, "--requests", &requests];
        let calls = calls(&args, 0);
        let count = |name: &str| calls.get(name).copied().unwrap_or(0);
        assert_eq!(count("sendto"), REQUESTS, "{calls:?}");
        // One more for each connection, which finds the server's end.
        assert_eq!(count("recvfrom"), REQUESTS + connections, "{calls:?}");
        // One for as long as it is used, and one to see it connected, unless it is at once; and one for
        // Ctrl-C.
        let expected = connections + 1..=2 * connections + 1;
        assert!(expected.contains(&count("epoll_ctl")), "{calls:?}");
    }
}

/// A queue that has room for one connection, which is never accepted; all others can only try again,
/// once in a millisecond.
#[test]
fn a_churn_that_is_held_up_does_not_spin() {
    if !has_strace("system_calls::a_churn_that_is_held_up_does_not_spin") {
        return;
    }
    for (how, tries_ms) in [
        // Until the limit of a connection is reached.
        (&["--requests", "10", "--timeout", "300ms"][..], 300),
        // The same where requests are due, and overdue.
        (&["--requests", "10", "--rate", "1000", "--timeout", "300ms"], 300),
        // Until the end of the run. Then there is only the answer to wait for.
        (&["--duration", "100ms", "--timeout", "600ms"], 100),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // One more than this; the first is the one that shows whether anybody is there.
        epoll_sys::socket::listen(&listener, 1).unwrap();
        let target = format!("unix:{}", path.display());
        let calls = calls(&[&[&target, "--churn", "--connections", "2"], how].concat(), 1);
        let waits: u64 = ["epoll_wait", "epoll_pwait", "epoll_pwait2"]
            .iter()
            .filter_map(|call| calls.get(*call))
            .sum();
        // One a try, and some to look for answers that take too long and for the end.
        assert!(waits <= tries_ms + 30, "{how:?}: {calls:?}");
        // It has been held up.
        assert!(calls["connect"] > 3, "{how:?}: {calls:?}");
    }
}

/// The system is as slow as that with the first connection; the server's answer has come meanwhile.
#[test]
fn a_client_that_is_late_itself_does_not_give_up_a_connection() {
    if !has_strace("system_calls::a_client_that_is_late_itself_does_not_give_up_a_connection") {
        return;
    }
    let server = Server::tcp(echo);
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "inject=epoll_ctl:delay_enter=2500000:when=1"]);
    command.args([PATH, &server.target, "--connections", "1", "--requests", "10"]);
    let output = output_of(command.args(["--timeout", "2s"]));
    assert_eq!((output.status, &*output.stderr), (0, ""));
}

/// Its thread is longer in starting than it is to run.
#[test]
fn a_thread_that_begins_late_has_its_time() {
    if !has_strace("system_calls::a_thread_that_begins_late_has_its_time") {
        return;
    }
    let server = Server::tcp(echo);
    let mut command = Command::new("strace");
    let late = "inject=clone,?clone3:delay_exit=3000000:when=1";
    command.args(["-f", "-o", "/dev/null", "-e", late, PATH, &server.target]);
    let output = output_of(command.args(["--connections", "1", "--duration", "100ms", "--json"]));
    let (output, json) = measured(output);
    assert_eq!((output.status, &*output.stderr), (0, ""));
    assert!(json["requests"].as_u64().unwrap() > 0, "{json}");
    // What passed before is none of its time.
    assert!(json["duration_s"].as_f64().unwrap() < 3.0, "{json}");
}

/// Runs the program, which ends with this status, and returns the number of each of its calls.
#[track_caller]
fn calls(args: &[&str], status: i32) -> HashMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&trace).arg(PATH).args(args);
    let output = output_of(&mut command);
    assert_eq!(output.status, status, "{output:?}");
    let table = fs::read_to_string(trace).unwrap();
    // Share, seconds, microseconds a call, calls, errors if there were any, name.
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let calls = rows.filter_map(|row| {
        let count = row.get(3)?.parse().ok()?;
        Some(((*row.last()?).to_owned(), count))
    });
    calls.collect()
}

/// Returns whether there is strace. If not, reports that this test is left out.
fn has_strace(test: &str) -> bool {
    let has_it = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !has_it {
        leave_out(test, "strace");
    }
    has_it
}
