//! A browser with two pages that talk to one another, driven over its DevTools protocol, which is JSON over
//! a WebSocket.

use crate::clients::Chatting;
use epoll_kit_testing::{DEADLINE, Guard, leave_out};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// A browser is slow to start on a busy machine.
const PATIENCE: Duration = DEADLINE.saturating_mul(6);
const PAUSE: Duration = Duration::from_millis(20);

/// A browser without a window, which ends with all its processes.
struct Browser {
    process: Guard,
    folder: TempDir,
}

impl Browser {
    fn start() -> io::Result<Self> {
        let folder = TempDir::new()?;
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
        command.args(["--disable-component-update", "--disable-dev-shm-usage"]);
        command.args(["--disable-breakpad", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", folder.path().display())).arg("about:blank");
        // What it stores elsewhere goes there too.
        command
            .env("HOME", folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Guard::spawn(command.process_group(0))?;
        Ok(Self { process, folder })
    }

    /// Returns where it is spoken to, which it writes into its folder.
    fn port(&self) -> u16 {
        let file = self.folder.path().join("DevToolsActivePort");
        until("a port", || fs::read_to_string(&file).ok()?.lines().next()?.parse().ok())
    }

    /// Opens a page.
    fn open(&self, url: &str) -> Page {
        let port = self.port();
        let mut stream = connect(port);
        write!(stream, "PUT /json/new?{url} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
        let answer = body(&mut stream);
        let target: Value = serde_json::from_slice(&answer).expect("a page in JSON");
        let socket = target["webSocketDebuggerUrl"].as_str().expect("an address");
        let (socket, _) = tungstenite::client(socket, connect(port)).expect("a handshake");
        Page { socket, calls: 0 }
    }

    fn group(&self) -> Pid {
        self.process.pid()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its group. They are gone before the folder is, into which they write.
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.process.child().wait();
        let end = Instant::now() + DEADLINE;
        while test_kill_process_group(self.group()).is_ok() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a browser that listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Returns the body of an answer, whose length is in its head: the connection may stay open.
fn body(stream: &mut TcpStream) -> Vec<u8> {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        answer.extend(byte);
    }
    let head = String::from_utf8(answer).expect("text").to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; len.expect("a length").trim().parse().expect("a length")];
    stream.read_exact(&mut body).expect("a body");
    body
}

/// A page of a browser.
struct Page {
    socket: WebSocket<TcpStream>,
    calls: u64,
}

impl Page {
    /// Evaluates an expression in the page.
    fn evaluate(&mut self, expression: &str) -> Value {
        self.calls += 1;
        let call = json!({
            "id": self.calls,
            "method": "Runtime.evaluate",
            "params": { "expression": expression, "returnByValue": true },
        });
        self.socket.send(Message::text(call.to_string())).expect("a browser that reads");
        loop {
            let message = self.socket.read().expect("an answer");
            let Message::Text(text) = message else { continue };
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.calls {
                return answer["result"]["result"]["value"].clone();
            }
        }
    }

    #[track_caller]
    fn await_value(&mut self, expression: &str, expected: &str) {
        let mut last = Value::Null;
        let end = Instant::now() + PATIENCE;
        while last != expected {
            assert!(Instant::now() < end, "{expression} is {last}, not {expected}");
            thread::sleep(PAUSE);
            last = self.evaluate(expression);
        }
    }

    #[track_caller]
    fn await_state(&mut self, state: &str) {
        self.await_value("document.getElementById('state')?.textContent", state);
    }

    /// Waits until the page shows these lines.
    #[track_caller]
    fn await_lines(&mut self, lines: &[&str]) {
        let shown = "[...document.querySelectorAll('#log li')].map(li => li.textContent).join('|')";
        self.await_value(shown, &lines.join("|"));
    }

    /// Says something as somebody would who writes it and presses the button.
    fn say(&mut self, text: &str) {
        let text = json!(text);
        self.evaluate(&format!(
            "document.getElementById('text').value = {text};
             document.querySelector('button').click();"
        ));
    }
}

/// Returns what there is as soon as it is there.
#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "not before the deadline: {what}");
        thread::sleep(PAUSE);
    }
}

#[test]
fn two_pages_talk_to_one_another() {
    let browser = match Browser::start() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return leave_out("browser::two_pages_talk_to_one_another", "chromium");
        }
        browser => browser.expect("a browser"),
    };
    let chatting = Chatting::start();
    let url = format!("http://{}/", chatting.address);
    let [mut ann, mut ben] = [browser.open(&url), browser.open(&url)];
    ann.await_state("connected");
    ben.await_state("connected");
    ann.say("hello, ben");
    ben.await_lines(&["hello, ben"]);
    // Text stays text.
    ben.say("gr\u{fc}n <b>\u{1f980}</b>");
    for page in [&mut ann, &mut ben] {
        page.await_lines(&["hello, ben", "gr\u{fc}n <b>\u{1f980}</b>"]);
    }
    chatting.assert_ends_well();
    ann.await_state("closed: 1001");
    ben.await_state("closed: 1001");
}
