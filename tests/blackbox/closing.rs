//! The quit word: however it is split, what follows is not echoed, and every byte before arrives.

use crate::harness::{Launch, Mode, Server, converse, ends, is_echoed};
use epoll_kit_testing::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

fn quitting_server(mode: Mode) -> Server {
    // For ever, since nothing says how soon a client on a busy machine closes its half.
    Launch::tcp(mode).flag("--quit-word", "quit").flag("--linger-timeout", "0").start()
}

in_all_modes!(the_quit_word_ends_the_conversation_however_it_is_split);

fn the_quit_word_ends_the_conversation_however_it_is_split(mode: Mode) {
    let server = quitting_server(mode);
    for line in ["quit\n", "quit\r\n"] {
        for cut in 0..line.len() {
            let mut stream = server.client();
            converse(&mut stream, b"quitting\nnot quit\nquit it\n");
            // An echo between the two parts is what proves that the server read them apart.
            let (before, after) = line.split_at(cut);
            converse(&mut stream, before.as_bytes());
            converse(&mut stream, after.as_bytes());
            ends(&mut stream);
        }
    }
}

in_all_modes!(what_follows_the_quit_word_is_not_echoed);

fn what_follows_the_quit_word_is_not_echoed(mode: Mode) {
    let server = quitting_server(mode);
    let mut stream = server.client();
    stream.write_all(b"before\nquit\nafter, in one piece with it").unwrap();
    is_echoed(&mut stream, b"before\nquit\n");
    ends(&mut stream);
    // The server reads on and drops what comes, so that nothing is reset.
    stream.write_all(&[b'x'; 100_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    converse(&mut server.client(), b"the next one");
}

in_all_modes!(every_byte_before_the_quit_word_arrives_while_more_is_sent);

fn every_byte_before_the_quit_word_arrives_while_more_is_sent(mode: Mode) {
    let server = quitting_server(mode);
    let mut bytes = vec![0; 5_000_000];
    Random::seeded(5).fill(&mut bytes);
    bytes.extend(b"\nquit\n");
    let mut stream = server.client();
    thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        let bytes = &bytes;
        scope.spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.write_all(&[b'x'; 1_000_000]).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        // Late on purpose: the server has sent its end long before all of it is read.
        is_echoed(&mut stream, bytes);
        ends(&mut stream);
    });
}

in_all_modes!(without_a_quit_word_the_word_is_a_line_like_any_other);

fn without_a_quit_word_the_word_is_a_line_like_any_other(mode: Mode) {
    let server = Server::start(mode);
    let mut stream = server.client();
    converse(&mut stream, b"quit\n");
    converse(&mut stream, b"and on\n");
}

in_all_modes!(both_sides_may_close_at_the_same_time);

fn both_sides_may_close_at_the_same_time(mode: Mode) {
    let server = quitting_server(mode);
    for _ in 0..50 {
        let mut stream: TcpStream = server.client();
        stream.write_all(b"quit\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut echo = String::new();
        stream.read_to_string(&mut echo).unwrap();
        assert_eq!(echo, "quit\n");
    }
}
