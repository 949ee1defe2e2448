//! The threads of a server: how many there are, the cores they keep to, what they do when there is
//! nothing to do, and the end of all when one fails.

use crate::harness::{Crowd, Launch, Mode, OBSERVATION, Output, Server, Tool, alone};
use crate::harness::{converse, poll_input, tool, uninterrupted};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::io::{Read, Write};
use std::thread;

/// The CPUs that this process may use.
fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("an affinity");
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

#[track_caller]
fn started_with(launch: &Launch) -> u64 {
    let server = launch.clone().flag("--log-format", "json").start();
    let started = server.stderr.next_with(&["started"]);
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    let threads = started["threads"].as_u64().unwrap();
    let expected = threads + u64::from(started["mode"] == "Oneshot");
    // All of them are there when the server says that it listens.
    assert_eq!(server.process.event_loops().len() as u64, expected);
    server.process.await_rest();
    // One more for logs, and two for signals: those that end the server, and others.
    assert_eq!(server.process.threads().len() as u64, expected + 3);
    threads
}

#[test]
fn there_are_as_many_threads_as_cores_that_the_process_may_use() {
    let available = thread::available_parallelism().unwrap().get() as u64;
    for mode in ["level", "oneshot"] {
        let launch = Launch::at("127.0.0.1:0").flag("--mode", mode);
        assert_eq!(started_with(&launch), available);
        let Some(taskset) = tool("taskset") else { return };
        let cpu = cpus()[0].to_string();
        let bound = launch.under([taskset.path(), "-c".as_ref(), cpu.as_ref()]);
        assert_eq!(started_with(&bound), 1);
    }
}

#[test]
fn there_are_as_many_threads_as_asked_for() {
    for mode in ["level", "oneshot"] {
        let launch = Launch::at("127.0.0.1:0").flag("--mode", mode).flag("--threads", "17");
        assert_eq!(started_with(&launch), 17);
    }
}

/// The CPUs of each thread, as the kernel writes them.
#[track_caller]
fn cpus_of_threads(server: &Server) -> Vec<String> {
    let cpus = |thread: u32| {
        let status = server.process.file(&format!("task/{thread}/status"));
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("a list of CPUs").trim().to_owned()
    };
    server.process.event_loops().into_iter().map(cpus).collect()
}

in_all_modes!(with_pin_each_thread_keeps_to_a_core_in_turn);

fn with_pin_each_thread_keeps_to_a_core_in_turn(mode: Mode) {
    let server = Launch::tcp(mode).switch("--pin").start();
    let all = cpus_of_threads(&Server::start(Mode::Level)).remove(0);
    // The thread that minds timers and signals for others may run anywhere.
    let minds = mode.is_shared().then_some(all);
    let count = mode.threads() as usize;
    let cores = cpus().into_iter().cycle().take(count).map(|cpu| cpu.to_string());
    let expected: Vec<_> = minds.into_iter().chain(cores).collect();
    assert_eq!(cpus_of_threads(&server), expected);
    converse(&mut server.client(), b"pinned");
}

/// The server under strace, which interferes with its calls as said.
fn injected(launch: Launch, strace: &Tool, what: &str) -> Launch {
    let launch = launch.outermost([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    launch.under(["-e".to_owned(), format!("inject={what}")])
}

/// Returns the failure in the last line of stderr, and asserts the exit status 1.
#[track_caller]
fn failure_of(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let [line] = output.stderr.as_slice() else { panic!("{output:#?}") };
    let failure = line.strip_prefix("epoll-server: error: ");
    failure.unwrap_or_else(|| panic!("{output:#?}"))
}

in_all_modes!(pinning_without_the_right_ends_the_server_with_a_clear_line);

fn pinning_without_the_right_ends_the_server_with_a_clear_line(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let launch = Launch::tcp(mode).switch("--pin");
    let output = injected(launch, &strace, "sched_setaffinity:error=EPERM").run();
    let failure = failure_of(&output);
    let core = cpus()[0];
    let expected = format!("failed to keep to core {core} (--pin): Operation not permitted");
    let later = |thread: usize| format!("failed to start thread {thread}: failed to keep to core");
    let is_expected = match mode.is_shared() {
        false => failure.starts_with(&expected),
        // Each of them fails, in whichever order.
        true => (1..=3).any(|thread| failure.starts_with(&later(thread))),
    };
    assert!(is_expected && failure.contains("Operation not permitted"), "{failure}");
}

#[test]
fn a_later_thread_that_cannot_be_pinned_ends_the_server_with_a_clear_line() {
    let Some(strace) = tool("strace") else { return };
    let first = cpus()[0];
    // The server is told of a core that no machine here has.
    let mut set = [0_u8; 32];
    set[first / 8] |= 1 << (first % 8);
    set[31] |= 0x80;
    let set: String = set.iter().map(|byte| format!("{byte:02x}")).collect();
    for mode in [Mode::Reuseport, Mode::Exclusive] {
        let launch = Launch::tcp(mode).switch("--pin");
        let told = format!("sched_getaffinity:poke_exit=@arg3={set}:when=2");
        let output = injected(launch, &strace, &told).run();
        let failure = failure_of(&output);
        let expected = "failed to start thread 1: failed to keep to core 255 (--pin): Invalid";
        assert!(failure.starts_with(expected), "{failure}");
    }
}

in_all_modes!(an_event_loop_that_fails_ends_the_server_with_a_clear_line);

/// Each thread's sixth wait fails. Only the threads that serve come that far.
fn an_event_loop_that_fails_ends_the_server_with_a_clear_line(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let waits = "epoll_pwait2,epoll_pwait,epoll_wait:error=ENOMEM:when=6";
    let mut server = injected(Launch::tcp(mode), &strace, waits).start();
    let mut stream = server.client();
    // Until the server is gone.
    while stream.write_all(b"hello").is_ok()
        && matches!(uninterrupted(|| stream.read(&mut [0; 5])), Ok(1..))
    {}
    let status = server.await_end();
    let stderr = server.stderr.rest();
    let output = Output { status, stdout: Vec::new(), stderr };
    let failure = failure_of(&output);
    let parts = ["the event loop of thread ", " failed: Cannot allocate memory"];
    assert!(parts.iter().all(|part| failure.contains(part)), "{failure}");
    let is_first = failure.contains("thread 0");
    assert!(!(mode.is_shared() && is_first), "the first one has little to do: {failure}");
}

/// The most attempts to find a server at rest.
const TRIES_MAX: u32 = 3;

in_all_modes!(nobody_wakes_up_when_there_is_nothing_to_do);

fn nobody_wakes_up_when_there_is_nothing_to_do(mode: Mode) {
    let _alone = alone();
    let server = Launch::with_threads(mode, 3).start();
    let mut crowd = Crowd::of(server.inet(), 30);
    crowd.all_are_served();
    // Threads may still be at the end of what they did.
    let is_at_rest = (0..TRIES_MAX).any(|_| {
        server.process.await_rest();
        let before = server.process.activity();
        assert!(!poll_input(&crowd.streams, OBSERVATION).contains(&true), "nobody has sent");
        let after = server.process.activity();
        println!("{mode}: CPU time and runs of all threads at rest: {before:?}, then {after:?}");
        before == after
    });
    assert!(is_at_rest, "a thread woke up or ran");
    crowd.all_are_served();
}
