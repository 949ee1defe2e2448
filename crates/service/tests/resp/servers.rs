//! The example as a server, and a redis beside it where there is one.

use crate::support::{array, reply_len, request};
use crate::table::{MALFORMED, TABLE};
use epoll_kit_testing::{DEADLINE, Examples, Guard, eventually, leave_out};
use rustix::process::{Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

/// The example, and where it listens.
pub(crate) struct Server {
    guard: Guard,
    pub(crate) address: SocketAddr,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(threads: &str) -> Self {
        Self::of(EXAMPLES.spawn("resp", &["127.0.0.1:0", threads]))
    }

    #[track_caller]
    fn of(mut guard: Guard) -> Self {
        let stdout = guard.child().stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("an address");
        Self { address: address.parse().expect("an address"), guard }
    }

    pub(crate) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client { stream, received: Vec::new() }
    }

    /// Asks it to end, which it has to do well.
    #[track_caller]
    pub(crate) fn terminate(self) -> String {
        kill_process(self.guard.pid(), Signal::TERM).expect("a process");
        let output = self.guard.output(DEADLINE);
        assert!(output.status.success(), "{}", output.status);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A client on a socket.
pub(crate) struct Client<T> {
    stream: T,
    received: Vec<u8>,
}

impl<T: Read + Write> Client<T> {
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("a peer that reads");
    }

    /// Returns the next reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> String {
        loop {
            if let Some(len) = reply_len(&self.received) {
                let reply: Vec<u8> = self.received.drain(..len).collect();
                return String::from_utf8_lossy(&reply).into_owned();
            }
            let mut buffer = [0; 65536];
            let len = self.stream.read(&mut buffer).expect("a reply");
            assert!(len > 0, "the end in place of a reply");
            self.received.extend_from_slice(&buffer[..len]);
        }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.send(&array(words));
        self.reply()
    }

    /// Returns everything up to the end.
    #[track_caller]
    fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.received);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no end: {error}"),
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[track_caller]
fn assert_table<T: Read + Write>(connect: impl Fn() -> Client<T>) {
    let mut client = connect();
    for (words, reply) in TABLE {
        assert_eq!(client.ask(words), *reply, "{words}");
    }
    assert_eq!(client.rest(), "");
    for (input, text) in MALFORMED {
        let mut client = connect();
        client.send(input.as_bytes());
        assert_eq!(client.rest(), format!("-ERR Protocol error: {text}\r\n"), "{input:?}");
    }
}

#[test]
fn the_example_answers_as_the_table_says() {
    for threads in ["1", "3"] {
        let server = Server::start(threads);
        assert_table(|| server.client());
        assert_eq!(server.terminate(), "");
    }
}

#[test]
fn redis_answers_as_the_table_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&path);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let _redis = match Guard::spawn(&mut command) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return leave_out("servers::redis_answers_as_the_table_says", "redis-server");
        }
        guard => guard.expect("a process"),
    };
    eventually("redis listens", || UnixStream::connect(&path).is_ok());
    assert_table(|| {
        let stream = UnixStream::connect(&path).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client { stream, received: Vec::new() }
    });
}

#[test]
fn messages_reach_all_threads_in_order() {
    let server = Server::start("3");
    let mut listeners: Vec<_> = (0..20).map(|_| server.client()).collect();
    for listener in &mut listeners {
        assert_eq!(listener.ask("SUBSCRIBE news"), "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    let mut publisher = server.client();
    for number in 100..300 {
        publisher.send(&array(&format!("PUBLISH news {number}")));
    }
    for _ in 100..300 {
        assert_eq!(publisher.reply(), ":20\r\n");
    }
    for listener in &mut listeners {
        for number in 100..300 {
            let message = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\n{number}\r\n");
            assert_eq!(listener.reply(), message);
        }
    }
    drop(listeners);
    eventually("nobody listens any more", || publisher.ask("PUBLISH news x") == ":0\r\n");
    server.terminate();
}

#[test]
fn commands_of_many_threads_are_done_one_after_another() {
    let server = Server::start("4");
    thread::scope(|scope| {
        for number in 0..8 {
            let mut client = server.client();
            scope.spawn(move || {
                for at in 0..200 {
                    client.ask("INCR n");
                    assert_eq!(
                        client.ask(&format!("MSET a {number}-{at} b {number}-{at}")),
                        "+OK\r\n"
                    );
                    let values = client.ask("MGET a b");
                    let lines: Vec<_> = values.split("\r\n").collect();
                    assert_eq!(lines[2], lines[4], "both are set at once");
                }
            });
        }
    });
    assert_eq!(server.client().ask("GET n"), "$4\r\n1600\r\n");
    server.terminate();
}

#[test]
fn a_server_that_is_to_end_answers_what_has_arrived() {
    let server = Server::start("2");
    let (mut idle, mut client) = (server.client(), server.client());
    assert_eq!(idle.ask("SUBSCRIBE c"), "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let value = vec![b'v'; 10 << 20];
    client.send(&request(&[b"SET", &b"k"[..], &value]));
    assert_eq!(client.reply(), "+OK\r\n");
    client.send(&array("GET k"));
    client.send(&array("PING"));
    let Server { guard, .. } = server;
    kill_process(guard.pid(), Signal::TERM).expect("a process");
    let rest = client.rest();
    assert_eq!(rest.len(), "$10485760\r\n".len() + value.len() + "\r\n+PONG\r\n".len());
    assert_eq!(idle.rest(), "");
    drop((client, idle));
    assert!(guard.output(DEADLINE).status.success());
}

#[test]
fn an_announced_length_reserves_no_memory() {
    let mut server = Server::start("1");
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"PING\r\n*2\r\n$4\r\nECHO\r\n$536870912\r\nabc");
        assert_eq!(client.reply(), "+PONG\r\n");
        client.send(b"def");
    }
    // Answered after what the others have sent.
    assert_eq!(server.client().ask("PING"), "+PONG\r\n");
    let pid = server.guard.child().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("a line");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 512 * 1024, "{kilobytes} kB");
    drop(clients);
    server.terminate();
}

/// Returns how many blocks the example allocates until it ends, having answered so many requests.
fn allocations(program: &std::path::Path, requests: usize) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.arg(program).arg("127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped());
    let guard = match Guard::spawn(command.stdin(Stdio::null())) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        guard => guard.expect("a process"),
    };
    let server = Server::of(guard);
    let mut client = server.client();
    assert_eq!(client.ask("SET k v"), "+OK\r\n");
    for _ in 0..requests {
        assert_eq!(client.ask("GET k"), "$1\r\nv\r\n");
        assert_eq!(client.ask("PING"), "+PONG\r\n");
        assert_eq!(client.ask("SET k v XX EX"), "-ERR syntax error\r\n");
    }
    drop(client);
    let report = server.terminate();
    let line = report.lines().find(|line| line.contains("total heap usage:")).expect("a summary");
    let count = line.split("usage: ").nth(1).and_then(|rest| rest.split(' ').next());
    Some(count.expect("a count").replace(',', "").parse().expect("a number"))
}

#[test]
fn a_hit_and_a_ping_allocate_nothing() {
    // Built by cargo, and where it is.
    let mut server = Server::start("1");
    let pid = server.guard.child().id();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
    server.terminate();
    let Some(few) = allocations(&program, 10) else {
        return leave_out("servers::a_hit_and_a_ping_allocate_nothing", "valgrind");
    };
    assert_eq!(allocations(&program, 300), Some(few));
}
