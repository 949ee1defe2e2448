//! The HTTP server among the examples: without sockets, then as a program with the clients of others.

#[path = "../examples/http/main.rs"]
#[expect(dead_code, reason = "the program around the protocol")]
mod http;

use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver, Exploration, Trigger, explore};
use epoll_kit_testing::{DEADLINE, Examples, Guard, Random, leave_out, output_of};
use http::{Http, Shared};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };
const BOTH: [Trigger; 2] = [Trigger::Level, Trigger::Edge];

fn connection(trigger: Trigger, folder: Option<&Path>) -> Driver<Http> {
    let mut driver = Driver::new(trigger, Http::default(), Shared::of(folder));
    driver.act(Act::Room(1 << 24));
    driver
}

/// Returns what was answered, and whether the connection is still open for requests.
fn answer(trigger: Trigger, pieces: impl IntoIterator<Item = Vec<u8>>) -> (String, bool) {
    let driver = driven(trigger, pieces);
    let is_open = driver.closed().is_none() && !driver.is_output_closed();
    (String::from_utf8(driver.sent()).expect("text"), is_open)
}

fn driven(trigger: Trigger, pieces: impl IntoIterator<Item = Vec<u8>>) -> Driver<Http> {
    let mut driver = connection(trigger, None);
    for piece in pieces {
        driver.act(Act::Arrive(piece));
    }
    driver
}

/// Requests, the numbers of their answers, and whether the connection goes on.
const TABLE: &[(&str, &[u16], bool)] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    ("GET /?query HTTP/1.1\r\nHost: a:80\r\n\r\n", &[200], true),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200], true),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &[200], false),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", &[200], false),
    ("GET / HTTP/1.0\r\n\r\n", &[200], false),
    ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[200], true),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /1k HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200], true),
    ("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", &[404], true),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", &[405], true),
    ("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[405], true),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", &[200], true),
    ("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[200], true),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        &[200],
        true,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;x=y\r\nab\r\n0\r\nA: b\r\n\r\n",
        &[200],
        true,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        &[200],
        true,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab",
        &[100, 200],
        true,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 200-ok\r\n\r\n",
        &[417],
        false,
    ),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", &[413], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", &[413], false),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", &[501], false),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[505], false),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &[505], false),
    ("GET\r\n", &[400], false),
    ("\x16\x03\x01\x02\x00\x01", &[400], false),
    // Where two parsers might disagree on the end of a request.
    ("GET / HTTP/1.1\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\nHost: a\n\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", &[400], false),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", &[400], false),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
        &[400],
        false,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        &[400],
        false,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\nab", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nab", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nab", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nab", &[400], false),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[400],
        false,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        &[400],
        false,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        &[400],
        false,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", &[501], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", &[501], false),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", &[400], false),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\n",
        &[400],
        false,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n", &[400], false),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", &[400], false),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\rb\r\na\r\n",
        &[400],
        false,
    ),
];

/// The numbers of the answers, in order.
fn numbers(answers: &str) -> Vec<u16> {
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

#[test]
fn requests_are_answered_or_refused_in_one_piece_and_byte_by_byte() {
    for trigger in BOTH {
        for (request, wanted, goes_on) in TABLE {
            let whole = answer(trigger, [request.as_bytes().to_vec()]);
            assert_eq!((numbers(&whole.0), whole.1), (wanted.to_vec(), *goes_on), "{request:?}");
            let bytes = answer(trigger, request.bytes().map(|byte| vec![byte]));
            assert_eq!((numbers(&bytes.0), bytes.1), (wanted.to_vec(), *goes_on), "{request:?}");
        }
    }
}

#[test]
fn limits_of_the_head_have_statuses_of_their_own() {
    let long = "x".repeat(5000);
    let much = "y".repeat(20_000);
    let many = "A: b\r\n".repeat(101);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET /{long}"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {much}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {much}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ] {
        let (answers, goes_on) = answer(Trigger::Level, [request.into_bytes()]);
        assert_eq!((numbers(&answers), goes_on), (vec![status], false));
    }
}

