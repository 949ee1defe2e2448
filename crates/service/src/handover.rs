//! The hand-over of sockets from a process to its successor, as packets, see `inherited.rs` and `successor.rs`.
//!
//! The successor finds one end of a pair of sockets as its standard input, which is how a descriptor reaches a
//! program without being open in any other that is started meanwhile. The number of its inode is in the
//! environment: a program that inherits the variable by chance has another standard input. First comes a greeting with
//! the standard input that the successor is to have, then the sockets of each address, then the end. The answer
//! is one packet, when the successor serves.

use epoll_reactor::epoll_sys::socket::{PACKET_DESCRIPTORS_MAX, recv_packet, send_packet};
use epoll_reactor::net::Address;
use std::env;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The environment variable with the inode of the successor's end.
pub(crate) const VARIABLE: &str = "EPOLL_SERVICE_HANDOVER";

/// The first packet. Another version of the packets has another number.
const GREETING: &[u8] = b"epoll-service 1";
/// The first line of a packet with sockets of an address, and a whole packet with more of them.
const SOCKETS: &str = "sockets";
const MORE: &[u8] = b"more";
const END: &[u8] = b"end";
/// The beginning of the answer.
const READY: &[u8] = b"ready ";

/// Room for any packet. The names in one come from an environment variable, or from a line of a command.
const PACKET_LEN_MAX: usize = 128 * 1024;

/// The origin of the sockets of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The internet address in the configuration, which may leave the choice of the port to the kernel.
    pub(crate) configured: Option<Address>,
    /// The numbers and names by which a service manager has passed them.
    pub(crate) labels: Vec<String>,
    /// The process that has them removes their path at its end.
    pub(crate) removes_path: bool,
}

