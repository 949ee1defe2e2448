//! The classic mistakes with epoll, each made and cured.
//!
//!     cargo run -p epoll-sys --example mistakes
//!
//! 1. A descriptor that blocks, under an edge trigger: reading until the socket is dry never ends.
//! 2. A handler under an edge trigger that does not read until the socket is dry: the rest lies there.
//! 3. Output that waits while nobody watches for room: the transfer stops.
//! 4. `epoll_wait` on what is no epoll descriptor, or for no event at all: EINVAL.
//! 5. A connection that is closed but not forgotten: memory grows with every client.
//!
//! Prints for each the symptom, and what becomes of it with the cure.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, EventFd, Events, Interest, Watch, socket};
use rustix::event::epoll;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The time after which a thread that says nothing is taken to hang. Long, so that it is right on a
/// machine that is busy too.
const WATCHDOG: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    println!("mistake                     symptom                      cured");
    let row = |mistake: &str, symptom: &str, cured: &str| {
        println!("{mistake:<27} {symptom:<28} {cured}");
    };
    assert_eq!((drain(true)?, drain(false)?), (None, Some(5)));
    row("a blocking descriptor", "the thread hangs in a read", "5 bytes read, then WouldBlock");
    assert_eq!((serve_edge(false)?, serve_edge(true)?), (4, 12));
    row("not read until dry", "4 of 12 bytes read", "12 of 12 bytes read");
    let (stuck, whole) = (transfer(false)?, transfer(true)?);
    assert!(stuck < whole && whole == MESSAGE_LEN);
    row(
        "OUT is forgotten",
        &format!("{stuck} of {whole} sent"),
        &format!("{whole} of {whole} sent"),
    );
    assert_eq!(wrong_waits()?, [Some(Errno::INVAL), Some(Errno::INVAL), None]);
    row("a wait that cannot be", "EINVAL", "no error");
    assert_eq!((serve_clients(false)?, serve_clients(true)?), (CLIENTS, 0));
    row("closed, not forgotten", &format!("{CLIENTS} buffers are left"), "0 buffers are left");
    Ok(())
}

/// Reads until the socket is dry, in a thread of its own. Returns how much it has read, or `None` if
/// the watchdog found that it hangs.
fn drain(blocks: bool) -> io::Result<Option<usize>> {
    let (mut ours, mut peer) = UnixStream::pair()?;
    ours.set_nonblocking(!blocks)?;
    peer.write_all(b"hello")?;
    let (done, watchdog) = channel();
    let reader = thread::spawn(move || {
        let mut bytes = 0;
        // What an edge asks for. The last read of a descriptor that blocks waits for the peer.
        while let Ok(len @ 1..) = ours.read(&mut [0; 64]) {
            bytes += len;
        }
        // Nobody may be listening any more.
        let _ = done.send(bytes);
    });
    let read = watchdog.recv_timeout(WATCHDOG).ok();
    // The end of the stream is what a thread that hangs there gets out by.
    drop(peer);
    reader.join().expect("the reader does not panic");
    Ok(read)
}

/// Serves twelve bytes with reads of four, and returns how many were read when no wait has anything
/// to report any more.
fn serve_edge(until_dry: bool) -> io::Result<usize> {
    let (ours, theirs) = socket::pair()?;
    let epoll = Epoll::new()?;
    epoll.add(&ours, 0, Watch::edge(Interest::IN))?;
    socket::send(&theirs, b"twelve bytes")?;
    let (mut events, mut bytes) = (Events::with_capacity(1), 0);
    while epoll.wait(&mut events, Some(Duration::ZERO))? > 0 {
        loop {
            match socket::recv(&ours, &mut [0; 4]) {
                Ok(len) => bytes += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if !until_dry {
                break;
            }
        }
    }
    Ok(bytes)
}

/// More than a socket takes at once.
const MESSAGE_LEN: usize = 4 << 20;

/// Sends a long message to a peer that reads all the time, and returns how much of it was sent when no
/// wait has anything to report any more.
fn transfer(watches_for_room: bool) -> io::Result<usize> {
    let (ours, theirs) = socket::pair()?;
    let epoll = Epoll::new()?;
    epoll.add(&ours, 0, Watch::level(Interest::IN))?;
    let message = vec![b'x'; MESSAGE_LEN];
    let mut sent = send_what_fits(&ours, &message)?;
    if watches_for_room && sent < message.len() {
        epoll.modify(&ours, 0, Watch::level(Interest::IN | Interest::OUT))?;
    }
    let mut events = Events::with_capacity(1);
    loop {
        // The peer makes room.
        while !matches!(socket::recv(&theirs, &mut [0; 65_536]), Err(_) | Ok(0)) {}
        if epoll.wait(&mut events, Some(Duration::ZERO))? == 0 {
            return Ok(sent);
        }
        sent += send_what_fits(&ours, &message[sent..])?;
        if sent == message.len() {
            // Room is always there now: with OUT a level trigger would report it for ever.
            epoll.modify(&ours, 0, Watch::level(Interest::IN))?;
        }
    }
}

fn send_what_fits(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket::send(to, &bytes[sent..]) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Returns the errors of a wait on an eventfd, of one without room for an event, and of a right one. The
/// types of this crate cannot express the first two, so they are made with rustix.
fn wrong_waits() -> io::Result<[Option<Errno>; 3]> {
    let (epoll, no_epoll) = (Epoll::new()?, EventFd::new(1)?);
    epoll.add(&no_epoll, 0, Watch::level(Interest::IN))?;
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut room = Vec::with_capacity(1);
    let on_eventfd = epoll::wait(&no_epoll, rustix::buffer::spare_capacity(&mut room), Some(&now));
    let mut none: [epoll::Event; 0] = [];
    let without_room = epoll::wait(&epoll, &mut none, Some(&now));
    let right = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut room), Some(&now));
    Ok([on_eventfd.err(), without_room.err(), right.err()])
}

const CLIENTS: usize = 100;

/// Serves clients that come, say something and go. Returns how many of their buffers are left.
fn serve_clients(forgets: bool) -> io::Result<usize> {
    let epoll = Epoll::new()?;
    let mut events = Events::with_capacity(1);
    let mut sockets: BTreeMap<u64, OwnedFd> = BTreeMap::new();
    let mut buffers: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for client in 0..CLIENTS as u64 {
        let (ours, theirs) = socket::pair()?;
        epoll.add(&ours, client, Watch::level(Interest::IN))?;
        sockets.insert(client, ours);
        buffers.insert(client, Vec::with_capacity(1024));
        socket::send(&theirs, b"hello")?;
        drop(theirs);
        while sockets.contains_key(&client) {
            epoll.wait(&mut events, None)?;
            let (Some(socket), Some(buffer)) = (sockets.get(&client), buffers.get_mut(&client))
            else {
                break;
            };
            let mut bytes = [0; 64];
            let len = socket::recv(socket, &mut bytes)?;
            buffer.extend_from_slice(&bytes[..len]);
            if len == 0 {
                // The close removes the entry in the kernel. What the program keeps is the program's to end.
                sockets.remove(&client);
                if forgets {
                    buffers.remove(&client);
                }
            }
        }
    }
    Ok(buffers.len())
}
