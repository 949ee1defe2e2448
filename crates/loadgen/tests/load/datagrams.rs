//! `--udp`: what is lost, late, doubled, out of order or wrong is counted as such, and nothing else is.

use crate::program::{Output, PATIENCE, Running, load, measure, measure_well, measured};
use crate::server::own_target;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A server in a thread, which ends with its test.
struct Server {
    target: String,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Calls `serve` with each datagram, its number and its sender.
    fn start(
        address: &str,
        mut serve: impl FnMut(&UdpSocket, usize, &mut [u8], SocketAddr) + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind(address).expect("an address");
        let target = socket.local_addr().expect("an address").to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 65_536];
            for number in 0.. {
                let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                serve(&socket, number, &mut buffer[..len], from);
            }
        });
        Self { target, is_over, thread: Some(thread) }
    }

    /// Starts a server at a port of 127.0.0.1.
    fn new(serve: impl FnMut(&UdpSocket, usize, &mut [u8], SocketAddr) + Send + 'static) -> Self {
        Self::start("127.0.0.1:0", serve)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let any = if self.target.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        // Wakes the thread.
        let woken = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], &self.target));
        woken.expect("a datagram to oneself");
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Sends an answer. The client may have given up.
fn answer(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    let _ = socket.send_to(bytes, to);
}

fn echo(socket: &UdpSocket, _: usize, bytes: &mut [u8], from: SocketAddr) {
    answer(socket, bytes, from);
}

/// The counters in the order of the text.
#[track_caller]
fn counts(json: &Value) -> [u64; 7] {
    ["sent", "received", "lost", "late", "reordered", "duplicated", "wrong"]
        .map(|name| json["datagrams"][name].as_u64().unwrap_or_else(|| panic!("{name}: {json}")))
}

#[track_caller]
fn run(server: &Server, args: &[&str]) -> (Output, Value) {
    measure(&server.target, &[&["--udp"], args].concat())
}

#[track_caller]
fn all_come_back(address: &str, count: u64, args: &[&str]) {
    let server = Server::start(address, echo);
    let count_text = count.to_string();
    let args = [&["--udp", "--requests", &count_text], args].concat();
    let json = measure_well(&server.target, &args);
    assert_eq!(counts(&json), [count, count, 0, 0, 0, 0, 0], "{args:?}: {json}");
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(count), &json!(0)));
    assert_eq!(json["protocol"], "udp-echo");
    assert!(json["latency_us"]["min"].as_f64() > Some(0.0), "{json}");
}

#[test]
fn every_datagram_comes_back() {
    all_come_back("127.0.0.1:0", 1000, &["--connections", "7", "--size", "8"]);
    all_come_back("127.0.0.1:0", 1000, &["--pipeline", "9", "--connections", "5"]);
    all_come_back("127.0.0.1:0", 20, &["--size", "65507", "--connections", "2"]);
    all_come_back("127.0.0.1:0", 500, &["--threads", "2", "--connections", "3"]);
    all_come_back("[::1]:0", 500, &["--size", "1200", "--connections", "4"]);
    all_come_back("127.0.0.1:0", 500, &["--rate", "5000", "--connections", "3"]);
    all_come_back("127.0.0.1:0", 100, &["--source", "127.0.0.7", "--connections", "4"]);
}

#[test]
fn a_warm_up_is_not_counted() {
    let server = Server::new(echo);
    let args = ["--warmup", "50ms", "--requests", "300"];
    let (output, json) = run(&server, &args);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(counts(&json), [300, 300, 0, 0, 0, 0, 0], "{json}");
}

#[test]
fn the_text_has_the_counts_and_those_of_other_protocols_are_none() {
    let server = Server::new(echo);
    let (host, port) = server.target.split_once(':').unwrap();
    let output = load(&["--udp", host, port, "3", "20"]);
    assert_eq!(output.status, 0, "{output:?}");
    for part in [
        "udp-echo, closed loop, 3 connections, 64 bytes, 1 at a time",
        "datagrams   60 sent, 60 received, 0 lost (0.000 %), 0 late, 0 reordered, 0 duplicated, 0 wrong",
    ] {
        assert!(output.stdout.contains(part), "no '{part}': {output:?}");
    }
    assert!(!output.stdout.contains("connect  "), "{output:?}");
    let tcp = crate::server::Server::tcp(crate::server::echo);
    assert_eq!(measure_well(&tcp.target, &["--requests", "5"])["datagrams"], Value::Null);
}

