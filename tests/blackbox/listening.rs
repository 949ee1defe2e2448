//! Tests of the addresses that the server listens at, of its lines about them, and of the sources of its flags.

use crate::harness::{Launch, Mode, PATIENCE, Server, Stats, client, converse, ends};
use crate::harness::{is_cut_off, tool};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

in_all_modes!(a_free_port_is_printed_and_served);

fn a_free_port_is_printed_and_served(mode: Mode) {
    let server = Launch::tcp(mode).start();
    assert!(server.inet().ip().is_loopback());
    assert_ne!(server.inet().port(), 0);
    converse(&mut server.client(), b"hello");
}

in_all_modes!(an_ipv6_address_is_printed_in_brackets_and_served);

fn an_ipv6_address_is_printed_in_brackets_and_served(mode: Mode) {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("left out: this machine has no ::1");
        return;
    }
    let server = Launch::at("[::1]:0").mode(mode).start();
    assert!(server.address().starts_with("[::1]:"), "{}", server.address());
    converse(&mut server.client(), b"hello");
}

in_all_modes!(a_path_is_printed_and_served);

fn a_path_is_printed_and_served(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let address = format!("unix:{}", path.display());
    let server = Launch::at(&address).mode(mode).start();
    assert_eq!(server.address(), address);
    unix_is_served(&path);
}

/// Returns whether the server keeps a connection, and does not close it at once for want of room.
#[track_caller]
fn unix_is_kept(path: &Path) -> bool {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").is_ok() && !is_cut_off(&mut stream)
}

#[track_caller]
fn unix_is_served(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
    stream.shutdown(Shutdown::Write).unwrap();
    ends(&mut stream);
}

in_all_modes!(a_port_alone_is_served_over_ipv4_and_ipv6);

fn a_port_alone_is_served_over_ipv4_and_ipv6(mode: Mode) {
    let server = Launch::at(":0").mode(mode).flag("--log", "off").start();
    let port = server.inet().port();
    converse(&mut client(SocketAddr::from((Ipv4Addr::LOCALHOST, port))), b"IPv4");
    if has_ipv6() {
        assert_eq!(server.inet().ip(), Ipv6Addr::UNSPECIFIED);
        converse(&mut client(SocketAddr::from((Ipv6Addr::LOCALHOST, port))), b"IPv6");
    }
}

fn has_ipv6() -> bool {
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    if !has_ipv6 {
        eprintln!("left out: this machine has no ::1");
    }
    has_ipv6
}

#[test]
fn ipv6_alone_leaves_the_port_of_ipv4_to_others() {
    if !has_ipv6() {
        return;
    }
    // The port is free for IPv6, but others may have it for IPv4.
    let both = || {
        let server = Launch::at("[::]:0").switch("--ipv6-only").flag("--log", "off").start();
        let port = server.inet().port();
        let other = Launch::at(format!("0.0.0.0:{port}")).flag("--log", "off").try_start();
        Some((port, server, other.ok()?))
    };
    let (port, server, other) = (0..20).find_map(|_| both()).expect("a port of both");
    converse(&mut client(SocketAddr::from((Ipv6Addr::LOCALHOST, port))), b"IPv6");
    converse(&mut client(SocketAddr::from((Ipv4Addr::LOCALHOST, port))), b"IPv4");
    drop(other);
    let both = Launch::at(format!("0.0.0.0:{port}")).flag("--listen", format!("[::]:{port}"));
    drop(server);
    assert_eq!(both.run().status.code(), Some(1), "one of them includes the other");
}

#[test]
fn a_name_stands_for_its_addresses() {
    let server = Launch::at("localhost:0").flag("--log", "off").start();
    assert!(server.inet().ip().is_loopback());
    converse(&mut server.client(), b"hello");
}

#[test]
fn an_abstract_name_needs_no_more_than_its_sign() {
    let name = format!("@epoll-kit-{}", std::process::id());
    let server = Launch::at(&name).flag("--log", "off").start();
    assert_eq!(server.address(), format!("unix:{name}"));
    let address = UnixAddr::from_abstract_name(&name[1..]).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
}

in_all_modes!(several_addresses_are_served_at_once_and_printed_in_order);

