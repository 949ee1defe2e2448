//! One server on three interfaces: select, poll and epoll.
//!
//!     cargo run -p epoll-sys --example three_loops
//!
//! An echo server has fifty connections, and one after another sends a message. select and poll are
//! handed every descriptor at every wait, and the program looks through all of them afterwards for
//! those that are ready. epoll is told of each descriptor once and returns the ready ones.
//!
//! Prints how many descriptors each interface was handed, how many answers the program looked at, and
//! that the bytes are the same.

#![allow(unsafe_code, reason = "select, whose set is of numbers and not of descriptors")]

use epoll_sys::{Epoll, Events, Interest, Watch, socket};
use rustix::event::{FdSetElement, FdSetIter, PollFd, PollFlags, Timespec};
use rustix::event::{fd_set_insert, fd_set_num_elements, poll, select};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

const CLIENTS: usize = 50;
/// A wait that is longer has missed something. It has no other effect.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The system call that a server waits with.
trait Waiter {
    /// Hands a descriptor over once, if the interface remembers it.
    fn add(&mut self, fd: &OwnedFd) -> io::Result<()>;

    /// Waits until one of the connections is ready, and returns the numbers of all that are.
    fn wait(&mut self, connections: &Connections, work: &mut Work) -> io::Result<Vec<RawFd>>;
}

type Connections = BTreeMap<RawFd, OwnedFd>;

/// The work of the kernel's interface, and the work of the program.
#[derive(Debug, Default, PartialEq, Eq)]
struct Work {
    waits: usize,
    handed_over: usize,
    looked_at: usize,
    echoed: usize,
}

fn main() -> io::Result<()> {
    println!("interface  waits  handed over  looked at  echoed");
    let (by_select, by_poll, by_epoll) =
        (serve("select", Select)?, serve("poll", Poll)?, serve("epoll", EpollWaiter::new()?)?);
    let all = CLIENTS * CLIENTS;
    let echoed = CLIENTS * "hello".len();
    let each = Work { waits: CLIENTS, handed_over: all, looked_at: all, echoed };
    assert_eq!(by_select, each);
    assert_eq!(by_poll, each);
    assert_eq!(by_epoll, Work { handed_over: CLIENTS, looked_at: CLIENTS, ..each });
    Ok(())
}

/// Serves a message of each client.
fn serve(name: &str, mut waiter: impl Waiter) -> io::Result<Work> {
    let (mut connections, mut clients, mut work) =
        (Connections::new(), Vec::new(), Work::default());
    for _ in 0..CLIENTS {
        let (ours, theirs) = socket::pair()?;
        waiter.add(&ours)?;
        connections.insert(ours.as_raw_fd(), ours);
        clients.push(theirs);
    }
    // Counted here: an interface that remembers them is handed no more.
    work.handed_over = if name == "epoll" { CLIENTS } else { 0 };
    for client in &clients {
        socket::send(client, b"hello")?;
        work.waits += 1;
        for number in waiter.wait(&connections, &mut work)? {
            work.echoed += echo(&connections[&number])?;
        }
        let mut answer = [0; 16];
        let len = socket::recv(client, &mut answer)?;
        assert_eq!(&answer[..len], b"hello");
    }
    let Work { waits, handed_over, looked_at, echoed } = work;
    println!("{name:<9}  {waits:>5}  {handed_over:>11}  {looked_at:>9}  {echoed:>6}");
    Ok(work)
}

fn echo(connection: &OwnedFd) -> io::Result<usize> {
    let mut buffer = [0; 64];
    let len = socket::recv(connection, &mut buffer)?;
    // The socket's buffer is empty, so it takes so few bytes whole.
    let sent = socket::send(connection, &buffer[..len])?;
    assert_eq!(sent, len);
    Ok(len)
}

struct Select;

impl Waiter for Select {
    fn add(&mut self, _: &OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, connections: &Connections, work: &mut Work) -> io::Result<Vec<RawFd>> {
        let highest = connections.keys().max().copied().unwrap_or(-1);
        let len = fd_set_num_elements(connections.len(), highest + 1);
        let mut set = vec![FdSetElement::default(); len];
        connections.keys().for_each(|&number| fd_set_insert(&mut set, number));
        work.handed_over += connections.len();
        // SAFETY: `connections` owns every descriptor in the set, and is borrowed during the call.
        unsafe { select(highest + 1, Some(&mut set), None, None, Some(&PATIENCE)) }?;
        work.looked_at += connections.len();
        Ok(FdSetIter::new(&set).collect())
    }
}

struct Poll;

impl Waiter for Poll {
    fn add(&mut self, _: &OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, connections: &Connections, work: &mut Work) -> io::Result<Vec<RawFd>> {
        let entries = connections.values().map(|fd| PollFd::new(fd, PollFlags::IN));
        let mut entries: Vec<_> = entries.collect();
        work.handed_over += entries.len();
        poll(&mut entries, Some(&PATIENCE))?;
        work.looked_at += entries.len();
        let ready = entries.iter().filter(|entry| !entry.revents().is_empty());
        Ok(ready.map(|entry| entry.as_fd().as_raw_fd()).collect())
    }
}

struct EpollWaiter {
    epoll: Epoll,
    events: Events,
}

impl EpollWaiter {
    fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new()?, events: Events::with_capacity(16) })
    }
}

impl Waiter for EpollWaiter {
    fn add(&mut self, fd: &OwnedFd) -> io::Result<()> {
        let data = u64::try_from(fd.as_raw_fd()).map_err(io::Error::other)?;
        self.epoll.add(fd, data, Watch::level(Interest::IN))
    }

    fn wait(&mut self, _: &Connections, work: &mut Work) -> io::Result<Vec<RawFd>> {
        self.epoll.wait(&mut self.events, None)?;
        work.looked_at += self.events.len();
        self.events
            .iter()
            .map(|event| RawFd::try_from(event.data).map_err(io::Error::other))
            .collect()
    }
}
