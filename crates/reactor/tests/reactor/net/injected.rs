//! Errors that no test can bring about, injected by strace: which of them concern a single connection, and
//! which make a listener pause.

use super::{accept, pause_of, queued, tcp_listener};
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{assert_kind, under_strace};
use epoll_reactor::net::{AcceptCounters, BatchEnd, ListenOptions, Listener, PausedBy, Stream};
use epoll_reactor::{Interest, Reactor, Watch};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The result of a batch whose first accept fails.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The connection counts as dead, and the batch goes on.
    Skips,
    /// The call is made again.
    Retries,
    /// One connection is shed before the pause.
    Sheds,
    Pauses,
}

/// Runs the test called `name` with the thread's first accept failing with `errno`: one connection
/// is in the queue, and stays there.
#[track_caller]
fn with_failing_accept(name: &str, errno: &str, outcome: Outcome) {
    let inject = format!("inject=accept4:error={errno}:when=1");
    under_strace(name, &["-o", "/dev/null", "-e", &inject], || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let _client = queued(&listener, 1);
        let none = AcceptCounters::default();
        let expected = match outcome {
            Outcome::Skips => AcceptCounters { accepted: 1, aborted: 1, ..none },
            Outcome::Retries => AcceptCounters { accepted: 1, ..none },
            Outcome::Sheds => AcceptCounters { shed: 1, pauses: 1, ..none },
            Outcome::Pauses => AcceptCounters { pauses: 1, ..none },
        };
        let accepted = listener.accept_batch().count() as u64;
        assert_eq!(listener.counters(), expected);
        assert_eq!(accepted, expected.accepted);
        let end = match expected.pauses {
            0 => BatchEnd::QueueEmpty,
            _ => BatchEnd::Paused(Duration::from_millis(5)),
        };
        assert_eq!(listener.batch_end(), Some(end));

        let _another = TcpStream::connect(listener.address().inet().unwrap()).unwrap();
        accept(&mut listener);
        assert_eq!(listener.batch_end(), None);
    });
}

macro_rules! errors {
    ($($name:ident: $errno:literal => $outcome:ident,)*) => { $(
        #[test]
        fn $name() {
            let name = concat!("net::injected::", stringify!($name));
            with_failing_accept(name, $errno, Outcome::$outcome);
        }
    )* };
}

errors! {
    a_connection_that_was_aborted_is_passed_over: "ECONNABORTED" => Skips,
    a_network_that_is_down_is_passed_over: "ENETDOWN" => Skips,
    a_network_that_is_out_of_reach_is_passed_over: "ENETUNREACH" => Skips,
    a_host_that_is_down_is_passed_over: "EHOSTDOWN" => Skips,
    a_host_that_is_out_of_reach_is_passed_over: "EHOSTUNREACH" => Skips,
    a_machine_without_network_is_passed_over: "ENONET" => Skips,
    an_error_of_the_protocol_is_passed_over: "EPROTO" => Skips,
    a_protocol_that_is_missing_is_passed_over: "ENOPROTOOPT" => Skips,
    a_connection_that_timed_out_is_passed_over: "ETIMEDOUT" => Skips,
    an_interruption_is_passed_over: "EINTR" => Retries,
    a_process_without_descriptors_pauses: "EMFILE" => Sheds,
    a_system_without_descriptors_pauses: "ENFILE" => Sheds,
    a_system_without_buffers_pauses: "ENOBUFS" => Pauses,
    a_system_without_memory_pauses: "ENOMEM" => Pauses,
    a_security_module_that_forbids_it_pauses: "EACCES" => Pauses,
    a_firewall_that_forbids_it_pauses: "EPERM" => Pauses,
    a_kernel_that_lacks_the_call_pauses: "ENOSYS" => Pauses,
    an_operation_that_is_not_supported_pauses: "EOPNOTSUPP" => Pauses,
    an_error_that_nobody_foresaw_pauses: "EXFULL" => Pauses,
}

/// Runs the test called `name` with every accept failing with `errno`.
#[track_caller]
fn with_lasting_error(name: &str, errno: &str, body: impl FnOnce()) {
    let inject = format!("inject=accept4:error={errno}");
    under_strace(name, &["-o", "/dev/null", "-e", &inject], body);
}

#[test]
fn an_error_that_lasts_makes_the_loop_sleep_ever_longer() {
    const NAME: &str = "net::injected::an_error_that_lasts_makes_the_loop_sleep_ever_longer";
    with_lasting_error(NAME, "EACCES", || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let _clients = queued(&listener, 3);
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        reactor.watch(&listener, (), Watch::level(Interest::IN)).unwrap();
        let start = Instant::now();
        for pause in [5, 10, 20, 40, 80] {
            wait(&mut reactor);
            assert_eq!(listener.accept_batch().count(), 0);
            assert_eq!(pause_of(&listener), Some(Duration::from_millis(pause)));
        }
        assert!(start.elapsed() >= Duration::from_millis(5 + 10 + 20 + 40));
        let expected = AcceptCounters { pauses: 5, ..AcceptCounters::default() };
        assert_eq!(listener.counters(), expected);
    });
}

#[test]
fn nothing_but_dead_connections_makes_the_loop_sleep_too() {
    const NAME: &str = "net::injected::nothing_but_dead_connections_makes_the_loop_sleep_too";
    with_lasting_error(NAME, "EPROTO", || {
        for accept_batch_max in [1, 5, 16, 1000] {
            let options = ListenOptions { accept_batch_max, ..ListenOptions::default() };
            let mut listener = tcp_listener(&options);
            let _client = queued(&listener, 1);
            let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
            reactor.watch(&listener, (), Watch::level(Interest::IN)).unwrap();
            for (aborted, pause) in [(16, 5), (32, 10), (48, 20)] {
                while listener.counters().aborted < aborted {
                    wait(&mut reactor);
                    assert_eq!(listener.accept_batch().count(), 0);
                }
                assert_eq!(listener.counters().aborted, aborted);
                assert_eq!(pause_of(&listener), Some(Duration::from_millis(pause)));
            }
        }
    });
}

