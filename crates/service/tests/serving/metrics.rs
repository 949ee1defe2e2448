//! Live metrics over HTTP, and readiness, also while the drain is delayed.

use crate::script::{Script, World};
use crate::support::{Running, config, for_every_mode, serve, signals, terminate};
use epoll_kit_testing::{DEADLINE, eventually};
use epoll_service::{
    Config, DrainOutcome, Metrics, Mode, ProxyProtocol, Server, Setting, Signal, Timeouts,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

fn with_metrics(config: Config) -> Config {
    let metrics = Metrics::at("127.0.0.1:0".parse().expect("an address"));
    Config { metrics: Some(metrics), ..config }
}

/// The metrics of a server that runs.
#[derive(Clone, Copy)]
struct Endpoint(SocketAddr);

impl Endpoint {
    fn of(running: &Running) -> Self {
        Self(running.metrics.expect("metrics"))
    }

    fn connect(self) -> TcpStream {
        let stream = TcpStream::connect(self.0).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// Sends `request`, and returns everything that comes before the end.
    fn exchange(self, request: &[u8]) -> io::Result<String> {
        let mut stream = self.connect();
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn try_get(self, path: &str) -> io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        self.exchange(request.as_bytes())
    }

    /// Returns the status of the answer.
    fn status(self, path: &str) -> u16 {
        status_of(&self.try_get(path).expect("an answer"))
    }

    fn page(self) -> Page {
        let answer = self.try_get("/metrics").expect("an answer");
        assert_eq!(status_of(&answer), 200);
        Page(answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }

    #[track_caller]
    fn await_ready(self) {
        eventually("every thread serves", || self.status("/readyz") == 200);
    }
}

fn status_of(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// The text of the metrics.
struct Page(String);

impl Page {
    /// Returns the sum of the samples of this name that have these labels.
    #[track_caller]
    fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let samples = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let is_it = rest.starts_with('{') || rest.starts_with(' ');
            let (with, value) = rest.rsplit_once(' ')?;
            (is_it && labels.iter().all(|label| with.contains(label))).then_some(value)
        });
        let values: Vec<u64> = samples.map(|value| value.parse().expect("a count")).collect();
        assert!(!values.is_empty(), "no {name} with {labels:?} in:\n{}", self.0);
        values.iter().sum()
    }

    fn connections(&self, state: &str) -> u64 {
        self.sum("epoll_service_connections", &[&format!("state=\"{state}\"")])
    }

    /// Returns the number of turns of all threads.
    fn turns(&self) -> u64 {
        self.sum("epoll_service_turn_seconds_count", &[])
    }
}

pub(crate) fn every_thread_counts_and_makes_no_turn_for_a_scrape() {
    const CLIENTS: usize = 200;
    const CONNECTIONS: u64 = CLIENTS as u64;
    for_every_mode(|signals, config| {
        let threads = config.threads.map_or(0, NonZeroU32::get) as usize;
        let loops = threads + usize::from(config.mode.is_shared());
        serve(signals, &with_metrics(config), &World::default(), move |running| {
            let endpoint = Endpoint::of(running);
            endpoint.await_ready();
            let mut clients = running.clients(CLIENTS);
            eventually("all that were accepted are counted", || {
                endpoint.page().sum("epoll_service_accepted_total", &[]) == CONNECTIONS
            });
            let page = endpoint.page();
            assert_eq!(page.sum("epoll_service_connections_opened_total", &[]), CONNECTIONS);
            assert_eq!(page.connections("open"), CONNECTIONS);
            let of_threads = page.0.matches("\nepoll_service_turn_seconds_count{").count();
            assert_eq!(of_threads, loops);

            eventually("ten scrapes in a row find no turn", || {
                let turns = endpoint.page().turns();
                (0..10).all(|_| endpoint.page().turns() == turns)
            });
            let before = endpoint.page();
            clients[1].assert_alive();
            eventually("a message makes a turn with an event", || {
                let page = endpoint.page();
                let events = |page: &Page| page.sum("epoll_service_turn_events_sum", &[]);
                page.turns() > before.turns() && events(&page) > events(&before)
            });

            assert_eq!(clients[1].ask("deadline 1"), "set");
            let late = "epoll_service_timer_lateness_seconds_count";
            eventually("a timer has fired", || endpoint.page().sum(late, &[]) >= 1);

            let mut first = clients.remove(0);
            first.end();
            first.assert_closed();
            eventually("its end is counted", || endpoint.page().connections("open") < CONNECTIONS);
            let page = endpoint.page();
            let closed = "epoll_service_connections_closed_total";
            assert_eq!(page.sum(closed, &["reason=\"peer-closed\""]), 1);
            // It has asked for its number.
            assert_eq!(page.sum("epoll_service_received_bytes_total", &[]), 3);
            assert_eq!(page.sum("epoll_service_sent_bytes_total", &[]), 2);
        });
    });
}

pub(crate) fn a_server_that_drains_is_not_ready_and_its_metrics_end_with_it() {
    for_every_mode(|signals, config| {
        let timeouts = Timeouts { drain: None, linger: None, ..config.timeouts };
        let config = Config { timeouts, ..with_metrics(config) };
        let ended = serve(signals, &config, &World::default(), |running| {
            let endpoint = Endpoint::of(running);
            endpoint.await_ready();
            let mut idle = endpoint.connect();
            let mut client = running.client();
            assert_eq!(client.ask("busy yes"), "noted");
            terminate();
            assert_eq!(client.line(), "drain");
            assert_eq!((endpoint.status("/readyz"), endpoint.status("/healthz")), (503, 200));
            let page = endpoint.page();
            assert_eq!((page.connections("open"), page.connections("draining")), (0, 1));
            assert_eq!(page.sum("epoll_service_ready", &[]), 0);
            client.say("finish");
            client.assert_closed();
            eventually("it waits for its peer to close", || {
                let page = endpoint.page();
                (page.connections("draining"), page.connections("closing")) == (0, 1)
            });
            drop(client);
            assert_eq!(idle.read(&mut [0]).expect("an end"), 0);
            eventually("nobody listens any more", || TcpStream::connect(endpoint.0).is_err());
        });
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn a_server_goes_on_accepting_while_the_drain_is_delayed() {
    for_every_mode(|signals, config| {
        let config = Config { drain_delay: LONG, ..with_metrics(config) };
        let ended = serve(signals, &config, &World::default(), |running| {
            let endpoint = Endpoint::of(running);
            endpoint.await_ready();
            let mut before = running.client();
            before.assert_alive();
            terminate();
            eventually("it is not ready", || endpoint.status("/readyz") == 503);
            let mut after = running.client();
            after.assert_alive();
            before.assert_alive();
            let page = endpoint.page();
            assert_eq!((page.connections("open"), page.connections("draining")), (2, 0));
            // Whoever asks again does not want to wait.
            terminate();
            for mut client in [before, after] {
                client.assert_closed();
            }
        });
        assert_eq!(ended.outcome, DrainOutcome::Forced(Signal::INT));
        assert_eq!(ended.cut, 2);
    });
}

pub(crate) fn a_drain_begins_when_its_delay_is_over() {
    const DELAY: Duration = Duration::from_millis(150);
    for_every_mode(|signals, config| {
        let timeouts = Timeouts { drain: Some(LONG), ..config.timeouts };
        let config = Config { drain_delay: DELAY, timeouts, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.client();
            client.assert_alive();
            let start = Instant::now();
            terminate();
            assert_eq!(client.line(), "drain");
            assert!(start.elapsed() >= DELAY, "after {:?}", start.elapsed());
            client.assert_closed();
        });
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::Finished, 0));
    });
}

pub(crate) fn their_connections_are_bounded_and_not_those_of_the_service() {
    for_every_mode(|signals, config| {
        let timeouts = Timeouts { drain: None, ..config.timeouts };
        let connections_max = NonZeroU32::new(1);
        let config = Config { connections_max, timeouts, ..with_metrics(config) };
        let ended = serve(signals, &config, &World::default(), |running| {
            let endpoint = Endpoint::of(running);
            endpoint.await_ready();
            let mut client = running.client();
            client.assert_alive();
            // What `await_ready` has opened is closed by the server soon, though perhaps not yet.
            let mut idle = Vec::new();
            eventually("as many are open as may be", || {
                idle.retain(|stream| !is_closed(stream));
                idle.extend((idle.len()..32).map(|_| endpoint.connect()));
                idle.iter().all(|stream| !is_closed(stream)) && is_refused(&endpoint.connect())
            });
            client.assert_alive();
            idle.pop();
            eventually("there is room again", || {
                endpoint.try_get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            });
            let page = endpoint.page();
            assert_eq!(page.connections("open"), 1);
            assert_eq!(page.sum("epoll_service_connections_max", &[]), 1);
            assert_eq!(page.sum("epoll_service_connections_opened_total", &[]), 1);
            assert_eq!(page.sum("epoll_service_connections_refused_total", &[]), 0);
            terminate();
            // They do not hold it up.
            assert_eq!(idle[0].read(&mut [0]).expect("an end"), 0);
        });
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn connections_that_are_not_served_are_counted_by_their_reason() {
    for_every_mode(|signals, config| {
        // Where the peer closes first it is on time, and where it does not it is late soon.
        let proxy_protocol = Some(ProxyProtocol { timeout: Duration::from_millis(500) });
        let config = Config { proxy_protocol, ..with_metrics(config) };
        serve(signals, &config, &World::default(), |running| {
            let connect = || TcpStream::connect(running.address).expect("a connection");
            let endpoint = Endpoint::of(running);
            for (reason, bytes, is_closed) in [
                ("header-wrong", "no header at all\r\n", false),
                ("header-missing", "PROXY TCP4 ", true),
                ("header-late", "PROXY TCP4 ", false),
            ] {
                let mut stream = connect();
                stream.write_all(bytes.as_bytes()).expect("room");
                let stream = (!is_closed).then_some(stream);
                let reason = format!("reason=\"{reason}\"");
                let name = "epoll_service_connections_refused_total";
                eventually("it is counted", || endpoint.page().sum(name, &[&reason]) > 0);
                drop(stream);
            }
            terminate();
        });
    });
}

/// Returns whether the peer has closed a connection on which it has said nothing.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("an option");
    let end = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("an option");
    !matches!(end, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Returns whether the server closes this connection without an answer.
fn is_refused(mut stream: &TcpStream) -> bool {
    // One that is served gets an answer to this.
    let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
    matches!(stream.read(&mut [0]), Ok(0) | Err(_))
}

pub(crate) fn requests_that_are_not_understood_are_refused() {
    let config = with_metrics(config(Mode::Level, 1));
    serve(&signals(), &config, &World::default(), |running| {
        let endpoint = Endpoint::of(running);
        endpoint.await_ready();
        let ask = |request: &str| endpoint.exchange(request.as_bytes()).expect("an answer");
        // Several on a connection, of which the last one ends it.
        let last = "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answers = ask(&format!("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n{last}"));
        let (first, last) = answers.split_once("\r\n\r\nok\n").expect("a body");
        assert!(first.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{first}");
        assert!(first.ends_with("\r\nCache-Control: no-store"), "{first}");
        assert!(last.starts_with("HTTP/1.1 200 OK\r\n") && last.ends_with("\r\n\r\n"), "{last}");
        let kind = "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(last.contains(kind) && last.contains("\r\nConnection: close\r\n"), "{last}");
        assert!(!last.contains("\r\nContent-Length: 0\r\n"), "{last}");

        let post = ask("POST /metrics HTTP/1.0\r\n\r\n");
        assert!(status_of(&post) == 405 && post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
        assert_eq!(status_of(&ask("GET / HTTP/1.0\r\n\r\n")), 404);
        for (request, status) in [
            ("\u{16}\u{3}\u{1}\0", 400),
            ("GET /metrics HTTP/1.1\r\n\r\n", 400),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET", 400),
        ] {
            let answer = ask(request);
            assert_eq!(status_of(&answer), status, "{request:?}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        }
        // Neither its end nor a sign of it comes.
        let endless = format!("GET /metrics HTTP/1.1\r\nHost: {}", "a".repeat(9 * 1024));
        assert_eq!(status_of(&ask(&endless)), 431);

        let mut slow = endpoint.connect();
        for byte in b"GET /healthz HTTP/1.0\r\n\r\n" {
            slow.write_all(&[*byte]).expect("a peer that reads");
        }
        let mut answer = String::new();
        slow.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    });
}

pub(crate) fn an_address_that_is_taken_is_an_error_that_names_it() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = other.local_addr().expect("an address").into();
    let config = Config { metrics: Some(Metrics::at(taken)), ..config(Mode::Level, 1) };
    let error = Server::bind(Script::of(&World::default()), &config).expect_err("it is taken");
    assert_eq!(error.setting(), Some(Setting::Metrics(taken)));
    assert_eq!(error.io().kind(), ErrorKind::AddrInUse);
}
