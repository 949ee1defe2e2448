//! Runs in which somebody does not do what it should, or the user has had enough.

use crate::fakes::{ANSWER, Fakes, Run, WAKE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;

#[test]
fn a_server_that_does_not_start_has_a_row_that_says_so() {
    let fakes = Fakes::new();
    fakes.replace("peer-mio", "echo 'peer-mio: no luck today' >&2; exit 1\n");
    let run = fakes.run(&["echo", "--quick"]);
    run.ends_with(1, &["bench: echo: mio: ", "no luck today"]);
    let tables = fakes.report("tables.md");
    assert!(tables.contains("failed: peer-mio: no luck today"), "{tables}");
    fakes.assert_ended();
}

#[test]
fn wrong_bytes_have_a_row_that_says_so() {
    let fakes = Fakes::new();
    let wrong = ANSWER.replace("\"errors\": {}", "\"errors\": {\"wrong-bytes\": 3}");
    fakes.replace("epoll-load", &format!("cat <<'END'\n{wrong}\nEND\nexit 1\n"));
    let run = fakes.run(&["echo", "--quick"]);
    run.ends_with(1, &["3 wrong-bytes"]);
    assert!(fakes.report("report.html").contains("failed: 3 wrong-bytes"));
    fakes.assert_ended();
}

#[test]
fn a_server_that_dies_is_named_with_its_last_words() {
    let fakes = Fakes::new();
    fakes.replace("peer-tokio", "echo 'listening on 127.0.0.1:1'; echo 'out of luck' >&2\n");
    fakes.replace(
        "epoll-load",
        &format!(
            "for word; do case $word in --server-pid=*) pid=${{word#*=}};; esac; done\n\
             grep -q tokio /proc/$pid/cmdline && exit 1\n\
             [ \"$(cut -d' ' -f3 /proc/$pid/stat)\" = Z ] && exit 1\n\
             cat <<'END'\n{ANSWER}\nEND\n"
        ),
    );
    let run = fakes.run(&["echo", "--quick"]);
    run.ends_with(1, &["tokio"]);
    assert!(run.stderr.contains("the server died: out of luck"), "{}", run.stderr);
}

#[test]
fn a_micro_program_that_fails_is_no_reason_to_stop() {
    let fakes = Fakes::new();
    fakes.replace("wake", "echo 'not a measurement'\n");
    let run = fakes.run(&["wake", "echo", "--quick"]);
    run.ends_with(1, &["wake: the program: not a measurement"]);
    assert!(fakes.report("tables.md").contains("| floor "));
}

#[test]
fn what_a_micro_program_measured_before_it_failed_is_reported() {
    let fakes = Fakes::new();
    fakes.replace("wake", &format!("{WAKE}printf '{{\"suite'; echo 'out of luck' >&2; exit 1\n"));
    let run = fakes.run(&["wake", "--quick"]);
    run.ends_with(1, &["wake: the program: out of luck"]);
    let tables = fakes.report("tables.md");
    assert!(
        tables.contains("round trip") && tables.contains("Not measured to the end: out of luck."),
        "{tables}"
    );
}

#[test]
fn a_micro_program_that_has_nothing_to_say_says_why() {
    let fakes = Fakes::new();
    fakes.replace("dispatch", "echo 'left out: 100 pairs: only 256 descriptors' >&2\n");
    let run = fakes.run(&["dispatch", "--quick"]);
    run.ends_with(1, &["printed no measurement: left out: 100 pairs: only 256 descriptors"]);
}

#[test]
fn a_signal_ends_every_process_that_was_started() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let fakes = Fakes::new();
        interrupted(&fakes, &["echo", "--quick"], signal);
    }
}

#[test]
fn a_signal_that_was_ignored_stays_so() {
    let fakes = Fakes::new();
    fakes.replace(
        "epoll-load",
        &format!(
            "echo $$ >> \"$FAKES/started\"
             while ! test -e \"$FAKES/go\"; do sleep 0.01; done
             cat <<'END'\n{ANSWER}\nEND\n"
        ),
    );
    let runner = fakes.start_ignoring("HUP", &["echo", "--quick"]);
    wait_until("server and client run", || fakes.started().len() >= 2);
    kill_process(Pid::from_child(&runner), Signal::HUP).unwrap();
    fs::write(fakes.path().join("go"), "").unwrap();
    let run = Run::of(runner);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
}

#[test]
fn ctrl_c_leaves_what_was_finished() {
    let fakes = Fakes::new();
    fakes.replace("wake", WAKE);
    let raw = fakes.path().join("raw.json");
    fs::write(&raw, "old").unwrap();
    let args = ["wake", "echo", "--quick", "--json", raw.to_str().unwrap()];
    interrupted(&fakes, &args, Signal::INT);
    let tables = fakes.report("tables.md");
    assert!(
        tables.contains("round trip") && tables.contains("Incomplete: interrupted"),
        "{tables}"
    );
    let raw: Value = serde_json::from_str(&fs::read_to_string(raw).unwrap()).unwrap();
    assert_eq!(raw["parts"][0]["suite"], "wake");
}

#[test]
fn ctrl_c_before_anything_is_finished_leaves_files_as_they_were() {
    let fakes = Fakes::new();
    let raw = fakes.path().join("raw.json");
    fs::write(&raw, "old").unwrap();
    interrupted(&fakes, &["echo", "--quick", "--json", raw.to_str().unwrap()], Signal::INT);
    assert_eq!(fs::read_to_string(raw).unwrap(), "old");
    assert!(!fakes.path().join("out/tables.md").exists());
    let mut names = fs::read_dir(fakes.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with(".bench-")));
}

/// Sends the signal while a client does not end.
#[track_caller]
fn interrupted(fakes: &Fakes, args: &[&str], signal: Signal) {
    fakes.replace("epoll-load", "echo $$ >> \"$FAKES/started\"; exec sleep 600\n");
    let runner = fakes.start(args);
    wait_until("server and client run", || fakes.started().len() >= 2);
    kill_process(Pid::from_child(&runner), signal).unwrap();
    let run = Run::of(runner);
    run.ends_with(130, &["bench: interrupted"]);
    fakes.assert_ended();
}
