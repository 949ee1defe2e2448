//! Tests of arguments that are refused. One line on stderr names the flag and the value; the exit status is 1, or
//! 2 if the command line makes no sense; nothing is left behind.

use crate::harness::{Launch, Output, Server, converse, tool};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const FAILURE: i32 = 1;
const USAGE: i32 = 2;

#[track_caller]
fn is_refused(launch: &Launch, status: i32, flag: &str, value: &str) {
    let output = launch.run();
    let line = output.stderr.first().expect("a line on stderr");
    assert_eq!(output.stderr.len(), 1, "{:#?}", output.stderr);
    assert!(line.contains(flag) && line.contains(value), "{flag} {value} is not in: {line}");
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert!(output.stdout.is_empty(), "{:#?}", output.stdout);
}

#[test]
fn a_value_that_makes_no_sense_is_a_usage_error() {
    let long_word = "q".repeat(200);
    for (flag, value) in [
        ("--listen", "localhost"),
        ("--listen", "8080"),
        ("--listen", "a b:80"),
        ("--listen", "1.2.3.4"),
        ("--listen", "1.2.3.4:65536"),
        ("--listen", "::1"),
        ("--listen", "unix:"),
        ("--listen", ""),
        ("--mode", "oneshot?"),
        ("--threads", "0"),
        ("--threads", "1025"),
        ("--threads", "x"),
        ("--accept", "sideways"),
        ("--max-per-peer", "0"),
        ("--max-per-peer", "-1"),
        ("--read-buffer", "0"),
        ("--read-buffer", "16777217"),
        ("--read-buffer", "64k"),
        ("--read-buffer", "17MiB"),
        ("--unix-mode", "0x1b0"),
        ("--unix-owner", "no-such-user"),
        ("--pin", "maybe"),
        ("--splice", "always"),
        ("--max-connections", "0"),
        ("--max-connections", "-1"),
        ("--max-connections", "5000000000"),
        ("--backlog", "0"),
        ("--backlog", "many"),
        ("--quit-word", ""),
        ("--quit-word", &long_word),
        ("--log", "loud"),
        ("--log-format", "xml"),
        ("--idle-timeout", "soon"),
        ("--write-timeout", "-1s"),
        ("--drain-timeout", "10 parsecs"),
        ("--linger-timeout", ""),
        ("--busy-poll", ""),
        ("--busy-poll", "50"),
        ("--busy-poll", "-50us"),
        ("--busy-poll", "often"),
    ] {
        // With an equals sign, a value may begin with a dash.
        let launch = Launch::bare().switch(&format!("{flag}={value}"));
        is_refused(&launch, USAGE, flag, &format!("'{value}'"));
    }
}

#[test]
fn a_way_to_accept_is_refused_where_any_thread_accepts() {
    for mode in ["oneshot", "edge-shared"] {
        for accept in ["reuseport", "exclusive"] {
            let launch = Launch::bare().flag("--mode", mode);
            let given = launch.clone().flag("--accept", accept);
            is_refused(&given, USAGE, "'--accept'", "level and edge");
            let inherited = launch.variable("EPOLL_SERVER_ACCEPT", accept);
            is_refused(&inherited, USAGE, "'--accept'", "level and edge");
        }
    }
}

#[test]
fn a_splice_is_refused_where_every_byte_is_looked_at() {
    let on = Launch::bare().flag("--splice", "on");
    is_refused(&on.clone().flag("--quit-word", "quit"), USAGE, "'--splice on'", "'--quit-word'");
    let tls = on.flag("--tls-cert", "cert.pem").flag("--tls-key", "key.pem");
    is_refused(&tls, USAGE, "'--splice on'", "TLS");
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    is_refused(&Launch::bare().switch("--port"), USAGE, "--port", "unexpected");
    is_refused(&Launch::bare().switch("8080"), USAGE, "8080", "unexpected");
    is_refused(&Launch::bare().switch("--listen"), USAGE, "--listen", "value");
}

