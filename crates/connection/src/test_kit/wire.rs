//! A socket without a kernel, and the epoll that watches it, as far as one connection can tell.
//!
//! Kernel facts that it keeps: (a) an edge-triggered socket is reported when bytes or an end arrive, and
//! when room appears after it was full, but not when there merely is room; (b) a report has everything
//! that is ready at that moment.

use crate::Transport;
use epoll_reactor::{Interest, Readiness};
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

/// Something that the peer or the kernel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The peer sends these bytes.
    Arrive(Vec<u8>),
    /// The peer closes its half.
    Fin,
    /// The peer takes so many bytes of what is sent: there is so much more room. At first there is none.
    Room(usize),
    /// The peer resets the connection.
    Reset,
    /// An urgent byte arrives: what follows it can be read, but not spliced, until a read is made.
    Urgent,
    /// The next drain of a pipe stops short, though there is room.
    Cut,
    /// The next read or write is interrupted by a signal.
    Interrupt,
    /// Nothing happens before one read or write.
    Pass,
}

#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Acts that happen during steps, an act before each read or write.
    pub(super) during: VecDeque<Act>,
    inbox: VecDeque<u8>,
    fin: bool,
    reset: bool,
    interrupted: bool,
    cut: bool,
    urgent: bool,
    pub(super) room: usize,
    /// A write was cut short, and none has been made since that was not.
    is_full: bool,
    /// Reading while a write waits for room is allowed: the directions are independent.
    pub(super) is_duplex: bool,
    /// Everything that has arrived so far, in order.
    pub(super) arrived: Vec<u8>,
    /// Everything that was sent so far.
    pub(super) sent: Vec<u8>,
    pub(super) is_output_closed: bool,
    has_edge: bool,
    /// The number of reads and writes that were made, through the pipe or not.
    pub(super) calls: usize,
    /// The number of bytes that have gone through the pipe.
    pub(super) piped: usize,
    /// The number of bytes that the pipe takes at once; none if it cannot be used.
    pub(super) piece_max: usize,
    /// The number of bytes that were read.
    pub(super) read: usize,
    /// The number of them that were read before our half was closed. Those after it are discarded by all
    /// but a protocol that has ended its output.
    pub(super) received: usize,
    /// The outcome of connecting is awaited: nothing is reported before it is known.
    pub(super) is_connecting: bool,
    /// The reason for which an outgoing connection cannot be established.
    pub(super) refusal: Option<io::Error>,
}

impl Wire {
    pub(super) fn act(&mut self, act: Act) {
        match act {
            // Nobody sends after the end of what they send.
            Act::Arrive(_) if self.fin => {}
            Act::Arrive(bytes) => {
                self.arrived.extend(&bytes);
                self.inbox.extend(bytes);
                self.has_edge = true;
            }
            Act::Fin => {
                self.fin = true;
                self.has_edge = true;
            }
            Act::Room(bytes) => {
                self.room += bytes;
                self.has_edge |= self.is_full;
            }
            Act::Reset => {
                self.reset = true;
                self.has_edge = true;
            }
            Act::Urgent => {
                self.urgent = true;
                self.has_edge = true;
            }
            Act::Interrupt => self.interrupted = true,
            Act::Cut => self.cut = true,
            Act::Pass => {}
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.inbox.len()
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if let Some(act) = self.during.pop_front() {
            self.act(act);
        }
        if std::mem::take(&mut self.interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::IN, !self.inbox.is_empty() || self.fin || self.reset);
        readiness.set(Readiness::PRI, self.urgent);
        readiness.set(Readiness::RDHUP, self.fin || self.reset);
        readiness.set(Readiness::OUT, self.room > 0);
        readiness.set(Readiness::HUP, self.reset || (self.fin && self.is_output_closed));
        readiness.set(Readiness::ERR, self.reset);
        readiness
    }

    /// Returns the readiness that epoll would report now; `HUP` and `ERR` whatever the interest is.
    pub(super) fn report(&mut self, is_edge: bool, interest: Interest) -> Readiness {
        if self.is_connecting {
            return Readiness::empty();
        }
        let wanted = Readiness::from_bits_retain(interest.bits()) | Readiness::HUP | Readiness::ERR;
        let fires = std::mem::take(&mut self.has_edge) || !is_edge;
        if fires { self.readiness() & wanted } else { Readiness::empty() }
    }

    /// Returns the number of bytes that a read or a splice brings.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        let may_read = !self.is_full || self.is_duplex;
        assert!(may_read, "a read while output waits for room");
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.inbox.is_empty() {
            return if self.fin { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        // The read of `VecDeque` stops where its ring wraps; a socket's does not.
        let len = buffer.len().min(self.inbox.len());
        buffer.iter_mut().zip(self.inbox.drain(..len)).for_each(|(to, byte)| *to = byte);
        self.read += len;
        self.received += if self.is_output_closed { 0 } else { len };
        Ok(len)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "a write of nothing");
        self.call()?;
        assert!(!self.is_output_closed, "a write after the end of our half");
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let len = bytes.len().min(self.room);
        self.is_full = len < bytes.len();
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= len;
        self.sent.extend(&bytes[..len]);
        Ok(len)
    }
}

/// A wire in two hands: the connection's and the driver's.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedWire(Rc<RefCell<Wire>>);

impl SharedWire {
    pub(super) fn borrow(&self) -> RefMut<'_, Wire> {
        self.0.borrow_mut()
    }
}

impl Read for SharedWire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.borrow();
        let read = wire.take(buffer);
        wire.urgent &= read.is_err();
        read
    }
}

impl Write for SharedWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.borrow().put(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for SharedWire {
    type Pipe = VecDeque<u8>;

    fn fill(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        assert!(pipe.is_empty(), "the pipe holds bytes of another connection");
        let mut wire = self.borrow();
        if wire.piece_max == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if wire.urgent {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = vec![0; len.min(wire.piece_max)];
        let len = wire.take(&mut bytes)?;
        pipe.extend(&bytes[..len]);
        wire.piped += len;
        Ok(len)
    }

    fn drain(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        assert_eq!(len, pipe.len(), "the last bytes of the pipe would wait for more");
        let mut wire = self.borrow();
        let is_cut = std::mem::take(&mut wire.cut);
        let len = if is_cut { len.div_ceil(2) } else { len };
        let sent = wire.put(&pipe.make_contiguous()[..len])?;
        pipe.drain(..sent);
        Ok(sent)
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        let mut wire = self.borrow();
        wire.refusal.take().map_or(Ok(!wire.is_connecting), Err)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut wire = self.borrow();
        if wire.reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        wire.is_output_closed = true;
        Ok(())
    }
}
