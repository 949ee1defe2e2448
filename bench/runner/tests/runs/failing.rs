//! Runs in which somebody does not do what it should, or the user has had enough.

use crate::fakes::{ANSWER, Fakes, Run, wait_until};
use rustix::process::{Pid, Signal, kill_process};

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
fn ctrl_c_ends_every_process_that_was_started() {
    let fakes = Fakes::new();
    fakes.replace("epoll-load", "echo $$ >> \"$FAKES/started\"; exec sleep 600\n");
    let runner = fakes.start(&["echo", "--quick"]);
    wait_until("server and client run", || fakes.started().len() >= 2);
    kill_process(Pid::from_child(&runner), Signal::INT).unwrap();
    let run = Run::of(runner);
    run.ends_with(130, &["bench: interrupted"]);
    fakes.assert_ended();
}
