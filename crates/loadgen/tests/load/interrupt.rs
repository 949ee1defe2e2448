//! Ctrl-C: the first leaves a report of what was measured by then, the next ends the program.

use crate::program::{PATIENCE, Running, measured};
use crate::server::{Server, Wire, discard, echo, echo_messages, message};
use epoll_kit_testing::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Longer than any test.
const EVER: [&str; 5] = ["--duration", "1h", "--timeout", "1h", "--json"];

/// A server, and word of each connection on which something has happened.
fn server(
    serve: impl Fn(&mut dyn Wire, usize, &SyncSender<()>) -> io::Result<()> + Send + Sync + 'static,
) -> (Server, Receiver<()>) {
    let (sender, happened) = sync_channel(64);
    (Server::tcp(move |wire, number| serve(wire, number, &sender)), happened)
}

/// Tells when it has answered for the first time.
fn echo_and_tell(wire: &mut dyn Wire, number: usize, tell: &SyncSender<()>) -> io::Result<()> {
    echo_messages(wire, 1, 64)?;
    let _ = tell.send(());
    echo(wire, number)
}

/// Interrupts the program after something has happened on so many connections.
#[track_caller]
fn interrupted(program: &Running, happened: &Receiver<()>, connections: usize) {
    for _ in 0..connections {
        happened.recv_timeout(PATIENCE).expect("nothing happens");
    }
    program.interrupt();
}

#[track_caller]
fn is_interrupted(json: &Value) {
    assert_eq!(json["interrupted"], true, "{json}");
}

#[test]
fn the_load_ends_early_and_is_reported() {
    for how in [&[][..], &["--threads", "3"], &["--idle", "5"], &["--rate", "1000"], &["--churn"]] {
        let (server, happened) = server(echo_and_tell);
        let args = [&[server.target.as_str(), "--connections", "4"], &EVER[..], how].concat();
        let program = Running::start(&args);
        interrupted(&program, &happened, 1);
        let (output, json) = measured(program.output());
        output.complains(130, &["interrupted"]);
        is_interrupted(&json);
        assert_eq!(json["errors"], json!({}));
    }
}

#[test]
fn a_supervisor_gets_a_report_too() {
    let (server, happened) = server(echo_and_tell);
    let program =
        Running::start(&[&[server.target.as_str(), "--connections", "4"], &EVER[..]].concat());
    happened.recv_timeout(PATIENCE).expect("nothing happens");
    program.terminate();
    let (output, json) = measured(program.output());
    output.complains(130, &["interrupted"]);
    is_interrupted(&json);
}

#[test]
fn people_are_told_too() {
    let (server, happened) = server(echo_and_tell);
    let program = Running::start(&[&server.target, "--duration", "1h", "--connections", "3"]);
    interrupted(&program, &happened, 3);
    let output = program.output();
    output.complains(130, &["interrupted"]);
    for part in ["3 connects, interrupted with ", " unanswered\n", "errors      none"] {
        assert!(output.stdout.contains(part), "no '{part}': {output:?}");
    }
}

/// The message of the stalled server is not waited for, and is reported as unanswered.
#[test]
fn a_server_that_stands_still_shows_in_what_is_unanswered() {
    let (server, happened) = server(|wire, _, tell| {
        echo_messages(wire, 2, 64)?;
        message(wire, 64)?;
        let _ = tell.send(());
        discard(wire)
    });
    let program =
        Running::start(&[&[server.target.as_str(), "--connections", "2"], &EVER[..]].concat());
    interrupted(&program, &happened, 2);
    let (output, json) = measured(program.output());
    output.complains(130, &["interrupted"]);
    is_interrupted(&json);
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(4), &json!(2)));
}

#[test]
fn what_was_wrong_before_decides_the_status() {
    let (server, happened) = server(|wire, number, tell| match number {
        0 => {
            message(wire, 64)?;
            wire.write_all(&[0; 64])?;
            let _ = discard(wire);
            let _ = tell.send(());
            Ok(())
        }
        _ => echo(wire, number),
    });
    let program =
        Running::start(&[&[server.target.as_str(), "--connections", "2"], &EVER[..]].concat());
    // The client has closed the connection by then.
    interrupted(&program, &happened, 1);
    let (output, json) = measured(program.output());
    output.complains(1, &["interrupted; 1 errors; the first: connection 0"]);
    is_interrupted(&json);
    assert_eq!(json["errors"], json!({ "wrong-bytes": 1 }));
}

