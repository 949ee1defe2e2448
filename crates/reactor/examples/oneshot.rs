//! One-shot: several threads wait on one epoll, and a source is in one thread's hands at a time.
//!
//!     cargo run -p epoll-reactor --example oneshot
//!
//! The kernel disarms a one-shot source when it reports it. It stays silent, whatever arrives, until
//! it is armed again, which costs an `epoll_ctl(EPOLL_CTL_MOD)` for each report; what came meanwhile
//! is reported then. Without it a second thread is handed what arrives while the first still reads.
//! `SharedReactor` keeps them apart with either trigger: a report is a lease, and its end arms the
//! source again where that is needed.
//!
//! Prints what two threads see of one source, then who got how much of the work, and what it cost.

use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Source, Watch};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const THREADS: usize = 3;
const CLIENTS: usize = 8;
const MESSAGES: u64 = 250;
const WATCHED_FOR: Interest = Interest::IN.union(Interest::RDHUP);

struct Client {
    stream: Stream,
    /// Bytes that were read and not written yet.
    pending: Vec<u8>,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Source for Client {
    fn is_nonblocking(&self) -> bool {
        self.stream.is_nonblocking()
    }
}

impl Client {
    /// Echoes what has arrived. Returns `false` at the end of the stream.
    fn echo(&mut self, readiness: Readiness) -> io::Result<bool> {
        let mut is_dry = false;
        while !is_dry || !self.pending.is_empty() {
            if self.pending.is_empty() {
                let mut buffer = [0; 64];
                let len = self.stream.read(&mut buffer)?;
                if len == 0 {
                    return Ok(false);
                }
                self.pending.extend_from_slice(&buffer[..len]);
                // A short read leaves nothing, unless the end came with the same report: no other
                // edge would tell of that.
                is_dry = len < buffer.len() && !readiness.is_closing();
            }
            let len = self.stream.write(&self.pending)?;
            self.pending.drain(..len);
        }
        Ok(true)
    }
}

fn main() -> io::Result<()> {
    in_one_hand()?;
    println!("\ntrigger   reports by thread          epoll_ctl(MOD)");
    let (reports, mods) = share("one-shot", Watch::oneshot)?;
    assert_eq!(mods, reports, "each report is followed by a re-arm");
    let (_, mods) = share("edge", Watch::edge)?;
    assert_eq!(mods, 0);
    Ok(())
}

/// Shows the reports to a second thread while the first has the source, and after that.
fn in_one_hand() -> io::Result<()> {
    let shared: SharedReactor<Stream> = SharedReactor::new()?;
    let (ours, mut theirs) = Stream::pair()?;
    shared.insert(ours, Watch::oneshot(Interest::IN))?;
    let (mut first, mut second) = (shared.worker(), shared.worker());

    theirs.write_all(b"one")?;
    first.wait(None)?;
    let Some(LeaseReady::Owned(mut lease)) = first.next_ready() else {
        return Err(io::Error::other("a stream with bytes in it was not reported"));
    };
    assert_eq!(lease.read(&mut [0; 8])?, 3);
    theirs.write_all(b"two")?;
    let meanwhile = reports(&mut second)?;
    drop(lease);
    let afterwards = reports(&mut second)?;
    println!("more arrives while the first thread has the source");
    println!("  reports to the second until it lets go  {meanwhile}");
    println!("  reports to the second after that        {afterwards}");
    assert_eq!((meanwhile, afterwards), (0, 1));
    Ok(())
}

fn reports(worker: &mut Worker<'_, Stream>) -> io::Result<usize> {
    worker.wait(Some(Duration::ZERO))?;
    let mut count = 0;
    while let Some(ready) = worker.next_ready() {
        count += usize::from(matches!(ready, LeaseReady::Owned(_)));
    }
    Ok(count)
}

/// Echoes to all clients with all threads. Returns the number of reports and of re-arms.
fn share(name: &str, watch: fn(Interest) -> Watch) -> io::Result<(u64, u64)> {
    let shared: SharedReactor<Client> = SharedReactor::new()?;
    let mut peers = Vec::new();
    for _ in 0..CLIENTS {
        let (ours, theirs) = UnixStream::pair()?;
        let client = Client { stream: ours.try_into()?, pending: Vec::new() };
        shared.insert(client, watch(WATCHED_FOR))?;
        peers.push(theirs);
    }
    let by_thread = thread::scope(|scope| {
        let serving = [(); THREADS].map(|()| scope.spawn(|| serve(&shared)));
        // A client that fails must not leave the threads waiting.
        let talked = peers.iter().map(|peer| scope.spawn(|| talk(peer))).collect::<Vec<_>>();
        let talked: io::Result<()> = talked.into_iter().try_for_each(join);
        shared.stop()?;
        talked?;
        serving.into_iter().map(join).collect::<io::Result<Vec<u64>>>()
    })?;

    let (reports, mods) = (by_thread.iter().sum::<u64>(), shared.counters().mods);
    println!("{name:<8}  {:<25}  {mods:>14}", format!("{by_thread:?}"));
    assert!(reports >= MESSAGES * CLIENTS as u64);
    Ok((reports, mods))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a thread has panicked"))?
}

fn serve(shared: &SharedReactor<Client>) -> io::Result<u64> {
    let (mut worker, mut reports) = (shared.worker(), 0);
    while worker.wait(None)? {
        while let Some(ready) = worker.next_ready() {
            let LeaseReady::Owned(mut client) = ready else { continue };
            reports += 1;
            let readiness = client.readiness();
            match client.echo(readiness) {
                Ok(false) => client.close(),
                Err(error) if error.kind() != ErrorKind::WouldBlock => client.close(),
                _ if client.pending.is_empty() => client.set_interest(WATCHED_FOR)?,
                // Until there is room, nothing more is read.
                _ => client.set_interest(Interest::OUT)?,
            }
        }
    }
    Ok(reports)
}

fn talk(mut peer: &UnixStream) -> io::Result<()> {
    peer.set_read_timeout(Some(Duration::from_secs(30)))?;
    for number in 0..MESSAGES {
        let (message, mut echo) = (number.to_ne_bytes(), [0; 8]);
        peer.write_all(&message)?;
        peer.read_exact(&mut echo)?;
        assert_eq!(echo, message);
    }
    Ok(())
}
