//! Live metrics and health checks over HTTP, as scrapers and balancers ask for them.

use crate::harness::{Crowd, Launch, Mode, PATIENCE, Server, converse, ends, tool};
use epoll_kit_testing::eventually;
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

const LOOPBACK: &str = "127.0.0.1:0";

/// Returns the status of the answer, and its body.
#[track_caller]
fn get(mut stream: impl Read + Write, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request that is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer:?}")), body.to_owned())
}

/// The metrics of a server.
struct Endpoint(String);

impl Endpoint {
    #[track_caller]
    fn of(server: &Server) -> Self {
        Self(server.metrics_address())
    }

    #[track_caller]
    fn get(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(&self.0).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        get(stream, path)
    }

    #[track_caller]
    fn page(&self) -> String {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200);
        page
    }
}

/// Returns the sum of the samples of which the name and the labels begin like this.
#[track_caller]
fn sum(page: &str, beginning: &str) -> u64 {
    let values = page.lines().filter_map(|line| line.strip_prefix(beginning)?.rsplit(' ').next());
    let values: Vec<u64> = values.map(|value| value.parse().expect("a count")).collect();
    assert!(!values.is_empty(), "no {beginning} in:\n{page}");
    values.iter().sum()
}

in_modes!(a_scrape_of_a_crowd_costs_no_thread_a_turn: level Level, edge Edge, oneshot Oneshot);

fn a_scrape_of_a_crowd_costs_no_thread_a_turn(mode: Mode) {
    const CONNECTIONS: usize = 400;
    let mut server = Launch::tcp(mode).flag("--metrics", LOOPBACK).start();
    let endpoint = Endpoint::of(&server);
    let mut crowd = Crowd::of(server.inet(), CONNECTIONS);
    let open = |page: &str| sum(page, "epoll_service_connections{state=\"open\"}");
    assert_eq!(open(&endpoint.page()), CONNECTIONS as u64);
    let turns = || sum(&endpoint.page(), "epoll_service_turn_seconds_count{");
    eventually("ten scrapes in a row find no turn", || {
        let before = turns();
        (0..10).all(|_| turns() == before)
    });
    let mut last = crowd.streams.pop().expect("a client");
    last.shutdown(Shutdown::Write).unwrap();
    ends(&mut last);
    drop(last);
    let closed = |page: &str| {
        let closed = "epoll_service_connections_closed_total{";
        let closed = page.lines().filter(|line| line.starts_with(closed));
        let closed = closed.filter(|line| line.contains("reason=\"peer-closed\""));
        closed.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    eventually("its end is counted", || closed(&endpoint.page()) == 1);
    let page = endpoint.page();
    assert_eq!(sum(&page, "epoll_service_received_bytes_total{"), "welcome".len() as u64);
    assert_eq!(open(&page), CONNECTIONS as u64 - 1);
    assert_eq!(sum(&page, "epoll_server_log_lines_dropped_total"), 0);
    crowd.all_are_served();
    drop(crowd);
    server.drain();
    let gone = TcpStream::connect(&endpoint.0).map_err(|error| error.kind());
    assert_eq!(gone.err(), Some(ErrorKind::ConnectionRefused));
}

in_modes!(promtool_finds_nothing_wrong: level Level, edge Edge, oneshot Oneshot);

fn promtool_finds_nothing_wrong(mode: Mode) {
    let Some(promtool) = tool("promtool") else { return };
    let server = Launch::tcp(mode).flag("--metrics", LOOPBACK).start();
    let endpoint = Endpoint::of(&server);
    converse(&mut server.client(), b"hello");
    let page = endpoint.page();
    let mut command = promtool.command();
    command.args(["check", "metrics"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It ends with its input.
    stdin.write_all(page.as_bytes()).expect("a page that is taken");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "", "{page}");
    assert!(output.status.success(), "{:?}", output.status);
}

in_modes!(a_balancer_sees_the_end_before_clients_do: level Level, edge Edge, oneshot Oneshot);

fn a_balancer_sees_the_end_before_clients_do(mode: Mode) {
    let launch = Launch::at(LOOPBACK).mode(mode).flag("--metrics", LOOPBACK);
    let mut server = launch.flag("--drain-delay", "1s").flag("--drain-timeout", "0").start();
    let endpoint = Endpoint::of(&server);
    eventually("every thread serves", || endpoint.get("/readyz").0 == 200);
    let mut client = server.client();
    converse(&mut client, b"before");
    server.process.signal(Signal::TERM);
    server.stderr.next_with(&["after a delay", "SIGTERM"]);
    assert_eq!(endpoint.get("/readyz"), (503, "503 Service Unavailable\n".to_owned()));
    assert_eq!(endpoint.get("/healthz"), (200, "ok\n".to_owned()));
    // On a busy machine the delay may be over by now. Otherwise nobody is refused.
    if let Ok(mut late) = TcpStream::connect(server.inet()) {
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        converse(&mut late, b"meanwhile");
    }
    server.stderr.next_with(&["INFO", " draining", "SIGTERM"]);
    assert_eq!(endpoint.get("/readyz").0, 503);
    ends(&mut client);
    drop(client);
    assert_eq!(server.await_end().code(), Some(0));
}

in_modes!(a_second_signal_does_not_wait_for_the_delay: level Level, edge Edge, oneshot Oneshot);

fn a_second_signal_does_not_wait_for_the_delay(mode: Mode) {
    let launch = Launch::at(LOOPBACK).mode(mode).flag("--drain-delay", "1h");
    let mut server = launch.start();
    let mut client = server.client();
    converse(&mut client, b"before");
    server.process.signal(Signal::TERM);
    server.stderr.next_with(&["after a delay"]);
    converse(&mut client, b"meanwhile");
    server.process.signal(Signal::INT);
    assert_eq!(server.await_end().code(), Some(130));
}

#[test]
fn metrics_can_be_served_at_a_path_that_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    let metrics = format!("unix:{}", path.display());
    let launch = Launch::tcp(Mode::Level).flag("--metrics", &metrics);
    let mut server = launch.start();
    assert_eq!(server.metrics_address(), metrics);
    let get = |path: &Path| get(UnixStream::connect(path).expect("a connection"), "/healthz");
    assert_eq!(get(&path), (200, "ok\n".to_owned()));
    server.drain();
    assert!(!path.exists());
}

#[test]
fn an_address_that_is_taken_is_named_with_its_flag() {
    let other = Launch::tcp(Mode::Level).start();
    let taken = other.address();
    let output = Launch::tcp(Mode::Level).flag("--metrics", taken).run();
    assert_eq!(output.status.code(), Some(1));
    let [line] = &output.stderr[..] else { panic!("{output:#?}") };
    assert!(line.contains(&format!("--metrics {taken}")), "{line}");
}
