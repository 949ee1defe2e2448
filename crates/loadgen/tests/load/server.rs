//! Servers in threads of the test, each connection with a thread of its own that does what the test
//! says. All of them end with their test.

use crate::program::PATIENCE;
use rustix::net::{SendFlags, send};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Returns an address whose port nobody else takes while it is free: the address is this process's own, and the ports
/// that the kernel chooses are higher.
pub(crate) fn own_target() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(20_000);
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{high}.{low}.9:{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One end of a connection.
pub(crate) trait Wire: Read + Write + Send {
    /// Sends the end of the stream.
    fn finish(&self) -> io::Result<()>;

    /// Sends these bytes and the end of the stream, where it can be in one segment: whoever reads the
    /// bytes finds the end behind them.
    fn finish_with(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the kernel reset the connection when it is closed.
    fn reset_at_close(&self);
}

impl Wire for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn finish_with(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = send(&*self, bytes, SendFlags::MORE)?;
        assert_eq!(len, bytes.len(), "few bytes fit in");
        self.finish()
    }

    fn reset_at_close(&self) {
        epoll_sys::socket::set_linger(self, Some(Duration::ZERO)).expect("an option");
    }
}

impl Wire for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn finish_with(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.finish()
    }

    fn reset_at_close(&self) {}
}

/// The function that serves a connection; the number counts connections from 0.
type Serve = dyn Fn(&mut dyn Wire, usize) -> io::Result<()> + Send + Sync;

pub(crate) struct Server {
    pub(crate) target: String,
    listening: Listening,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Listening {
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
}

impl Server {
    pub(crate) fn tcp(
        serve: impl Fn(&mut dyn Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::tcp_at("127.0.0.1:0", serve)
    }

    /// The same at an address of one's own.
    pub(crate) fn tcp_at(
        address: &str,
        serve: impl Fn(&mut dyn Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        Self::start(address.to_string(), Listening::Tcp(address), accept, Arc::new(serve))
    }

    pub(crate) fn unix(
        path: &Path,
        serve: impl Fn(&mut dyn Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).expect("a listener");
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let target = format!("unix:{}", path.display());
        Self::start(target, Listening::Unix(path.to_owned()), accept, Arc::new(serve))
    }

    fn start<W: Wire + 'static>(
        target: String,
        listening: Listening,
        accept: impl Fn() -> io::Result<W> + Send + 'static,
        serve: Arc<Serve>,
    ) -> Self {
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, is_over) = (Arc::clone(&accepted), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while let Ok(mut wire) = accept() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                // What becomes of a connection is the client's to judge.
                thread::spawn(move || serve(&mut wire, number));
            }
        });
        Self { target, listening, accepted, stop, thread: Some(thread) }
    }

    /// Returns the number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts. There may be no port for that at first.
        let connect = || match &self.listening {
            Listening::Tcp(address) => TcpStream::connect(address).map(drop),
            Listening::Unix(path) => UnixStream::connect(path).map(drop),
        };
        let deadline = Instant::now() + PATIENCE;
        while connect().is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Gives back what comes, up to the end.
pub(crate) fn echo(wire: &mut dyn Wire, _: usize) -> io::Result<()> {
    echo_in(wire, 64 * 1024)
}

/// Gives back what comes, with reads of at most `chunk` bytes.
pub(crate) fn echo_in(wire: &mut dyn Wire, chunk: usize) -> io::Result<()> {
    let mut buffer = vec![0; chunk];
    loop {
        let len = wire.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        wire.write_all(&buffer[..len])?;
    }
}

/// Reads a message of this size.
pub(crate) fn message(wire: &mut dyn Wire, size: usize) -> io::Result<Vec<u8>> {
    let mut message = vec![0; size];
    wire.read_exact(&mut message)?;
    Ok(message)
}

/// Gives back `count` messages of `size` bytes.
pub(crate) fn echo_messages(wire: &mut dyn Wire, count: usize, size: usize) -> io::Result<()> {
    for _ in 0..count {
        let message = message(wire, size)?;
        wire.write_all(&message)?;
    }
    Ok(())
}

/// Reads to the end of what the client sends.
pub(crate) fn discard(wire: &mut dyn Wire) -> io::Result<()> {
    io::copy(wire, &mut io::sink()).map(drop)
}