fn several_addresses_are_served_at_once_and_printed_in_order(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let unix = format!("unix:{}", path.display());
    let server = Launch::tcp(mode).flag("--listen", &unix).flag("--listen", "127.0.0.1:0").start();
    let mut first = server.client();
    assert_eq!(server.next_address(), unix);
    let mut third = client(server.next_address().parse().unwrap());
    assert_ne!(first.peer_addr().unwrap(), third.peer_addr().unwrap());
    converse(&mut first, b"first");
    unix_is_served(&path);
    converse(&mut third, b"third");
    converse(&mut first, b"first again");
}

#[test]
fn the_environment_brings_every_flag_and_commas_part_addresses() {
    let modes = [
        ("level", "Level"),
        ("edge", "Edge"),
        ("oneshot", "Oneshot"),
        ("edge-shared", "EdgeShared"),
    ];
    for (mode, logged) in modes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo");
        let stats = folder.path().join("stats.json");
        let server = Launch::bare()
            .variable("EPOLL_SERVER_LISTEN", format!("127.0.0.1:0,unix:{}", path.display()))
            .variable("EPOLL_SERVER_MODE", mode)
            .variable("EPOLL_SERVER_THREADS", "2")
            .variable("EPOLL_SERVER_PIN", "true")
            .variable("EPOLL_SERVER_MAX_CONNECTIONS", "1")
            .variable("EPOLL_SERVER_MAX_PER_PEER", "1")
            .variable("EPOLL_SERVER_READ_BUFFER", "512")
            .variable("EPOLL_SERVER_QUIT_WORD", "enough")
            .variable("EPOLL_SERVER_BACKLOG", "7")
            .variable("EPOLL_SERVER_LOG", "debug")
            .variable("EPOLL_SERVER_LOG_FORMAT", "json")
            .variable("EPOLL_SERVER_IDLE_TIMEOUT", "1h")
            .variable("EPOLL_SERVER_WRITE_TIMEOUT", "1h")
            .variable("EPOLL_SERVER_DRAIN_TIMEOUT", "1h")
            .variable("EPOLL_SERVER_LINGER_TIMEOUT", "1h")
            .variable("EPOLL_SERVER_STATS_JSON", &stats)
            .start();
        let mut only = server.client();
        converse(&mut only, b"hello\n");
        ends(&mut server.client());
        converse(&mut only, b"enough\n");
        ends(&mut only);
        drop(only);

        let started = server.stderr.next_with(&["started"]);
        let started: serde_json::Value = serde_json::from_str(&started).unwrap();
        assert_eq!(started["mode"], logged);
        assert_eq!(started["threads"], 2);
        server.stderr.next_with(&["connection closed"]);
        // One thread may say so a little before another one takes the next connection.
        let deadline = Instant::now() + PATIENCE;
        while !unix_is_kept(&path) {
            assert!(Instant::now() < deadline, "there is room for nobody any more");
        }
        assert!(stats.exists());
    }
}

#[test]
fn a_flag_wins_over_the_environment() {
    let server = Launch::at("127.0.0.1:0")
        .flag("--mode", "edge")
        .flag("--log-format", "json")
        .flag("--quit-word", "flag")
        .variable("EPOLL_SERVER_LISTEN", "192.0.2.1:1")
        .variable("EPOLL_SERVER_MODE", "level")
        .variable("EPOLL_SERVER_LOG_FORMAT", "text")
        .variable("EPOLL_SERVER_QUIT_WORD", "environment")
        .start();
    let started = server.stderr.next_with(&["started"]);
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    assert_eq!(started["mode"], "Edge");
    let mut stream = server.client();
    converse(&mut stream, b"environment\nflag\n");
    ends(&mut stream);
}

