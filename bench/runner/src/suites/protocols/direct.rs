//! The client of this program itself: both ends of a proxy, connections over TLS, and connections that are only
//! held. One thread does everything, so that nothing but the server runs beside it.

use super::greeting::Greeting;
use super::tls;
use anyhow::{Context, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes that are written or read at once.
const PIECE: usize = 256 << 10;

/// The address of a server and the way to connect to it.
#[derive(Clone, Copy)]
pub(crate) struct Dial<'a> {
    pub(crate) address: SocketAddr,
    /// The TLS client, if the server speaks TLS.
    pub(crate) tls: Option<&'a tls::Client>,
}

/// A connection, over TLS or not.
trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

impl Dial<'_> {
    fn connect(self) -> anyhow::Result<Box<dyn Wire>> {
        let stream = connect(self.address)?;
        Ok(match self.tls {
            Some(tls) => Box::new(tls.shake_hands(stream)?),
            None => Box::new(stream),
        })
    }

    /// Connects, and returns what is agreed on if there is TLS.
    pub(crate) fn agree(self, greeting: Greeting) -> anyhow::Result<Option<tls::Agreement>> {
        let agree = |tls: &tls::Client| tls.agree(connect(self.address)?, greeting);
        self.tls.map(agree).transpose()
    }
}

/// Sends bytes from the backend through the proxy to a client for so long; returns how many.
pub(crate) fn bulk(
    proxy: SocketAddr,
    backend: &TcpListener,
    measured: Duration,
) -> anyhow::Result<u64> {
    let (mut client, mut origin) = pair(proxy, backend)?;
    origin.set_nonblocking(true)?;
    let (piece, mut buffer) = (vec![0x5A; PIECE], vec![0; PIECE]);
    let (mut sent, mut received) = (0_u64, 0_u64);
    let end = Instant::now() + measured;
    // The last bytes are waited for: what the proxy has in hand is counted on both sides.
    while Instant::now() < end || received < sent {
        if Instant::now() < end {
            match origin.write(&piece) {
                Ok(len) => sent += len as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the backend failed to send"),
            }
        }
        // Something is under way, so this does not block for long.
        let len = client.read(&mut buffer).context("the client failed to receive")?;
        ensure!(len > 0, "the proxy closed a connection");
        ensure!(buffer[..len].iter().all(|byte| *byte == 0x5A), "wrong bytes");
        received += len as u64;
    }
    Ok(received)
}

/// Makes one connection after another for so long; on each a byte is sent and comes back, and then the
/// backend closes it. Returns how many there were.
pub(crate) fn connections(
    proxy: SocketAddr,
    backend: &TcpListener,
    measured: Duration,
) -> anyhow::Result<u64> {
    let end = Instant::now() + measured;
    let mut count = 0;
    while Instant::now() < end || count == 0 {
        let (mut client, origin) = pair(proxy, backend)?;
        drop(origin);
        ensure!(client.read(&mut [0])? == 0, "bytes that nobody sent");
        count += 1;
    }
    Ok(count)
}

/// Makes one connection after another for so long, and has a request answered on each, which the server is asked to
/// close. Returns how many there were.
pub(crate) fn answers(
    server: Dial<'_>,
    greeting: Greeting,
    measured: Duration,
) -> anyhow::Result<u64> {
    let end = Instant::now() + measured;
    let (mut count, mut rest) = (0, Vec::new());
    while Instant::now() < end || count == 0 {
        greeted(server, greeting)?.read_to_end(&mut rest).context("the end did not come")?;
        rest.clear();
        count += 1;
    }
    Ok(count)
}

/// Connections on each of which a message is under way.
pub(crate) struct Echoes {
    held: Vec<Box<dyn Wire>>,
    message: Vec<u8>,
}

impl Echoes {
    /// Makes so many connections for messages of this length.
    pub(crate) fn connect(server: Dial<'_>, count: usize, len: usize) -> anyhow::Result<Self> {
        let held = (0..count).map(|_| server.connect()).collect::<Result<_, _>>()?;
        Ok(Self { held, message: vec![0x5A; len] })
    }

