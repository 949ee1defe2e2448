//! Tests of the echo itself: messages, silence, and everything before a closed half.

use crate::harness::{Guard, Mode, Server, await_input, converse, ends};
use crate::harness::{alone, is_echoed, tool};
use epoll_kit_testing::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::thread;

in_all_modes!(messages_come_back_one_by_one);

fn messages_come_back_one_by_one(mode: Mode) {
    let server = Server::start(mode);
    let mut stream = server.client();
    let mut random = Random::seeded(1);
    for len in [1, 2, 63, 64, 65, 4095, 4096, 4097, 65_535, 65_536, 65_537, 100_000] {
        let mut message = vec![0; len];
        random.fill(&mut message);
        converse(&mut stream, &message);
    }
}

in_all_modes!(a_connection_without_a_byte_ends_when_its_client_ends);

fn a_connection_without_a_byte_ends_when_its_client_ends(mode: Mode) {
    let server = Server::start(mode);
    let mut silent = server.client();
    silent.shutdown(Shutdown::Write).unwrap();
    ends(&mut silent);
    for _ in 0..100 {
        drop(server.client());
    }
    converse(&mut server.client(), b"still there");
}

in_all_modes!(a_closed_half_gets_every_byte_and_then_the_end);

fn a_closed_half_gets_every_byte_and_then_the_end(mode: Mode) {
    let server = Server::start(mode);
    // Up to more than both sockets hold, so that the end arrives while a rest waits.
    for len in [1, 64, 65_536, 1_000_000, 20_000_000] {
        let mut bytes = vec![0; len];
        Random::seeded(len as u64).fill(&mut bytes);
        let mut stream = server.client();
        thread::scope(|scope| {
            let mut writer = stream.try_clone().unwrap();
            let bytes = &bytes;
            scope.spawn(move || {
                writer.write_all(bytes).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            is_echoed(&mut stream, bytes);
        });
        ends(&mut stream);
    }
}

in_all_modes!(netcat_gets_its_input_back);

fn netcat_gets_its_input_back(mode: Mode) {
    let Some(nc) = tool("nc") else { return };
    let server = Server::start(mode);
    let mut netcat = Netcat::connect(nc.command(), &server);
    let text = "one line\nand a second, without its end".repeat(1000);
    let mut stdin = netcat.stdin.take().unwrap();
    thread::scope(|scope| {
        // Closed after the last byte, which nc -N passes on as the end of its half.
        scope.spawn(move || stdin.write_all(text.as_bytes()).unwrap());
        let mut echo = String::new();
        while netcat.read_more(&mut echo) {}
        assert_eq!(echo, "one line\nand a second, without its end".repeat(1000));
    });
    assert!(netcat.guard.await_end().success());
}

in_all_modes!(a_thousand_netcats_at_once_get_their_own_line_each);

fn a_thousand_netcats_at_once_get_their_own_line_each(mode: Mode) {
    let Some(nc) = tool("nc") else { return };
    let _alone = alone();
    let server = Server::start(mode);
    let line = |at: usize| format!("this is client {at}\n");
    let mut netcats: Vec<Netcat> =
        (0..1000).map(|_| Netcat::connect(nc.command(), &server)).collect();
    for (at, netcat) in netcats.iter_mut().enumerate() {
        netcat.stdin.as_mut().unwrap().write_all(line(at).as_bytes()).unwrap();
    }
    // None has ended its half, so when the last one has its line, all of them are connected.
    for (at, netcat) in netcats.iter_mut().enumerate() {
        assert_eq!(netcat.read_line(), line(at));
    }
    for netcat in &mut netcats {
        netcat.stdin = None;
    }
    for netcat in &mut netcats {
        assert!(!netcat.read_more(&mut String::new()), "more than its line");
        assert!(netcat.guard.await_end().success());
    }
}

/// A client that is a program of its own.
struct Netcat {
    guard: Guard,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Netcat {
    #[track_caller]
    fn connect(mut nc: std::process::Command, server: &Server) -> Self {
        let address = server.inet();
        nc.args(["-N".to_owned(), address.ip().to_string(), address.port().to_string()]);
        let mut guard = Guard::spawn(nc.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let stdin = guard.child().stdin.take();
        let stdout = guard.child().stdout.take().unwrap();
        Self { guard, stdin, stdout }
    }

    /// Reads on; `false` at the end.
    #[track_caller]
    fn read_more(&mut self, text: &mut String) -> bool {
        await_input(&self.stdout);
        let mut bytes = [0; 4096];
        let len = self.stdout.read(&mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..len]).expect("ASCII"));
        len > 0
    }

    #[track_caller]
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') && self.read_more(&mut line) {}
        line
    }
}

in_all_modes!(two_clients_do_not_get_one_anothers_bytes);

fn two_clients_do_not_get_one_anothers_bytes(mode: Mode) {
    let server = Server::start(mode);
    let mut streams: Vec<TcpStream> = (0..2).map(|_| server.client()).collect();
    for round in 0..200_u32 {
        for (at, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("{at} {round:>6}").as_bytes()).unwrap();
        }
        for (at, stream) in streams.iter_mut().enumerate() {
            is_echoed(stream, format!("{at} {round:>6}").as_bytes());
        }
    }
}

in_all_modes!(urgent_bytes_come_back_among_the_others);

fn urgent_bytes_come_back_among_the_others(mode: Mode) {
    let server = Server::start(mode);
    let mut client = server.client();
    for _ in 0..20 {
        let urgent = rustix::net::send(&client, b"ab!", rustix::net::SendFlags::OOB);
        assert_eq!(urgent, Ok(3));
        client.write_all(b"cdef").unwrap();
        let mut echo = [0; 7];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"ab!cdef");
    }
}