#[test]
fn dead_connections_with_living_ones_between_them_lead_to_no_pause() {
    const NAME: &str =
        "net::injected::dead_connections_with_living_ones_between_them_lead_to_no_pause";
    let inject = "inject=accept4:error=ECONNABORTED:when=1+2";
    under_strace(NAME, &["-o", "/dev/null", "-e", inject], || {
        let options = ListenOptions { accept_batch_max: 100, ..ListenOptions::default() };
        let mut listener = tcp_listener(&options);
        let _clients = queued(&listener, 20);
        assert_eq!(listener.accept_batch().count(), 20);
        let expected = AcceptCounters { accepted: 20, aborted: 21, ..Default::default() };
        assert_eq!(listener.counters(), expected);
    });
}

#[test]
fn an_empty_queue_ends_a_row_of_dead_connections_and_of_pauses() {
    const NAME: &str = "net::injected::an_empty_queue_ends_a_row_of_dead_connections_and_of_pauses";
    let injections = ["-e", "inject=accept4:error=EACCES:when=1..2", "-o", "/dev/null"];
    under_strace(NAME, &injections, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        for end in [
            BatchEnd::Paused(Duration::from_millis(5)),
            BatchEnd::Paused(Duration::from_millis(10)),
            BatchEnd::QueueEmpty,
        ] {
            assert_eq!(listener.accept_batch().count(), 0);
            assert_eq!(listener.batch_end(), Some(end));
        }
    });
}

#[test]
fn a_spare_descriptor_that_was_lacking_is_acquired_at_the_next_pause() {
    const NAME: &str =
        "net::injected::a_spare_descriptor_that_was_lacking_is_acquired_at_the_next_pause";
    // The first `dup` is for the spare, the first accept finds no memory, the second no descriptor.
    let injections = [
        "-o",
        "/dev/null",
        "-e",
        "inject=fcntl:error=EMFILE:when=1",
        "-e",
        "inject=accept4:error=ENOMEM:when=1",
    ];
    under_strace(NAME, &injections, || {
        let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
        let mut listener = tcp_listener(&options);
        let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        assert_eq!(listener.accept_batch().count(), 0);
        assert!(pause_of(&listener).is_some());
        assert_eq!(descriptors(), before + 1);
    });
}

#[test]
fn a_registration_that_fails_lengthens_the_pause() {
    const NAME: &str = "net::injected::a_registration_that_fails_lengthens_the_pause";
    // Two for the listener, one for the reactor, one for the pause; the fifth would end the pause.
    let injections = [
        "-o",
        "/dev/null",
        "-e",
        "inject=accept4:error=ENOMEM:when=1",
        "-e",
        "inject=epoll_ctl:error=ENOMEM:when=5",
    ];
    under_strace(NAME, &injections, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let client = queued(&listener, 1);
        let epoll = epoll_sys::Epoll::new().unwrap();
        epoll.add(&listener, 0, Watch::level(Interest::IN)).unwrap();
        let mut events = epoll_sys::Events::with_capacity(4);
        for pause in [5, 10] {
            assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
            assert_eq!(listener.accept_batch().count(), 0);
            assert_eq!(pause_of(&listener), Some(Duration::from_millis(pause)));
        }
        assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
        assert_eq!(listener.accept_batch().count(), 1);
        drop(client);
    });
}

/// The first `count` attempts to listen find that the address is in use.
#[track_caller]
fn with_failing_listen(name: &str, count: u32, body: impl FnOnce()) {
    let inject = format!("inject=listen:error=EADDRINUSE:when=1..{count}");
    under_strace(name, &["-o", "/dev/null", "-e", &inject], body);
}

#[test]
fn a_listener_that_meets_another_one_listens_a_second_time() {
    const NAME: &str = "net::injected::a_listener_that_meets_another_one_listens_a_second_time";
    with_failing_listen(NAME, 7, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let _client = queued(&listener, 1);
        accept(&mut listener);
    });
}

#[test]
fn a_listener_that_comes_too_late_gives_up() {
    const NAME: &str = "net::injected::a_listener_that_comes_too_late_gives_up";
    with_failing_listen(NAME, 8, || {
        let bind = || Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default());
        assert_kind(bind(), ErrorKind::AddrInUse);
        bind().unwrap();
    });
}

#[test]
fn accepting_makes_no_calls_but_to_accept() {
    const NAME: &str = "net::injected::accepting_makes_no_calls_but_to_accept";
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let options = ["-o", trace.to_str().unwrap(), "-e", "trace=epoll_ctl,timerfd_settime"];
    let has_run = under_strace(NAME, &options, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        reactor.watch(&listener, (), Watch::level(Interest::IN)).unwrap();
        let _clients = queued(&listener, 40);
        let mut accepted = 0;
        while accepted < 40 {
            wait(&mut reactor);
            accepted += listener.accept_batch().count();
        }
        assert_sleeps(&mut reactor);
    });
    if has_run {
        let calls = fs::read_to_string(trace).unwrap();
        // The socket and the timer in the listener, the listener and the waker in the reactor.
        assert_eq!(calls.matches("epoll_ctl(").count(), 4, "{calls}");
        assert_eq!(calls.matches("timerfd_settime(").count(), 0, "{calls}");
    }
}
