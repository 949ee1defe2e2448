//! Clients that connect, send and reset at once, again and again.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, connect, ipproto, send, socket_with, sockopt,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The connections that were made and reset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resets {
    pub(crate) connections: u64,
    /// The number that the server, or the system, would not have.
    pub(crate) refused: u64,
}

const MESSAGE: [u8; 64] = [b'r'; 64];

/// Runs `clients` clients until `end`. Each opens a connection, sends a message, resets it, and opens
/// the next one.
pub(crate) fn reset(target: SocketAddr, clients: usize, end: Instant) -> io::Result<Resets> {
    let mut done = Resets::default();
    let mut connecting: Vec<OwnedFd> = Vec::with_capacity(clients);
    while clients > 0 && Instant::now() < end {
        while connecting.len() < clients {
            connecting.push(begin(target)?);
        }
        for established in take_established(&mut connecting)? {
            match send(&established, &MESSAGE, SendFlags::NOSIGNAL) {
                Ok(_) => done.connections += 1,
                Err(_) => done.refused += 1,
            }
            // Closing it resets it then.
            sockopt::set_socket_linger(&established, Some(Duration::ZERO))?;
        }
    }
    Ok(done)
}

fn begin(target: SocketAddr) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Waits a moment for sockets that are established, or have failed, and takes them out.
fn take_established(connecting: &mut Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let mut polled: Vec<_> =
        connecting.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    match poll(&mut polled, Some(&moment)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
    let (mut established, mut others) = (Vec::new(), Vec::new());
    for (socket, is_ready) in connecting.drain(..).zip(ready) {
        if is_ready { established.push(socket) } else { others.push(socket) }
    }
    *connecting = others;
    Ok(established)
}