/// A server that drops every tenth datagram.
fn dropping() -> Server {
    Server::new(|socket, number, bytes, from| {
        if number % 10 != 9 {
            answer(socket, bytes, from);
        }
    })
}

#[test]
fn each_loss_is_counted_and_ends_nothing() {
    let args = ["--requests", "200", "--timeout", "1s", "--connections"];
    for args in [[&args[..], &["20"]].concat(), [&args[..], &["1", "--rate", "1000"]].concat()] {
        let (output, json) = run(&dropping(), &args);
        assert_eq!(counts(&json), [200, 180, 20, 0, 0, 0, 0], "{args:?}: {json}");
        assert_eq!(json["errors"], json!({"lost": 20}));
        assert_eq!(json["unanswered"], 0);
        output.complains(1, &["20 errors; the first: connection ", " was not answered"]);
    }
}

#[test]
fn losses_may_be_allowed() {
    let args = ["--requests", "20", "--rate", "1000", "--timeout", "1s", "--max-errors"];
    for (allowed, status) in [("2", 0), ("1", 1)] {
        let (output, json) = run(&dropping(), &[&args[..], &[allowed]].concat());
        assert_eq!(output.status, status, "{output:?}");
        assert_eq!(json["datagrams"]["lost"], 2);
        // The wait for the last of them is not part of it.
        assert!(json["duration_s"].as_f64() < Some(1.0), "{json}");
    }
}

#[test]
fn answers_in_swapped_pairs_are_reordered() {
    let mut held: Option<Vec<u8>> = None;
    let server = Server::new(move |socket, _, bytes, from| match held.take() {
        None => held = Some(bytes.to_vec()),
        Some(first) => {
            answer(socket, bytes, from);
            answer(socket, &first, from);
        }
    });
    let args = ["--connections", "1", "--pipeline", "2", "--requests", "100"];
    let (output, json) = run(&server, &args);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(counts(&json), [100, 100, 0, 0, 50, 0, 0], "{json}");
}