impl Origin {
    /// Writes it as lines: neither an internet address nor a name of `LISTEN_FDNAMES` has a line break, and no
    /// name has a colon.
    fn encode(&self) -> String {
        let configured = self.configured.filter(|address| address.inet().is_some());
        let configured = configured.map(|address| address.to_string()).unwrap_or_default();
        let removes_path = u8::from(self.removes_path);
        format!("{SOCKETS}\n{removes_path}\n{configured}\n{}", self.labels.join(":"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.splitn(4, '\n');
        if lines.next()? != SOCKETS {
            return None;
        }
        let removes_path = lines.next()? == "1";
        let configured = lines.next()?;
        let configured = if configured.is_empty() { None } else { Some(configured.parse().ok()?) };
        let labels = lines.next()?.split(':').filter(|label| !label.is_empty());
        Some(Self { configured, labels: labels.map(str::to_owned).collect(), removes_path })
    }
}

/// Everything that a successor is sent.
pub(crate) struct Received {
    pub(crate) stdin: OwnedFd,
    pub(crate) sockets: Vec<(Origin, Vec<OwnedFd>)>,
}

/// Sends the sockets of each address. All of it fits into the buffer, so it need not wait for the reader.
pub(crate) fn send<'a>(
    channel: impl AsFd,
    sockets: impl IntoIterator<Item = (Origin, &'a [OwnedFd])>,
) -> io::Result<()> {
    send_packet(&channel, GREETING, &[io::stdin().as_fd()])?;
    for (origin, sockets) in sockets {
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let mut packets = sockets.chunks(PACKET_DESCRIPTORS_MAX);
        send_packet(&channel, origin.encode().as_bytes(), packets.next().unwrap_or_default())?;
        packets.try_for_each(|packet| send_packet(&channel, MORE, packet))?;
    }
    send_packet(&channel, END, &[])
}

/// Returns the end that this process was started with, if it was started as a successor.
pub(crate) fn channel() -> io::Result<Option<OwnedFd>> {
    let Ok(inode) = env::var(VARIABLE) else { return Ok(None) };
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let metadata = stdin.metadata()?;
    let is_channel = metadata.file_type().is_socket() && metadata.ino().to_string() == inode;
    Ok(is_channel.then(|| stdin.into()))
}

/// Receives what [`send`] has sent, all of which is there already.
pub(crate) fn receive(channel: impl AsFd) -> io::Result<Received> {
    let mut buffer = vec![0; PACKET_LEN_MAX];
    let mut packet = || -> io::Result<_> {
        let (len, descriptors) = recv_packet(&channel, &mut buffer)?;
        Ok((buffer[..len].to_vec(), descriptors))
    };
    let (greeting, mut descriptors) = packet()?;
    let stdin = descriptors.pop().filter(|_| greeting == GREETING).ok_or_else(|| {
        let greeting = String::from_utf8_lossy(&greeting);
        unknown(&format!("it begins with {greeting:?}"))
    })?;
    let mut sockets: Vec<(Origin, Vec<OwnedFd>)> = Vec::new();
    loop {
        let (packet, descriptors) = packet()?;
        if packet == END {
            return Ok(Received { stdin, sockets });
        }
        match sockets.last_mut().filter(|_| packet == MORE) {
            Some((_, before)) => before.extend(descriptors),
            None => {
                let origin = Origin::decode(&packet);
                sockets.push((origin.ok_or_else(|| unknown("a packet is unknown"))?, descriptors));
            }
        }
    }
}

fn unknown(what: &str) -> io::Error {
    let what = format!("the process before speaks another version: {what}");
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Tells the process before that this one serves, and of each address that it was sent, in order, whether it
/// listens there.
pub(crate) fn send_ready(channel: impl AsFd, taken: &[bool]) -> io::Result<()> {
    let taken = taken.iter().map(|&is_taken| if is_taken { b'1' } else { b'0' });
    let packet: Vec<u8> = READY.iter().copied().chain(taken).collect();
    send_packet(channel, &packet, &[])
}

/// Returns what the successor has said, `None` if it has said nothing so far.
///
/// # Errors
///
/// It has ended, or has said something else.
pub(crate) fn recv_ready(channel: impl AsFd) -> io::Result<Option<Vec<bool>>> {
    let mut buffer = vec![0; PACKET_LEN_MAX];
    match recv_packet(channel, &mut buffer) {
        Ok((0, _)) => Err(closed()),
        // Before it had read everything.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(closed()),
        Ok((len, _)) => match buffer[..len].strip_prefix(READY) {
            Some(taken) => Ok(Some(taken.iter().map(|&digit| digit == b'1').collect())),
            None => Err(io::Error::new(ErrorKind::InvalidData, "it speaks another version")),
        },
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "it has closed the connection to this one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_reactor::epoll_sys::EventFd;
    use epoll_reactor::epoll_sys::socket::packet_pair;

    fn origin(configured: &str, labels: &[&str], removes_path: bool) -> Origin {
        let configured = (!configured.is_empty()).then(|| configured.parse().unwrap());
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Origin { configured, labels, removes_path }
    }

    #[test]
    fn sockets_arrive_in_order_with_their_origins_however_many_there_are() {
        let (ours, theirs) = packet_pair().unwrap();
        // Any descriptor will do.
        let one: OwnedFd = EventFd::new(0).unwrap().into();
        let many = |count| (0..count).map(|_| one.try_clone().unwrap()).collect::<Vec<_>>();
        let sent = [
            (origin("127.0.0.1:0", &[], false), many(1)),
            (origin("[::1]:8080", &["3", "http"], false), many(2 * PACKET_DESCRIPTORS_MAX + 1)),
            (origin("", &["4"], true), many(PACKET_DESCRIPTORS_MAX)),
        ];
        send(&ours, sent.iter().map(|(origin, fds)| (origin.clone(), &fds[..]))).unwrap();
        let received = receive(&theirs).unwrap();
        assert_eq!(received.sockets.len(), sent.len());
        for ((origin, sockets), (sent, fds)) in received.sockets.iter().zip(&sent) {
            assert_eq!((origin, sockets.len()), (sent, fds.len()));
        }
        assert_eq!(recv_ready(&ours).unwrap(), None);
        send_ready(&theirs, &[true, false, true]).unwrap();
        assert_eq!(recv_ready(&ours).unwrap(), Some(vec![true, false, true]));
        drop(theirs);
        assert_eq!(recv_ready(&ours).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn another_version_is_an_error() {
        for packets in [&[&b"epoll-service 2"[..]][..], &[GREETING, b"other\n0\n\n"]] {
            let (ours, theirs) = packet_pair().unwrap();
            for packet in packets {
                send_packet(&ours, packet, &[io::stdin().as_fd()]).unwrap();
            }
            let error = receive(&theirs).map(drop).unwrap_err();
            assert!(error.to_string().contains("another version"), "{error}");
        }
        let (ours, theirs) = packet_pair().unwrap();
        send_packet(&theirs, b"hello", &[]).unwrap();
        assert_eq!(recv_ready(&ours).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