    /// Sends a message on every connection, then awaits all of them, for so long. Returns how many came back.
    pub(crate) fn exchange(&mut self, measured: Duration) -> anyhow::Result<u64> {
        let end = Instant::now() + measured;
        let (mut count, mut echo) = (0, vec![0; self.message.len()]);
        while Instant::now() < end || count == 0 {
            for stream in &mut self.held {
                stream.write_all(&self.message)?;
                stream.flush()?;
            }
            for stream in &mut self.held {
                stream.read_exact(&mut echo).context("the echo did not come")?;
                ensure!(echo == self.message, "wrong bytes");
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Holds so many connections through a proxy while `look` is called.
pub(crate) fn hold_proxied<T>(
    proxy: SocketAddr,
    backend: &TcpListener,
    count: usize,
    look: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let held: Vec<_> = (0..count).map(|_| pair(proxy, backend)).collect::<Result<_, _>>()?;
    let seen = look();
    drop(held);
    seen
}

/// Holds so many connections, each of which was answered once, while `look` is called.
pub(crate) fn hold<T>(
    server: Dial<'_>,
    greeting: Greeting,
    count: usize,
    look: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let held: Vec<_> = (0..count).map(|_| greeted(server, greeting)).collect::<Result<_, _>>()?;
    let seen = look();
    drop(held);
    seen
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).context("failed to connect")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn greeted(server: Dial<'_>, greeting: Greeting) -> anyhow::Result<Box<dyn Wire>> {
    let mut stream = server.connect()?;
    stream.write_all(greeting.request)?;
    let mut answer = vec![0; greeting.answer.len()];
    stream.read_exact(&mut answer).context("no answer")?;
    if answer != greeting.answer {
        bail!("the answer began with {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(stream)
}

/// Connects through a proxy, and sends a byte from one end to the other and back.
fn pair(proxy: SocketAddr, backend: &TcpListener) -> anyhow::Result<(TcpStream, TcpStream)> {
    let mut client = connect(proxy)?;
    client.write_all(b"x")?;
    let mut byte = [0];
    let mut origin = accept(backend)?;
    // Whoever asked whether the proxy listens closed its connection at once, and so did the proxy.
    while origin.read(&mut byte).context("the client's byte did not come")? == 0 {
        origin = accept(backend)?;
    }
    origin.write_all(&byte)?;
    client.read_exact(&mut byte).context("the backend's byte did not come")?;
    ensure!(&byte == b"x", "a wrong byte");
    Ok((client, origin))
}

fn accept(backend: &TcpListener) -> anyhow::Result<TcpStream> {
    let timeout = Timespec::try_from(ANSWER_MAX).unwrap_or_default();
    if poll(&mut [PollFd::new(backend, PollFlags::IN)], Some(&timeout))? == 0 {
        bail!("the proxy did not connect to the backend");
    }
    let (stream, _) = backend.accept().context("failed to accept")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    // The backend in the proxy's place: the kernel hands the client's connection straight on.
    #[test]
    fn bytes_and_connections_are_counted() {
        let (backend, address) = listener();
        let measured = Duration::from_millis(20);
        assert!(bulk(address, &backend, measured).unwrap() > 0);
        assert!(connections(address, &backend, measured).unwrap() > 0);
        assert_eq!(hold_proxied(address, &backend, 3, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn connections_that_were_closed_at_once_are_passed_over() {
        let (backend, address) = listener();
        drop(TcpStream::connect(address).unwrap());
        pair(address, &backend).unwrap();
    }

    /// Serves so many connections one after another: echoes what comes until the client has no more.
    fn echo(listener: TcpListener, connections: usize) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            let held: Vec<_> = (0..connections).map(|_| listener.accept().unwrap().0).collect();
            for mut stream in held {
                std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
            }
        })
    }

    #[test]
    fn echoes_are_counted_and_checked() {
        let (server, address) = listener();
        let serve = echo(server, 1);
        let mut echoes = Echoes::connect(Dial { address, tls: None }, 1, 100).unwrap();
        assert!(echoes.exchange(Duration::ZERO).unwrap() == 1);
        assert!(echoes.exchange(Duration::from_millis(20)).unwrap() > 1);
        drop(echoes);
        serve.join().unwrap();

        let (server, address) = listener();
        let serve = std::thread::spawn(move || {
            server.accept().unwrap().0.write_all(&[0x5A, 0x5B]).unwrap();
        });
        let mut echoes = Echoes::connect(Dial { address, tls: None }, 1, 2).unwrap();
        let error = echoes.exchange(Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "wrong bytes");
        serve.join().unwrap();
    }

    #[test]
    fn connections_that_are_answered_and_closed_are_counted() {
        let (server, address) = listener();
        let serve = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
                stream.write_all(b"+PONG\r\n").unwrap();
            }
        });
        let greeting = Greeting { request: b"PING", answer: b"+PONG" };
        for _ in 0..2 {
            let count = answers(Dial { address, tls: None }, greeting, Duration::ZERO).unwrap();
            assert_eq!(count, 1);
        }
        serve.join().unwrap();
    }

    #[test]
    fn another_answer_is_an_error() {
        let (server, address) = listener();
        let serve = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(b"-ERR").unwrap();
        });
        let greeting = Greeting { request: b"PING", answer: b"+PON" };
        let dial = Dial { address, tls: None };
        let error = hold(dial, greeting, 1, || Ok(())).unwrap_err().to_string();
        assert_eq!(error, "the answer began with \"-ERR\"");
        serve.join().unwrap();
    }
}