#[test]
fn the_wait_for_the_servers_end_is_cut_short() {
    let (server, happened) = server(|wire, number, tell| {
        echo(wire, number)?;
        let _ = tell.send(());
        thread::park_timeout(PATIENCE);
        Ok(())
    });
    let args =
        ["--connections", "2", "--idle", "2", "--requests", "10", "--timeout", "1h", "--json"];
    let program = Running::start(&[&[server.target.as_str()], &args[..]].concat());
    interrupted(&program, &happened, 4);
    let (output, json) = measured(program.output());
    output.complains(130, &["interrupted"]);
    is_interrupted(&json);
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(10), &json!(0)));
}

/// The measured time is then the whole run, although most of it had no answers.
#[test]
fn one_that_comes_after_the_run_does_not_shorten_it() {
    let (server, happened) = server(|wire, number, tell| {
        if number == 0 {
            echo_messages(wire, 2, 64)?;
            return discard(wire);
        }
        echo(wire, number)?;
        let _ = tell.send(());
        thread::park_timeout(PATIENCE);
        Ok(())
    });
    let args = ["--connections", "2", "--requests", "20000", "--timeout", "4s", "--json"];
    let program = Running::start(&[&[server.target.as_str()], &args[..]].concat());
    interrupted(&program, &happened, 1);
    let (output, json) = measured(program.output());
    output.complains(1, &["interrupted; 1 errors"]);
    is_interrupted(&json);
    assert!(json["duration_s"].as_f64().unwrap() >= 4.0, "{json}");
}

/// However late the other threads, and this process, come to see it.
#[test]
fn what_was_due_and_the_time_of_the_run_agree() {
    let (server, happened) = server(echo_and_tell);
    let args = ["--connections", "4", "--threads", "4", "--rate", "1000", "--timeout", "1h"];
    let args = [&[server.target.as_str(), "--duration", "1h", "--json"], &args[..]].concat();
    let program = Running::start(&args);
    interrupted(&program, &happened, 4);
    kill_process(program.pid(), Signal::STOP).expect("a process");
    thread::sleep(Duration::from_millis(300));
    kill_process(program.pid(), Signal::CONT).expect("a process");
    let (output, json) = measured(program.output());
    assert_eq!(output.status, 130, "{output:?}");
    let [answered, unanswered] = ["requests", "unanswered"].map(|it| json[it].as_f64().unwrap());
    let due = json["duration_s"].as_f64().unwrap() * 1000.0 + 1.0;
    // The time is given in milliseconds.
    assert!((answered + unanswered - due).abs() <= 1.5, "{json}");
}

/// A shell starts the background jobs of a script like that.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let (gate, is_sent) = sync_channel(1);
    let is_sent = Mutex::new(is_sent);
    let (server, happened) = server(move |wire, number, tell| {
        let message = message(wire, 64)?;
        let _ = tell.send(());
        // No answer comes before the signal, so it comes before the end.
        let _ = is_sent.lock().unwrap().recv_timeout(PATIENCE);
        wire.write_all(&message)?;
        echo(wire, number)
    });
    let args = [&server.target, "--connections", "1", "--requests", "100", "--json"];
    let program = Running::start_deaf(&args);
    interrupted(&program, &happened, 1);
    gate.send(()).unwrap();
    let (output, json) = measured(program.output());
    assert_eq!((output.status, &*output.stderr), (0, ""));
    assert_eq!((&json["requests"], &json["interrupted"]), (&json!(100), &json!(false)));
}

/// The report cannot be written, because nobody reads it: without the second signal the program would wait for ever.
#[test]
fn the_second_ends_the_program() {
    let (server, happened) = server(echo_and_tell);
    let (mut full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    while full.write(&[0]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let args = [&[server.target.as_str(), "--connections", "1"], &EVER[..]].concat();
    let program = Running::start_into(&args, OwnedFd::from(full));
    interrupted(&program, &happened, 1);
    // Not before the first is taken: two that are pending are one.
    eventually("the first is taken", || !blocks_sigint(program.pid()));
    program.interrupt();
    assert_eq!(program.status().signal(), Some(epoll_sys::Signal::INT.as_raw()));
}

/// Returns whether the main thread of the process blocks SIGINT.
#[track_caller]
fn blocks_sigint(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a mask");
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    epoll_sys::SignalSet::from_bits(mask).contains(epoll_sys::Signal::INT)
}