#[test]
fn a_wrong_value_in_the_environment_is_named_too() {
    for (variable, flag, value) in [
        ("EPOLL_SERVER_LISTEN", "--listen", "127.0.0.1:0,localhost"),
        ("EPOLL_SERVER_MODE", "--mode", "both"),
        ("EPOLL_SERVER_THREADS", "--threads", "all"),
        ("EPOLL_SERVER_ACCEPT", "--accept", "both"),
        ("EPOLL_SERVER_MAX_CONNECTIONS", "--max-connections", "0"),
        ("EPOLL_SERVER_MAX_PER_PEER", "--max-per-peer", "0"),
        ("EPOLL_SERVER_READ_BUFFER", "--read-buffer", "0"),
        ("EPOLL_SERVER_SPLICE", "--splice", "1"),
        ("EPOLL_SERVER_BACKLOG", "--backlog", "0"),
        ("EPOLL_SERVER_IDLE_TIMEOUT", "--idle-timeout", "soon"),
        ("EPOLL_SERVER_BUSY_POLL", "--busy-poll", "often"),
    ] {
        let wrong = value.rsplit(',').next().unwrap();
        let launch = Launch::bare().variable(variable, value);
        is_refused(&launch, USAGE, flag, &format!("'{wrong}'"));
        is_refused(&launch, USAGE, flag, variable);
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    is_refused(&Launch::at(&address), FAILURE, "--listen", &address);
}

#[test]
fn an_address_of_another_machine_is_refused() {
    is_refused(&Launch::at("192.0.2.1:0"), FAILURE, "--listen", "192.0.2.1:0");
}

#[test]
fn a_directory_without_permission_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("closed/echo");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let mut launch = Launch::at(format!("unix:{}", path.display()));
    if fs::metadata(folder.path()).unwrap().uid() == 0 {
        // Root may do anything, so it has to be somebody else, and to be found by them.
        if tool("setpriv").is_none() {
            return;
        }
        let program = folder.path().join("server");
        // By another process: a descriptor open for writing, inherited by a child of another test,
        // would make the program busy.
        let copied = Output::of(Command::new("cp").arg(Launch::program()).arg(&program));
        assert!(copied.status.success(), "{copied:?}");
        allow(folder.path(), 0o755);
        launch = launch.copy_at(program).under(["setpriv", "--reuid=65534", "--clear-groups"]);
    }
    allow(path.parent().unwrap(), 0o555);
    is_refused(&launch, FAILURE, "--listen", path.to_str().unwrap());
    allow(path.parent().unwrap(), 0o755);
}

#[track_caller]
fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_path_too_long_for_a_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x".repeat(120));
    let address = format!("unix:{}", path.display());
    is_refused(&Launch::at(&address), USAGE, "--listen", &address);
    is_empty(folder.path());
}

#[test]
fn a_path_in_a_directory_that_is_missing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/echo");
    let address = format!("unix:{}", path.display());
    is_refused(&Launch::at(&address), FAILURE, "--listen", &address);
    is_empty(folder.path());
}

#[test]
fn statistics_in_a_directory_that_is_missing_are_refused_and_the_socket_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo").display());
    let stats = folder.path().join("missing/stats.json");
    let launch = Launch::at(socket).flag("--stats-json", &stats);
    is_refused(&launch, FAILURE, "--stats-json", stats.to_str().unwrap());
    is_empty(folder.path());
}

#[test]
fn when_the_second_address_is_refused_the_socket_of_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let taken = Server::start(crate::harness::Mode::Level);
    let address = taken.address();
    let launch = Launch::at(format!("unix:{}", folder.path().join("echo").display()))
        .flag("--listen", address);
    is_refused(&launch, FAILURE, "--listen", address);
    is_empty(folder.path());
    converse(&mut taken.client(), b"unharmed");
}

#[test]
fn the_same_address_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("echo").display());
    is_refused(&Launch::at(&address).flag("--listen", &address), FAILURE, "--listen", &address);
    is_empty(folder.path());
}

#[track_caller]
fn is_empty(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
