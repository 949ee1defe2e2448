//! System calls, counted by strace. The clients' are told from the server's by their kind: they write by
//! `write` and read by `recvfrom`, where a server has `sendto` and `read`.

use crate::script::World;
use crate::support::{Client, config, serve, signals};
use epoll_kit_testing::{leave_out, output_of};
use epoll_service::Mode;
use std::env;
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

/// The line of the log between which system calls count.
pub(crate) const BEGIN: &str = "/epoll-kit/begin";
pub(crate) const END: &str = "/epoll-kit/end";
/// Names the test in the process that is traced.
const TRACED: &str = "EPOLL_KIT_TRACED";

/// Runs `body` under strace. Returns the names of the system calls that it has marked, in the process that
/// has started it.
pub(crate) fn traced(name: &str, body: impl FnOnce()) -> Option<Vec<String>> {
    if env::var_os(TRACED).is_some() {
        body();
        return None;
    }
    let log = env::temp_dir().join(format!("epoll-service-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=openat,read,sendto,splice,epoll_ctl,timerfd_settime", "-o"]);
    strace.arg(&log).arg(env::current_exe().unwrap()).env(TRACED, "1");
    let Ok(output) = output_of(&mut strace, Duration::from_secs(50)) else {
        leave_out(name, "strace");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let marked = lines.lines().skip_while(|line| !line.contains(BEGIN)).skip(1);
    let marked = marked.take_while(|line| !line.contains(END));
    // Not the second half of a call that another thread's has interrupted.
    let calls = marked.filter(|line| !line.contains("resumed>"));
    Some(calls.map(|line| line.split_whitespace().nth(1).unwrap_or(line).to_owned()).collect())
}

pub(crate) fn count(calls: &[String], name: &str) -> usize {
    calls.iter().filter(|call| call.starts_with(name)).count()
}

pub(crate) fn mark(path: &str) {
    assert!(File::open(path).is_err());
}

/// Writes by `write`.
fn say(client: &Client, text: &str) {
    use std::os::fd::AsFd as _;
    let mut file = File::from(client.stream().as_fd().try_clone_to_owned().unwrap());
    file.write_all(text.as_bytes()).unwrap();
}

pub(crate) fn twenty_lines_to_many_receivers_are_one_send_each() {
    let calls = traced("twenty_lines_to_many_receivers_are_one_send_each", || {
        let signals = signals();
        serve(&signals, &config(Mode::Level, 1), &World::default(), |running| {
            let mut clients = running.clients(200);
            mark(BEGIN);
            say(&clients[0], &"all news\n".repeat(20));
            for client in &mut clients {
                (0..20).for_each(|_| assert_eq!(client.line(), "news"));
            }
            mark(END);
        });
    });
    let Some(calls) = calls else { return };
    assert_eq!(count(&calls, "sendto"), 200, "{calls:?}");
}

pub(crate) fn sixteen_requests_in_a_segment_are_one_read_and_one_send() {
    let calls = traced("sixteen_requests_in_a_segment_are_one_read_and_one_send", || {
        let signals = signals();
        serve(&signals, &config(Mode::Level, 1), &World::default(), |running| {
            let mut client = running.client();
            client.assert_alive();
            mark(BEGIN);
            say(&client, &"echo x\n".repeat(16));
            (0..16).for_each(|_| assert_eq!(client.line(), "x"));
            mark(END);
        });
    });
    let Some(calls) = calls else { return };
    assert_eq!((count(&calls, "read"), count(&calls, "sendto")), (1, 1), "{calls:?}");
}

pub(crate) fn a_pause_that_ends_before_more_arrives_changes_no_registration() {
    let calls = traced("a_pause_that_ends_before_more_arrives_changes_no_registration", || {
        let signals = signals();
        serve(&signals, &config(Mode::Level, 1), &World::default(), |running| {
            let mut client = running.clients(1).remove(0);
            let id = running.world.state().ids[0];
            mark(BEGIN);
            for _ in 0..10 {
                say(&client, "to 0 paused\npause\n");
                assert_eq!(client.line(), "paused");
                running.handle.send(id, "answer".to_owned()).unwrap();
                assert_eq!(client.line(), "answer");
            }
            mark(END);
        });
    });
    let Some(calls) = calls else { return };
    assert_eq!(count(&calls, "epoll_ctl"), 0, "{calls:?}");
}

pub(crate) fn a_later_deadline_sets_no_timer() {
    let calls = traced("a_later_deadline_sets_no_timer", || {
        let signals = signals();
        serve(&signals, &config(Mode::Level, 1), &World::default(), |running| {
            let mut client = running.client();
            // The timer is set after the answer is sent: the second answer says that it is.
            for _ in 0..2 {
                say(&client, "deadline 60000\n");
                assert_eq!(client.line(), "set");
            }
            mark(BEGIN);
            for _ in 0..10 {
                say(&client, "deadline 60000\n");
                assert_eq!(client.line(), "set");
            }
            mark(END);
        });
    });
    let Some(calls) = calls else { return };
    assert_eq!(count(&calls, "timerfd_settime"), 0, "{calls:?}");
}
