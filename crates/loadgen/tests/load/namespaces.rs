//! Few ports, in a network namespace of the test: connections to themselves, and ports that are used up.

use crate::program::{load, measure, measure_well, output_of};
use crate::server::{Server, echo};
use epoll_kit_testing::leave_out;
use rustix::process::geteuid;
use serde_json::json;
use std::env;
use std::net::TcpListener;
use std::process::Command;
use std::thread;

/// The environment variable that names the test in a process of its own.
const MARK: &str = "EPOLL_LOAD_NAMESPACE";

/// The exit status of a shell that could not make the namespace what it is to be.
const UNABLE: i32 = 77;

/// Runs `body`, the test called `name`, in a process and a network namespace of its own, where the kernel
/// gives out the ports of `range` only.
#[track_caller]
fn in_namespace(name: &str, range: &str, body: impl FnOnce()) {
    if env::var_os(MARK).is_some_and(|mark| mark == name) {
        return body();
    }
    let script =
        "ip link set lo up && echo \"$1\" >/proc/sys/net/ipv4/ip_local_port_range || exit 77
        shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "sh", "-c", script, "sh", range]);
    command.arg(env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let output = output_of(command.env(MARK, name));
    // It is unshare itself that says the first.
    if output.stderr.starts_with("unshare: ") || output.status == UNABLE {
        return leave_out(name, "a network namespace");
    }
    assert!(output.status == 0 && output.stdout.contains("1 passed"), "{output:?}");
}

#[test]
fn a_connection_to_itself_is_refused() {
    in_namespace("namespaces::a_connection_to_itself_is_refused", "40000 40000", || {
        for how in [&[][..], &["--churn"], &["--rate", "100"], &["--idle", "1"]] {
            let args = ["127.0.0.1:40000", "--connections", "1", "--requests", "100"];
            let output = load(&[&args[..], how].concat());
            output.complains(1, &["nobody listens there: the socket has connected to itself"]);
        }
    });
}

/// The server is there for the first connection, with which the program finds out whether anybody is.
#[test]
fn a_churn_does_not_answer_itself() {
    in_namespace("namespaces::a_churn_does_not_answer_itself", "40000 40001", || {
        let listener = TcpListener::bind("127.0.0.1:40000").unwrap();
        let accepting = thread::spawn(move || listener.accept().map(drop));
        let args = ["--churn", "--connections", "1", "--requests", "5", "--timeout", "500ms"];
        let sources = ["--source", "127.0.0.1"];
        let (output, json) = measure("127.0.0.1:40000", &[&args[..], &sources].concat());
        output.complains(1, &["errors; the first: connection 0: "]);
        assert_eq!(json["requests"], 0);
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn more_connections_than_ports_come_from_several_addresses() {
    let name = "namespaces::more_connections_than_ports_come_from_several_addresses";
    in_namespace(name, "40000 40099", || {
        let server = Server::tcp_at("127.0.0.1:8080", echo);
        let crowd = ["--connections", "10", "--idle", "150", "--requests", "1000"];
        let json = measure_well(&server.target, &crowd);
        assert_eq!((&json["connects"], &json["valid"]), (&json!(160), &json!(true)));

        let sources = ["--source", "127.0.0.5,127.0.0.6"];
        measure_well(&server.target, &[&crowd[..], &sources].concat());

        let one = ["--source", "127.0.0.1", "--timeout", "300ms"];
        let (output, json) = measure(&server.target, &[&crowd[..], &one].concat());
        output.complains(1, &["no port was left for 300ms", "has 100 of them, --source"]);
        assert_eq!((&json["errors"], &json["valid"]), (&json!({ "no-address": 1 }), &json!(false)));

        let none = ["--source", "192.0.2.7"];
        let output = load(&[&[server.target.as_str()], &none[..]].concat());
        output.complains(1, &["failed to use the local address 192.0.2.7: "]);
    });
}

#[test]
fn a_churn_that_waits_for_ports_says_so() {
    let name = "namespaces::a_churn_that_waits_for_ports_says_so";
    in_namespace(name, "40000 40039", || {
        let server = Server::tcp_at("[::1]:8081", echo);
        let args = ["--connections", "4", "--churn", "--duration", "300ms"];
        let json = measure_well(&server.target, &args);
        assert_eq!(json["valid"], false);
        let reason = json["invalid_because"][0].as_str().unwrap();
        assert!(reason.ends_with(" s for free ports"), "{json}");
        assert!(json["own_delays"]["ports_s"].as_f64().unwrap() > 0.1, "{json}");
        let output = load(&[&[server.target.as_str()], &args[..]].concat());
        assert!(output.stdout.contains("\ninvalid     connections waited "), "{output:?}");
        // IPv4 has many addresses.
        let server = Server::tcp_at("127.0.0.1:8080", echo);
        let json = measure_well(&server.target, &["--churn", "--requests", "300"]);
        assert_eq!(json["requests"], 300);
    });
}
