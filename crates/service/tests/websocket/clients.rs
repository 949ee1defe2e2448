//! The program, and clients that are not ours.

use crate::support::{BINARY, FIN, REQUEST, RESPONSE, TEXT, client, closed_with, server};
use epoll_kit_testing::{DEADLINE, Examples, Guard, leave_out, output_of};
use rustix::process::{Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// The program, which serves.
pub(crate) struct Chatting {
    process: Guard,
    pub(crate) address: SocketAddr,
}

impl Chatting {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut process =
            Examples { package: env!("CARGO_PKG_NAME") }.spawn("websocket", &["127.0.0.1:0"]);
        let mut line = String::new();
        let stdout = process.child().stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").expect("an address");
        Self { process, address: address.parse().expect("an address") }
    }

    /// Asks it to end; it has to end well.
    fn terminate(&self) {
        kill_process(self.process.pid(), Signal::TERM).expect("a signal");
    }

    #[track_caller]
    pub(crate) fn assert_ends_well(self) {
        self.terminate();
        assert!(self.process.output(3 * DEADLINE).status.success());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    /// Returns a connection that is upgraded.
    #[track_caller]
    fn join(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(REQUEST.as_bytes()).expect("a request");
        assert_brings(&mut stream, RESPONSE.as_bytes());
        stream
    }
}

#[track_caller]
fn assert_brings(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).expect("as many bytes");
    assert!(bytes == expected, "other bytes");
}

/// Returns how many bytes come before the end, well or not.
fn rest_len(stream: &mut TcpStream) -> usize {
    let (mut len, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return len,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return len,
            Err(error) => panic!("no end: {error}"),
        }
    }
}

#[test]
fn a_slow_reader_is_dropped_while_others_get_everything() {
    let chatting = Chatting::start();
    let mut slow = chatting.join();
    let [mut one, mut other] = [chatting.join(), chatting.join()];
    let payload = vec![7; 60_000];
    let (sent, back) = (client(BINARY | FIN, &payload), server(BINARY | FIN, &payload));
    // More than the buffers of both sockets and of the server take.
    let rounds = 400;
    for _ in 0..rounds {
        one.write_all(&sent).expect("a server that reads");
        assert_brings(&mut one, &back);
        assert_brings(&mut other, &back);
    }
    let len = rest_len(&mut slow);
    // How much of what was sent before the reset it can still read is up to the kernel.
    assert!(len < rounds * back.len(), "{len} bytes");
    chatting.assert_ends_well();
}

#[test]
fn bad_handshakes_harm_nobody_else() {
    let chatting = Chatting::start();
    let [mut one, mut other] = [chatting.join(), chatting.join()];
    for request in ["\0\0\0\0\r\n\r\n", "POST /chat HTTP/1.1\r\n\r\n", "GET /chat HTTP/1.1\r\n\r\n"]
    {
        let mut bad = chatting.connect();
        bad.write_all(request.as_bytes()).expect("a request");
        assert_brings(&mut bad, b"HTTP/1.1 4");
        rest_len(&mut bad);
    }
    one.write_all(&client(TEXT | FIN, b"still here")).expect("a server that reads");
    assert_brings(&mut other, &server(TEXT | FIN, b"still here"));
    chatting.assert_ends_well();
}

#[test]
fn everybody_is_told_1001_at_the_end() {
    let chatting = Chatting::start();
    let mut streams: Vec<_> = (0..5).map(|_| chatting.join()).collect();
    // One leaves us without a request.
    let mut silent = chatting.connect();
    chatting.terminate();
    for stream in &mut streams {
        assert_brings(stream, &closed_with(1001));
        stream.write_all(&client(0x88, &1001_u16.to_be_bytes())).expect("a server that reads");
        assert_eq!(rest_len(stream), 0);
    }
    assert_eq!(rest_len(&mut silent), 0);
    drop((streams, silent));
    assert!(chatting.process.output(3 * DEADLINE).status.success());
}

/// Two clients of the Python package `websockets`, which checks what it is sent.
const PYTHON: &str = r#"
import asyncio, os, sys, urllib.request, websockets

async def main(address):
    page = urllib.request.urlopen(f"http://{address}/").read().decode()
    assert "<title>Chat</title>" in page, page
    async with websockets.connect(f"ws://{address}/chat", max_size=None) as ann, \
            websockets.connect(f"ws://{address}/chat", max_size=None) as ben:
        for message in ["grün", "", "x" * 65536, b"", bytes(range(256)), os.urandom(65536)]:
            await ann.send(message)
            assert await ann.recv() == message
            assert await ben.recv() == message
        # Fragments, some of them empty.
        await ben.send(["in ", "", "parts ", "\U0001f980"])
        for client in [ann, ben]:
            assert await client.recv() == "in parts \U0001f980"
        await asyncio.wait_for(await ann.ping(b"payload"), 10)
        await ann.close(4000, "reason")
        assert (ann.close_code, ann.close_rcvd_then_sent) == (4000, False), ann.close_code
        await ben.send("alone")
        assert await ben.recv() == "alone"
        await ben.send(bytes(65537))
        try:
            await ben.recv()
            raise AssertionError("a message that is too long")
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed
    try:
        await websockets.connect(f"ws://{address}/nowhere")
        raise AssertionError("a path that is none")
    except websockets.InvalidStatusCode as refused:
        assert refused.status_code == 404, refused

asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
"#;

#[test]
fn clients_in_python_understand_it() {
    // The interpreter that Debian's package belongs to.
    const INTERPRETER: &str = "/usr/bin/python3";
    let has = output_of(Command::new(INTERPRETER).args(["-c", "import websockets"]), DEADLINE);
    if !has.is_ok_and(|output| output.status.success()) {
        return leave_out("clients::clients_in_python_understand_it", "python3-websockets");
    }
    let chatting = Chatting::start();
    let mut python = Command::new(INTERPRETER);
    python.args(["-c", PYTHON, &chatting.address.to_string()]);
    let output = output_of(&mut python, 4 * DEADLINE).expect("an interpreter");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    chatting.assert_ends_well();
}
