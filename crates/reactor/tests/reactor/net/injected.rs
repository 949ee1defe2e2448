//! Errors of `accept` that no test can bring about, injected by strace: which of them concern a
//! single connection, and which ask for a pause.

use super::{accept, tcp_listener};
use epoll_kit_testing::under_strace;
use epoll_reactor::net::{AcceptCounters, ListenOptions};
use std::net::TcpStream;
use std::time::Duration;

/// Runs the test called `name` with the thread's first accept failing with `errno`: one connection
/// is in the queue, and stays there.
#[track_caller]
fn with_failing_accept(name: &str, errno: &str, passed_over: bool) {
    let inject = format!("inject=accept4:error={errno}:when=1");
    under_strace(name, &["-o", "/dev/null", "-e", &inject], || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let _client = TcpStream::connect(listener.address().inet().unwrap()).unwrap();
        let expected = if passed_over {
            // A signal's handler that ran is no connection that died.
            let aborted = u64::from(errno != "EINTR");
            AcceptCounters { accepted: 1, aborted, ..Default::default() }
        } else {
            AcceptCounters { shed: 1, pauses: 1, ..Default::default() }
        };
        let accepted = listener.accept_batch().count() as u64;
        assert_eq!(listener.counters(), expected);
        assert_eq!(accepted, expected.accepted);
        let pause = (expected.pauses > 0).then_some(Duration::from_millis(5));
        assert_eq!(listener.pause(), pause);

        let _another = TcpStream::connect(listener.address().inet().unwrap()).unwrap();
        accept(&mut listener);
        assert_eq!(listener.pause(), None);
    });
}

macro_rules! errors {
    ($($name:ident: $errno:literal => $passed_over:literal,)*) => { $(
        #[test]
        fn $name() {
            let name = concat!("net::injected::", stringify!($name));
            with_failing_accept(name, $errno, $passed_over);
        }
    )* };
}

errors! {
    a_connection_that_was_aborted_is_passed_over: "ECONNABORTED" => true,
    an_interruption_is_passed_over: "EINTR" => true,
    a_network_that_is_down_is_passed_over: "ENETDOWN" => true,
    a_network_that_is_out_of_reach_is_passed_over: "ENETUNREACH" => true,
    a_host_that_is_down_is_passed_over: "EHOSTDOWN" => true,
    a_host_that_is_out_of_reach_is_passed_over: "EHOSTUNREACH" => true,
    a_machine_without_network_is_passed_over: "ENONET" => true,
    an_error_of_the_protocol_is_passed_over: "EPROTO" => true,
    a_protocol_that_is_missing_is_passed_over: "ENOPROTOOPT" => true,
    an_operation_that_is_not_supported_is_passed_over: "EOPNOTSUPP" => true,
    a_firewall_is_passed_over: "EPERM" => true,
    a_process_without_descriptors_pauses: "EMFILE" => false,
    a_system_without_descriptors_pauses: "ENFILE" => false,
    a_system_without_buffers_pauses: "ENOBUFS" => false,
    a_system_without_memory_pauses: "ENOMEM" => false,
    an_error_that_nobody_foresaw_pauses: "EXFULL" => false,
}
