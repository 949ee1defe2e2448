//! Clients that send and read at the same time, as fast as they can. Every byte is known from its
//! place in its stream, so none can be missing, doubled or of another stream.

use super::{client, uninterrupted};
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK: usize = 16 * 1024;

/// The sizes that clients request for their socket buffers, in turn.
const SIZES: [usize; 2] = [64 * 1024, 192 * 1024];

/// The stream that a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sends {
    /// An endless stream, until the client reads the end.
    Forever,
    /// A stream of `count` bytes that begins after a while; then the client closes its half.
    Bytes { count: u64, after: Duration },
}

/// The result of a client that read the end of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) sends: Sends,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// `true` if it had closed its half before the mark was set.
    pub(crate) finished_before_mark: bool,
}

/// Clients that are at it.
pub(crate) struct Streaming {
    clients: Vec<JoinHandle<Outcome>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    mark: AtomicBool,
    received: AtomicU64,
}

impl Streaming {
    /// Connects a client for each of `all`, and has them begin.
    #[track_caller]
    pub(crate) fn start(server: SocketAddr, all: impl IntoIterator<Item = Sends>) -> Self {
        let shared = Arc::new(Shared::default());
        let begin = |(number, sends): (u32, Sends)| {
            let stream = bounded_client(server, SIZES[number as usize % SIZES.len()]);
            let shared = Arc::clone(&shared);
            thread::spawn(move || talk(&stream, number.into(), sends, &shared))
        };
        let clients = (0..).zip(all).map(begin).collect();
        Self { clients, shared }
    }

    /// Sets the mark that clients compare the end of their sending with.
    pub(crate) fn mark(&self) {
        self.shared.mark.store(true, Ordering::SeqCst);
    }

    /// Returns the number of bytes that all of them have read so far.
    pub(crate) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Waits until each has read the end of its stream; one that read anything else fails the test.
    #[track_caller]
    pub(crate) fn outcomes(self) -> Vec<Outcome> {
        let outcomes: Vec<_> = self.clients.into_iter().map(JoinHandle::join).collect();
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(failed, 0, "of {} clients have failed", outcomes.len());
        outcomes.into_iter().flatten().collect()
    }
}

/// A client whose buffers do not grow: it is to read its end soon after the server has sent it.
/// They are not as small as they could be, for then the kernel delays the answers that make room.
#[track_caller]
fn bounded_client(server: SocketAddr, size: usize) -> TcpStream {
    let stream = client(server);
    sockopt::set_socket_recv_buffer_size(&stream, size).expect("a receive buffer");
    sockopt::set_socket_send_buffer_size(&stream, size).expect("a send buffer");
    stream
}

fn talk(stream: &TcpStream, number: u64, sends: Sends, shared: &Shared) -> Outcome {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let sent = write(stream, number, sends, &has_ended);
            stream.shutdown(Shutdown::Write).expect("a half to close");
            (sent, !shared.mark.load(Ordering::SeqCst))
        });
        let received = read(stream, number, shared);
        has_ended.store(true, Ordering::Relaxed);
        let (sent, finished_before_mark) = writer.join().expect("a writer without errors");
        assert!(received <= sent, "{number}: {received} received, {sent} sent");
        Outcome { sends, sent, received, finished_before_mark }
    })
}

/// Writes the bytes that it should, and returns their number.
fn write(mut stream: &TcpStream, number: u64, sends: Sends, has_ended: &AtomicBool) -> u64 {
    let count = match sends {
        Sends::Forever => u64::MAX,
        Sends::Bytes { count, after } => {
            thread::sleep(after);
            count
        }
    };
    let mut sent = 0;
    while sent < count && !has_ended.load(Ordering::Relaxed) {
        let len = usize::try_from(count - sent).unwrap_or(CHUNK).min(CHUNK);
        let written = stream.write(&numbered(number, sent, len));
        sent +=
            written.unwrap_or_else(|error| panic!("{number}: after {sent} sent: {error}")) as u64;
    }
    sent
}

/// Reads to the end; how much that was.
fn read(mut stream: &TcpStream, number: u64, shared: &Shared) -> u64 {
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    loop {
        let len = uninterrupted(|| stream.read(&mut buffer))
            .unwrap_or_else(|error| panic!("{number}: after {received} received: {error}"));
        if len == 0 {
            return received;
        }
        let is_expected = buffer[..len] == numbered(number, received, len);
        assert!(is_expected, "{number}: something else after {received}");
        received += len as u64;
        shared.received.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// `len` bytes of a stream from `at` on: numbers of eight bytes, with the stream's own in the upper
/// part.
pub(super) fn numbered(stream: u64, at: u64, len: usize) -> Vec<u8> {
    let skipped = usize::try_from(at % 8).expect("a small number");
    let words = (at / 8..).take((skipped + len).div_ceil(8));
    let mut bytes: Vec<u8> =
        words.flat_map(|word| (stream << 48 | word).to_le_bytes()).skip(skipped).collect();
    bytes.truncate(len);
    bytes
}