#[test]
fn answers_say_what_follows() {
    let (text, _) = answer(Trigger::Edge, [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()]);
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(text, format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 2\r\n\r\nok"));
    let (text, _) = answer(Trigger::Edge, [b"HEAD /1k HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()]);
    assert!(text.ends_with("Content-Length: 1024\r\n\r\n"), "{text}");
    let (text, _) = answer(Trigger::Edge, [b"PUT /1k HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()]);
    assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    let posted = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_vec();
    assert!(answer(Trigger::Edge, [posted]).0.ends_with("Content-Length: 5\r\n\r\nhello"));
    let chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (text, _) = answer(Trigger::Edge, [chunked.to_vec()]);
    assert!(text.ends_with("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{text}");
}

#[test]
fn sixteen_requests_are_one_read_and_one_send() {
    for trigger in BOTH {
        let mut driver = connection(trigger, None);
        let before = driver.calls();
        driver.act(Act::Arrive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(16)));
        assert_eq!(driver.calls() - before, 2);
        assert_eq!(numbers(&String::from_utf8(driver.sent()).unwrap()), [200; 16]);
        assert!(driver.is_at_rest());
    }
}

#[test]
fn a_head_that_takes_too_long_is_answered_with_408() {
    for trigger in BOTH {
        let mut driver = connection(trigger, None);
        driver.act(Act::Arrive(b"GET / HT".to_vec()));
        driver.pass_time(Duration::from_secs(9));
        driver.act(Act::Arrive(b"TP/1.1\r\n".to_vec()));
        driver.pass_time(Duration::from_secs(2));
        assert_eq!(numbers(&String::from_utf8(driver.sent()).unwrap()), [408]);
        assert!(driver.is_output_closed());
        // One that comes in time has no deadline after it.
        let mut driver = connection(trigger, None);
        driver.act(Act::Arrive(b"GET / HTTP/1.1\r\n".to_vec()));
        driver.act(Act::Arrive(b"Host: a\r\n\r\n".to_vec()));
        driver.pass_time(Duration::from_secs(60));
        assert!(!driver.is_output_closed());
    }
}

#[test]
fn a_drain_answers_the_request_under_way_and_closes() {
    for trigger in BOTH {
        let mut driver = connection(trigger, None);
        driver
            .act(Act::Arrive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na".to_vec()));
        driver.drain();
        assert!(!driver.is_output_closed());
        driver.act(Act::Arrive(b"bcGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()));
        let text = String::from_utf8(driver.sent()).unwrap();
        // What follows it is not served, as the answer says.
        assert_eq!(numbers(&text), [405], "{text}");
        assert!(text.contains("\r\nConnection: close\r\n") && driver.is_output_closed());
    }
}

#[test]
fn files_are_sent_in_pieces_and_nothing_else_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 300_000];
    Random::seeded(3).fill(&mut bytes);
    fs::write(folder.path().join("file.bin"), &bytes).unwrap();
    fs::write(folder.path().join("empty"), b"").unwrap();
    fs::write(folder.path().join(".hidden"), b"secret").unwrap();
    mknodat(CWD, folder.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Http::default(), Shared::of(Some(folder.path())));
        driver.act(Act::Arrive(b"GET /file.bin HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()));
        for _ in 0..70 {
            driver.act(Act::Room(5000));
            assert!(driver.counts().2 <= 70_000, "more waits than a piece");
        }
        driver.act(Act::Room(1 << 24));
        let sent = driver.sent();
        assert!(sent.ends_with(&bytes) && sent.len() < bytes.len() + 200);
        let rest = [
            ("HEAD /file.bin", 200),
            ("GET /empty", 200),
            ("GET /.hidden", 404),
            ("GET /fifo", 404),
            ("GET /../etc/passwd", 404),
            ("GET /a/../../x", 404),
            ("GET /%2e%2e/etc/passwd", 404),
            ("GET //etc/passwd", 404),
            ("GET /file.bin/", 404),
            ("PUT /file.bin", 405),
        ];
        for (line, status) in rest {
            let before = driver.sent().len();
            driver.act(Act::Arrive(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()));
            let text = String::from_utf8_lossy(&driver.sent()[before..]).into_owned();
            assert_eq!(numbers(&text), [status], "{line}");
        }
    }
}

#[test]
fn every_way_in_which_requests_can_come_gives_the_same_answers() {
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPUT /echo HTTP/1.1\r\nHost: a\r\n\
        Content-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n";
    let exploration = Exploration::new(Http::default, Shared::default).input(requests);
    assert!(explore(&exploration) > 1000);
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("less than the end")
}

/// Valid requests with a few bytes changed, in pieces: the answers do not depend on the pieces.
///
/// `EPOLL_KIT_HTTP_SECONDS` makes it go on for so long.
#[test]
fn mutated_requests_are_answered_alike_in_any_pieces() {
    let seconds = env::var("EPOLL_KIT_HTTP_SECONDS").ok().and_then(|text| text.parse().ok());
    let begin = std::time::Instant::now();
    let is_over = |count: u64| match seconds {
        Some(seconds) => begin.elapsed() >= Duration::from_secs(seconds),
        None => count >= 3000,
    };
    let mut random = Random::seeded(11);
    let mut count = 0;
    while !is_over(count) {
        count += 1;
        let mut bytes = Vec::new();
        for _ in 0..=random.below(3) {
            let at = below(&mut random, TABLE.len());
            bytes.extend_from_slice(TABLE[at].0.as_bytes());
        }
        for _ in 0..random.below(4) {
            let at = below(&mut random, bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.next().to_le_bytes()[0],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n \t:;,0\0aZ"[below(&mut random, 11)]),
            }
        }
        let whole = driven(Trigger::Level, [bytes.clone()]);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(1 + below(&mut random, rest.len()));
            pieces.push(piece.to_vec());
            rest = others;
        }
        let split = driven(Trigger::Edge, pieces);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(
            (split.closed(), split.is_output_closed()),
            (whole.closed(), whole.is_output_closed()),
            "{text:?}"
        );
        let numbers = |driver: &Driver<Http>| numbers(&String::from_utf8_lossy(&driver.sent()));
        let (split, mut wanted) = (numbers(&split), numbers(&whole));
        if whole.closed() == Some(CloseReason::Aborted) {
            // What was not sent by then is dropped.
            wanted = split.clone();
            assert!(split.starts_with(&numbers(&whole)), "{text:?}");
        }
        assert_eq!(split, wanted, "{text:?}");
    }
}

struct Program {
    guard: Guard,
    address: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut guard = EXAMPLES.spawn("http", &[&["127.0.0.1:0"], arguments].concat());
        let stdout = guard.child().stdout.take().expect("a pipe");
        let (send, line) = mpsc::channel();
        thread::spawn(move || send.send(BufReader::new(stdout).lines().next()));
        let line = line.recv_timeout(Duration::from_secs(300)).expect("it starts");
        let line = line.expect("a line").unwrap();
        let address = line.strip_prefix("listening on ").expect(&line).to_owned();
        Self { guard, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn ends_well(self) {
        kill_process(self.guard.pid(), Signal::TERM).unwrap();
        let output = self.guard.output(DEADLINE);
        assert!(output.status.success(), "{}", output.status);
    }
}

/// Runs a client of somebody else; `None` if it is not installed.
fn run(test: &str, program: &str, arguments: &[&str]) -> Option<String> {
    match output_of(Command::new(program).args(arguments), DEADLINE) {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{program}: {text}{:?}", output.stderr);
            Some(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            leave_out(test, program);
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn curl_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let body = "line\n".repeat(100_000);
    let file = folder.path().join("big");
    fs::write(&file, &body).unwrap();
    let program = Program::start(&[folder.path().to_str().unwrap()]);
    let upload = format!("@{}", file.display());
    let curl = |arguments: &[&str]| {
        let common = ["--silent", "--show-error", "--fail", "--max-time", "9"];
        run("curl_is_served", "curl", &[&common[..], arguments].concat())
    };
    let Some(small) = curl(&[&program.url("/"), &program.url("/")]) else { return };
    assert_eq!(small, "okok");
    assert_eq!(curl(&[&program.url("/big")]).unwrap(), body);
    let echo = program.url("/echo");
    assert_eq!(curl(&["--data-binary", &upload, &echo]).unwrap(), body);
    let chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", &upload, &echo];
    assert_eq!(curl(&chunked).unwrap(), body);
    let expects = ["-H", "Expect: 100-continue", "--data-binary", &upload, &echo];
    assert_eq!(curl(&expects).unwrap(), body);
    assert_eq!(curl(&["--http1.0", &program.url("/")]).unwrap(), "ok");
    let head = curl(&["--head", &program.url("/1k")]).unwrap();
    assert!(head.contains("Content-Length: 1024"), "{head}");
    program.ends_well();
}

#[test]
fn wrk_and_ab_get_nothing_but_answers() {
    let program = Program::start(&[]);
    let url = program.url("/1k");
    if let Some(text) =
        run("wrk_and_ab_get_nothing_but_answers", "wrk", &["-t1", "-c50", "-d1s", &url])
    {
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        assert!(text.contains("requests in"), "{text}");
    }
    let arguments = ["-q", "-k", "-c", "20", "-n", "5000", &url];
    if let Some(text) = run("wrk_and_ab_get_nothing_but_answers", "ab", &arguments) {
        assert!(text.contains("Failed requests:        0"), "{text}");
        assert!(text.contains("Keep-Alive requests:    5000"), "{text}");
    }
    program.ends_well();
}

#[test]
fn a_signal_lets_the_request_under_way_be_answered() {
    let program = Program::start(&[]);
    let connect = || {
        let stream = TcpStream::connect(&program.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    let mut stream = connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let mut head = connect();
    head.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut quiet = connect();
    quiet.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    quiet.read_exact(&mut begun).unwrap();
    kill_process(program.guard.pid(), Signal::TERM).unwrap();
    // One without a request is closed; the others were quiet for longer.
    quiet.read_to_end(&mut Vec::new()).unwrap();
    assert!(TcpStream::connect(&program.address).is_err(), "it accepts no more");
    head.write_all(b"st: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    head.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("ok"), "{answer}");
    stream.write_all(b"llo").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("hello"), "{rest}");
    drop(stream);
    assert!(program.guard.output(DEADLINE).status.success());
}
