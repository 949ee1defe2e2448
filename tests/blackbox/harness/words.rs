//! Numbered words of eight bytes on many connections, from few threads. Each connection always has
//! several chunks under way, so that its next bytes arrive while the server is at the ones before.

use super::streaming::numbered;
use super::{client, ends};
use epoll_kit_testing::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, ScopedJoinHandle};

/// The bytes of a word.
const WORD: u64 = 8;
/// The most words that are written at once.
const CHUNK_MAX: u64 = 256;
/// The most words in flight. While there are more, no word is written.
const UNDER_WAY_MAX: u64 = 1024;

/// A connection, and how many bytes went either way.
struct Words {
    stream: TcpStream,
    number: u64,
    sent: u64,
    received: u64,
}

/// Sends so many words on each connection and reads each back, in order; then the connections end.
#[track_caller]
pub(crate) fn exchange_words(server: SocketAddr, threads: u64, per_thread: u64, words: u64) {
    thread::scope(|scope| {
        let talks = (0..threads).map(|thread| {
            let numbers = thread * per_thread..(thread + 1) * per_thread;
            let start = |number| Words { stream: client(server), number, sent: 0, received: 0 };
            let connections: Vec<_> = numbers.map(start).collect();
            scope.spawn(move || talk(connections, words * WORD))
        });
        let talks: Vec<_> = talks.collect();
        let failed = talks.into_iter().map(ScopedJoinHandle::join).filter(Result::is_err).count();
        assert_eq!(failed, 0, "of {threads} threads of clients have failed");
    });
}

fn talk(mut connections: Vec<Words>, bytes: u64) {
    let mut random = Random::seeded(connections[0].number);
    let mut buffer = vec![0; 64 * 1024];
    while connections.iter().any(|words| words.received < bytes) {
        for words in &mut connections {
            words.send(bytes, (1 + random.next() % CHUNK_MAX) * WORD);
        }
        for words in &mut connections {
            words.receive(&mut buffer);
        }
    }
    for mut words in connections {
        words.stream.shutdown(Shutdown::Write).expect("a half to close");
        ends(&mut words.stream);
    }
}

impl Words {
    fn send(&mut self, end: u64, most: u64) {
        if self.sent - self.received > UNDER_WAY_MAX * WORD {
            return;
        }
        let len = most.min(end - self.sent);
        let chunk = numbered(self.number, self.sent, usize::try_from(len).expect("a chunk"));
        self.stream.write_all(&chunk).expect("a chunk that is taken");
        self.sent += len;
    }

    /// Reads what has come; waits for something if anything is under way.
    fn receive(&mut self, buffer: &mut [u8]) {
        if self.sent == self.received {
            return;
        }
        let len = self.stream.read(buffer).expect("an echo");
        assert!(len > 0, "{}: an end after {} bytes", self.number, self.received);
        let expected = numbered(self.number, self.received, len);
        assert!(buffer[..len] == expected, "{}: other words", self.number);
        self.received += len as u64;
    }
}