#[test]
fn help_goes_to_stdout_and_names_every_flag() {
    let output = Launch::bare().switch("--help").run();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{:?}", output.stderr);
    let help = output.stdout.join("\n");
    for flag in [
        "--config <FILE>",
        "--check",
        "--listen <ADDR>",
        "--ipv6-only",
        "--unix-mode <MODE>",
        "--unix-owner <OWNER>",
        "--mode <MODE>",
        "--threads <N>",
        "--accept <ACCEPT>",
        "--pin",
        "--max-connections <N>",
        "--max-per-peer <N>",
        "--read-buffer <BYTES>",
        "--splice <SPLICE>",
        "--quit-word <WORD>",
        "--backlog <N>",
        "--log <LEVEL>",
        "--log-format <LOG_FORMAT>",
        "--idle-timeout <TIME>",
        "--write-timeout <TIME>",
        "--drain-timeout <TIME>",
        "--linger-timeout <TIME>",
        "--stats-json <PATH>",
        "--tls-cert <PATH>",
        "--tls-key <PATH>",
    ] {
        assert!(help.contains(flag), "{flag} is not in:\n{help}");
    }
    assert!(help.contains("EPOLL_SERVER_STATS_JSON"), "{help}");
    for mode in [
        "level:",
        "edge:",
        "oneshot:",
        "edge-shared:",
        "reuseport:",
        "exclusive:",
        "auto:",
        "on:",
        "off:",
    ] {
        assert!(help.contains(&format!("- {mode}")), "{mode} is not in:\n{help}");
    }
    // As words: where lines break depends on the terminal.
    let words: Vec<_> = help.split_whitespace().collect();
    let refusal = "In the other modes whichever thread is free accepts, and the flag is refused";
    assert!(words.join(" ").contains(refusal), "{help}");
}

in_threaded_modes!(all_threads_serve_the_port_and_the_path_that_are_printed);

fn all_threads_serve_the_port_and_the_path_that_are_printed(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let unix = format!("unix:{}", path.display());
    let (launch, stats) = Stats::of(Launch::tcp(mode).flag("--listen", &unix));
    let mut server = launch.start();
    assert_eq!(server.next_address(), unix);
    // Hashes spread so many over all queues; no thread takes so many in a row from one queue.
    for _ in 0..100 {
        converse(&mut server.client(), b"hello");
        unix_is_served(&path);
    }
    server.drain();
    assert!(!path.exists());
    let stats = stats.read();
    assert_eq!(stats["connections"]["opened"], 200);
    for thread in stats["threads"].as_array().unwrap() {
        let worked = thread["reactor"]["events"].as_u64().unwrap();
        assert!(worked > 0, "a thread without work: {stats:#}");
    }
}

in_threaded_modes!(a_second_server_at_the_port_is_refused);

fn a_second_server_at_the_port_is_refused(mode: Mode) {
    let server = Server::start(mode);
    for other in [Mode::Level, Mode::Reuseport, Mode::Exclusive, Mode::Oneshot] {
        let output = Launch::at(server.address()).mode(other).run();
        assert_eq!(output.status.code(), Some(1), "{other}: {:#?}", output.stderr);
        let parts = ["--listen", server.address(), "Address already in use"];
        let [line] = output.stderr.as_slice() else { panic!("{:#?}", output.stderr) };
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    converse(&mut server.client(), b"unharmed");
}

#[test]
fn of_two_servers_that_start_at_once_at_a_port_one_serves() {
    let Some(strace) = tool("strace") else { return };
    // An address that no other test uses: the port is free from here on.
    let port = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
    let launch = Launch::at(port.to_string()).mode(Mode::Reuseport).flag("--log", "off");
    // Both have bound before either listens.
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    let launch = launch.under(["-e", "inject=listen:delay_enter=1000000:when=1"]);
    let started = thread::scope(|scope| {
        let servers = [(); 2].map(|()| scope.spawn(|| launch.try_start()));
        servers.map(|server| server.join().unwrap())
    });
    let listening = started.iter().flatten().count();
    assert_eq!(listening, 1, "servers at one port");
}

/// The kernel refuses both of two sockets that listen at the very same moment; the injected error stands for that.
#[test]
fn a_port_that_was_in_use_for_a_moment_is_listened_at() {
    let Some(strace) = tool("strace") else { return };
    let launch = Launch::tcp(Mode::Reuseport);
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    let mut server = launch.under(["-e", "inject=listen:error=EADDRINUSE:when=1"]).start();
    converse(&mut server.client(), b"hello");
    server.drain();
}