#[test]
fn further_answers_are_duplicates() {
    // Before the answer that the client waits for, so that it is there to see all but the last.
    let mut last: Option<Vec<u8>> = None;
    let server = Server::new(move |socket, _, bytes, from| {
        if let Some(last) = last.replace(bytes.to_vec()) {
            answer(socket, &last, from);
        }
        answer(socket, bytes, from);
    });
    let (output, json) = run(&server, &["--connections", "1", "--requests", "100"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(counts(&json), [100, 100, 0, 0, 0, 99, 0], "{json}");
}

#[test]
fn an_answer_after_the_limit_is_late_and_its_datagram_is_lost() {
    let mut held: Option<Vec<u8>> = None;
    let server = Server::new(move |socket, number, bytes, from| match number {
        0 => held = Some(bytes.to_vec()),
        _ => {
            if let Some(late) = held.take() {
                answer(socket, &late, from);
            }
            answer(socket, bytes, from);
        }
    });
    let (output, json) =
        run(&server, &["--connections", "1", "--requests", "50", "--timeout", "1s"]);
    assert_eq!(counts(&json), [50, 49, 1, 1, 0, 0, 0], "{json}");
    output.complains(1, &["1 errors; the first: connection 0: datagram 0 was not answered"]);
}

#[test]
fn a_wrong_byte_is_found() {
    let server = Server::new(|socket, number, bytes, from| {
        if number == 3 {
            bytes[17] ^= 1;
        }
        answer(socket, bytes, from);
    });
    let (output, json) = run(&server, &["--connections", "1", "--requests", "100"]);
    output.complains(1, &["connection 0: another byte came back at 17 of datagram 3"]);
    assert_eq!(counts(&json), [100, 99, 0, 0, 0, 0, 1], "{json}");
    assert_eq!(json["errors"], json!({"wrong-bytes": 1}));
}

#[test]
fn answers_that_are_empty_too_short_or_too_long_are_wrong() {
    let server = Server::new(|socket, number, bytes, from| {
        match number {
            1 => answer(socket, &[], from),
            2 => return answer(socket, &bytes[..63], from),
            3 => return answer(socket, &[&bytes[..], &[7]].concat(), from),
            _ => {}
        }
        answer(socket, bytes, from);
    });
    let (_, json) = run(&server, &["--connections", "1", "--requests", "20"]);
    assert_eq!(counts(&json), [20, 18, 0, 0, 0, 0, 3], "{json}");
}

#[test]
fn a_run_without_any_answer_ends() {
    let server = Server::new(|_, _, _, _| {});
    let args = ["--requests", "100000", "--connections", "2", "--timeout", "20ms"];
    let (output, json) = run(&server, &args);
    assert_eq!(output.status, 1);
    let [sent, received, lost, ..] = counts(&json);
    assert!(sent >= 2 && received == 0 && lost == sent, "{json}");
    assert_eq!(json["errors"], json!({"lost": lost, "unsent": 100_000 - sent}));
}

#[test]
fn a_time_limit_may_be_longer_than_any_run() {
    let server = Server::new(echo);
    let (output, json) = run(&server, &["--requests", "5", "--timeout", "60000000000years"]);
    assert_eq!((output.status, &json["requests"]), (0, &json!(5)), "{output:?}");
}

/// A socket that has a port and takes nothing there.
fn deaf() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap().to_string();
    // Nobody else's datagrams are for it any more.
    socket.connect("127.0.0.1:1").unwrap();
    (socket, target)
}

#[test]
fn a_port_without_a_listener_is_named_at_once() {
    let (_socket, target) = deaf();
    let nobody = format!("connection 0: nobody listens at {target}: ");
    for args in [&["--pipeline", "4"][..], &["--rate", "1000000", "--duration", "60s"]] {
        let flags = ["--udp", "--connections", "2", "--timeout", "60s"];
        let (output, json) = measure(&target, &[&flags, args].concat());
        output.complains(1, &["2 errors; the first: ", &nobody]);
        assert_eq!(json["errors"], json!({"refused": 2}));
        let [sent, received, lost, ..] = counts(&json);
        assert_eq!((received, sent), (0, lost), "{json}");
        // The run ends at once, and the rest of its time was never spent.
        assert!(json["duration_s"].as_f64() < Some(60.0), "{json}");
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let target = own_target();
    let mut socket = UdpSocket::bind(&target).unwrap();
    let flags = ["--udp", &target, "--json", "--connections", "1", "--rate", "1000"];
    let client = Running::start(&[&flags[..], &["--duration", "1h"]].concat());
    let mut buffer = [0; 64];
    // A socket that was refused is made again, with another port.
    let mut before = None;
    loop {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut last = None;
        for _ in 0..100 {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            answer(&socket, &buffer[..len], from);
            last = Some(from);
        }
        if before.is_some() && last != before {
            break;
        }
        before = last;
        socket.connect("127.0.0.1:1").unwrap();
        // The fault that is to be seen.
        thread::sleep(Duration::from_millis(100));
        drop(socket);
        socket = UdpSocket::bind(&target).unwrap();
    }
    client.interrupt();
    let (output, json) = measured(client.output());
    output.complains(1, &["interrupted; ", &format!("nobody listens at {target}: ")]);
    let [sent, received, lost, ..] = counts(&json);
    // The last answers may not have been read before the interrupt.
    assert!(received > 100 && lost > 0 && sent >= received + lost, "{json}");
    assert!(json["errors"]["refused"].as_u64() >= Some(1), "{json}");
    assert!(json["errors"].get("lost").is_none(), "each loss is that of a refused socket: {json}");
}
