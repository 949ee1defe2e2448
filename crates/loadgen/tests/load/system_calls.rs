//! What a message costs in system calls, counted by strace: a `send` and a `recv`, and never an
//! `epoll_ctl`.

use crate::program::{PATH, output_of};
use crate::server::{Server, echo};
use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};

const REQUESTS: u64 = 500;

#[test]
fn a_message_costs_a_send_and_a_recv() {
    let name = "system_calls::a_message_costs_a_send_and_a_recv";
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return leave_out(name, "strace");
    }
    let server = Server::tcp(echo);
    for connections in [1, 20] {
        let calls = calls(&server.target, connections);
        let count = |name: &str| calls.get(name).copied().unwrap_or(0);
        assert_eq!(count("sendto"), REQUESTS, "{calls:?}");
        // One more for each connection, which finds the server's end.
        assert_eq!(count("recvfrom"), REQUESTS + connections, "{calls:?}");
        // One to see it connected, one for as long as it is used.
        assert_eq!(count("epoll_ctl"), 2 * connections, "{calls:?}");
    }
}

/// How often the program makes each call.
#[track_caller]
fn calls(target: &str, connections: u64) -> HashMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).args([trace.as_os_str(), PATH.as_ref(), target.as_ref()]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--requests", &REQUESTS.to_string()]);
    let output = output_of(&mut command);
    assert_eq!(output.status, 0, "{output:?}");
    let table = fs::read_to_string(trace).unwrap();
    // Share, seconds, microseconds a call, calls, errors if there were any, name.
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let calls = rows.filter_map(|row| {
        let count = row.get(3)?.parse().ok()?;
        Some(((*row.last()?).to_owned(), count))
    });
    calls.collect()
}

/// Says that a test was left out for want of a tool, to people and to whoever runs all tests.
fn leave_out(test: &str, tool: &str) {
    eprintln!("{test} is left out: there is no {tool}");
    if let Some(path) = env::var_os("EPOLL_KIT_LEFT_OUT") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{test}\t{tool}\t{tool}").unwrap();
    }
}
