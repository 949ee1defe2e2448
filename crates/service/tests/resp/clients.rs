//! The clients of redis.

use crate::servers::Server;
use epoll_kit_testing::{leave_out, output_of};
use std::io::ErrorKind;
use std::process::{Command, Output};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program, which has to end well, and returns what it prints; `None` if there is no such program.
#[track_caller]
fn run(test: &str, program: &str, arguments: &[&str]) -> Option<String> {
    match output_of(Command::new(program).args(arguments), PATIENCE) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            leave_out(test, program);
            None
        }
        output => {
            let Output { status, stdout, stderr } = output.expect("a process");
            let [stdout, stderr] =
                [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(status.success(), "{status}\n{stdout}{stderr}");
            Some(stdout + &stderr)
        }
    }
}

#[test]
fn redis_cli_understands_it() {
    let server = Server::start("2");
    let port = server.address.port().to_string();
    for (words, expected) in [
        ("PING", "PONG"),
        ("SET k v EX 100", "OK"),
        ("TTL k", "100"),
        ("GET k", "v"),
        ("GET absent", ""),
        ("MSET a 1 b 2", "OK"),
        ("MGET a x b", "1\n\n2"),
        ("INCRBY a 41", "42"),
        ("DEL a b", "2"),
        ("HELLO 3", "NOPROTO unsupported protocol version"),
        // It goes on with version 2, and says so on its other output.
        ("-3 PING", "PONG\nHELLO 3 failed: NOPROTO unsupported protocol version"),
        ("INFO keyspace", "# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=0"),
        ("CONFIG GET save", "save"),
    ] {
        let arguments: Vec<_> = ["-p", &port].into_iter().chain(words.split(' ')).collect();
        let Some(output) = run("clients::redis_cli_understands_it", "redis-cli", &arguments) else {
            return;
        };
        assert_eq!(output.trim_end(), expected, "{words}");
    }
    server.terminate();
}

#[test]
fn redis_benchmark_gets_its_answers() {
    for threads in ["1", "2"] {
        let server = Server::start(threads);
        let port = server.address.port().to_string();
        for depth in ["1", "16"] {
            let arguments = [
                "-p",
                &port,
                "-t",
                "get,set,incr,mset",
                "-n",
                "20000",
                "-r",
                "100",
                "-P",
                depth,
                "-q",
                "--csv",
            ];
            let test = "clients::redis_benchmark_gets_its_answers";
            let Some(output) = run(test, "redis-benchmark", &arguments) else { return };
            // A head, and a row for each command.
            assert_eq!(output.lines().count(), 5, "{output}");
        }
        let mut client = server.client();
        assert!(client.ask("DBSIZE").len() > 4, "it has set many keys");
        server.terminate();
    }
}

const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = r#"
import sys, redis
r = redis.Redis(port=int(sys.argv[1]), client_name="me")
assert r.ping() and r.client_getname() in ("me", b"me"), r.client_getname()
assert r.set("k", "v", ex=100) and r.get("k") == b"v" and 0 < r.ttl("k") <= 100
assert r.set("k", "w", nx=True) is None and r.set("k", "w", xx=True, get=True) == b"v"
assert r.mset({"a": 1, "b": 2}) and r.mget("a", "x", "b") == [b"1", None, b"2"]
assert r.incr("a") == 2 and r.decr("a", 5) == -3 and r.exists("a", "b", "x") == 2
assert r.pexpire("a", 5000) and 0 < r.pttl("a") <= 5000 and r.persist("a") and r.ttl("a") == -1
value = bytes(range(256)) * 40000
assert r.set("long", value) and r.get("long") == value and r.mget(["long"] * 3) == [value] * 3
with r.pipeline(transaction=False) as pipe:
    for i in range(1000):
        pipe.set(f"p{i}", i)
    assert pipe.execute() == [True] * 1000
try:
    r.execute_command("NOTHING", "x")
    assert False
except redis.ResponseError as error:
    assert str(error).startswith("unknown command"), error
listener = r.pubsub(ignore_subscribe_messages=False)
listener.subscribe("news")
assert listener.get_message(timeout=10)["type"] == "subscribe"
assert r.publish("news", "hello") == 1
assert listener.get_message(timeout=10)["data"] == b"hello"
listener.unsubscribe()
assert listener.get_message(timeout=10)["type"] == "unsubscribe"
assert r.info()["redis_version"] and r.config_get("save") == {"save": ""} and r.command_count() > 20
assert r.dbsize() == 1004 and r.delete("a", "b") == 2 and r.flushall() and r.dbsize() == 0
print("done")
"#;

#[test]
fn redis_py_works_with_it() {
    let test = "clients::redis_py_works_with_it";
    let import = output_of(Command::new(PYTHON).args(["-c", "import redis"]), PATIENCE);
    if !import.is_ok_and(|output| output.status.success()) {
        return leave_out(test, "python3-redis");
    }
    for threads in ["1", "3"] {
        let server = Server::start(threads);
        let port = server.address.port().to_string();
        let output = run(test, PYTHON, &["-c", SCRIPT, &port]);
        assert_eq!(output.as_deref(), Some("done\n"));
        server.terminate();
    }
}
