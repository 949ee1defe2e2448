//! A socket without a kernel, and the epoll that watches it, as far as one connection can tell.
//!
//! An [`Act`] is something that the world does: bytes arrive, the peer closes, room appears. Acts
//! happen between two turns or in the middle of a turn, before a read or write. An edge-triggered
//! wire reports once for each act; a level-triggered one reports for as long as it is ready.

use epoll_echo::{Connection, Mode, Reason, Rules, Step, Transport};
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::{Interest, Readiness};
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;

/// More turns than any script here needs: beyond it the connection spins.
const TURNS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// These bytes arrive.
    Arrive(Vec<u8>),
    /// The peer closes its half.
    Fin,
    /// The peer reads this many bytes of what was written, which makes room.
    Room(usize),
    /// The peer resets the connection.
    Reset,
    /// An urgent byte arrives: what follows it can be read, but not spliced, until a read is made.
    Urgent,
    /// The next drain of a pipe stops short, though there is room.
    Cut,
    /// The next read or write is interrupted by a signal.
    Interrupt,
    /// Nothing: time passes for a read or write.
    Pass,
}

#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// What happens during turns, an act before each read or write.
    pub(crate) during: VecDeque<Act>,
    inbox: VecDeque<u8>,
    fin: bool,
    reset: bool,
    interrupted: bool,
    cut: bool,
    /// Urgent data stops the pipe.
    urgent: bool,
    room: usize,
    /// Everything that has arrived so far, in order.
    pub(crate) arrived: Vec<u8>,
    /// Everything that was written so far.
    pub(crate) outbox: Vec<u8>,
    pub(crate) fin_sent: bool,
    edge: bool,
    /// How many reads and writes were made, through the pipe or not.
    pub(crate) calls: usize,
    /// How many bytes have gone through the pipe.
    pub(crate) piped: usize,
    /// How many bytes the pipe takes at once; none if it cannot be used.
    piece_max: usize,
}

impl Wire {
    pub(crate) fn happen(&mut self, act: Act) {
        match act {
            // Nobody sends after the end of what they send.
            Act::Arrive(_) if self.fin => return,
            Act::Arrive(bytes) => {
                self.arrived.extend(&bytes);
                self.inbox.extend(bytes);
            }
            Act::Fin => self.fin = true,
            Act::Room(bytes) => self.room += bytes,
            Act::Reset => self.reset = true,
            Act::Urgent => self.urgent = true,
            Act::Interrupt => self.interrupted = true,
            Act::Cut => {
                self.cut = true;
                return;
            }
            Act::Pass => return,
        }
        self.edge = true;
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if let Some(act) = self.during.pop_front() {
            self.happen(act);
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
        readiness.set(Readiness::HUP, self.reset || (self.fin && self.fin_sent));
        readiness.set(Readiness::ERR, self.reset);
        readiness
    }

    /// What epoll would report now; HUP and ERR whether asked for or not.
    fn report(&mut self, mode: Mode, interest: Interest) -> Option<Readiness> {
        let asked = Readiness::from_bits_retain(interest.bits()) | Readiness::HUP | Readiness::ERR;
        let readiness = self.readiness() & asked;
        let fires = match mode {
            // Armed anew after every step, one-shot comes to the same.
            Mode::Level | Mode::Oneshot => true,
            Mode::Edge | Mode::EdgeShared => std::mem::take(&mut self.edge),
        };
        (fires && !readiness.is_empty()).then_some(readiness)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer).inspect(|_| self.urgent = false)
    }
}

impl Wire {
    /// What a read brings, or a splice.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.inbox.is_empty() {
            return if self.fin { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        // `VecDeque`'s own read stops where its ring wraps; a socket's does not.
        let len = buffer.len().min(self.inbox.len());
        buffer.iter_mut().zip(self.inbox.drain(..len)).for_each(|(to, byte)| *to = byte);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call()?;
        assert!(!self.fin_sent, "a write after our own end of the stream");
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = bytes.len().min(self.room);
        self.room -= len;
        self.outbox.extend(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    fn fill(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        assert!(pipe.is_empty(), "bytes of another connection");
        if self.piece_max == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.urgent {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = vec![0; len.min(self.piece_max)];
        let len = self.take(&mut bytes)?;
        pipe.extend(&bytes[..len]);
        self.piped += len;
        Ok(len)
    }

    fn drain(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        assert_eq!(len, pipe.len(), "the last of them would wait for more");
        let len = if std::mem::take(&mut self.cut) { len.div_ceil(2) } else { len };
        let written = self.write(&pipe.make_contiguous()[..len])?;
        pipe.drain(..written);
        Ok(written)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        if self.reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.fin_sent = true;
        Ok(())
    }
}

/// One wire in two hands: the connection's and the script's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Rc<RefCell<Wire>>);

impl Shared {
    pub(crate) fn lend(&self) -> RefMut<'_, Wire> {
        self.0.borrow_mut()
    }
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lend().read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lend().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Shared {
    type Pipe = VecDeque<u8>;

    fn fill(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        self.lend().fill(pipe, len)
    }

    fn drain(&mut self, pipe: &mut VecDeque<u8>, len: usize) -> io::Result<usize> {
        self.lend().drain(pipe, len)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.lend().shutdown_write()
    }
}

/// A connection on a wire, and what a server does with it.
pub(crate) struct Talk {
    pub(crate) wire: Shared,
    pub(crate) connection: Connection<Shared>,
    mode: Mode,
    rules: Rules,
    buffer: Vec<u8>,
    pipe: Option<VecDeque<u8>>,
    interest: Interest,
    revisit: Readiness,
    /// How the conversation ended, once it has.
    pub(crate) over: Option<Reason>,
}

impl Talk {
    pub(crate) fn new(mode: Mode, rules: Rules, buffer_len: usize) -> Self {
        let wire = Shared::default();
        Self {
            connection: Connection::new(wire.clone(), &rules, Timestamp::EPOCH),
            wire,
            mode,
            rules,
            buffer: vec![0; buffer_len],
            pipe: None,
            interest: mode.interest(Connection::<Shared>::FIRST_INTEREST),
            revisit: Readiness::empty(),
            over: None,
        }
    }

    /// With a pipe that takes so many bytes at once.
    pub(crate) fn with_pipe(mut self, piece_max: usize) -> Self {
        self.wire.lend().piece_max = piece_max;
        self.pipe = Some(VecDeque::new());
        self
    }

    /// Something happens, then the server turns until there is nothing to do.
    #[track_caller]
    pub(crate) fn happen(&mut self, act: Act) {
        self.wire.lend().happen(act);
        self.settle();
    }

    /// Turns until there is nothing to do.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let report = self.wire.lend().report(self.mode, self.interest);
            let readiness = report.unwrap_or_default() | std::mem::take(&mut self.revisit);
            if self.over.is_some() || readiness.is_empty() {
                return;
            }
            self.turn(readiness);
        }
        panic!("the connection spins");
    }

    fn turn(&mut self, readiness: Readiness) {
        let step = self.connection.step(readiness, &self.rules, &mut self.buffer, Timestamp::EPOCH);
        self.obey(step, readiness);
    }

    /// The owner wants an end once the transport is dry.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        let step = self.connection.finish(&self.rules, &mut self.buffer, Timestamp::EPOCH);
        self.obey(step, Readiness::IN);
        self.settle();
    }

    /// The owner wants an end at once.
    #[track_caller]
    pub(crate) fn end(&mut self) {
        let step = self.connection.end(Timestamp::EPOCH);
        self.obey(step, Readiness::IN);
        self.settle();
    }

    fn obey(&mut self, step: Step, readiness: Readiness) {
        match step {
            Step::Wait => {}
            Step::Watch(interest) => self.interest = self.mode.interest(interest),
            Step::Yield => self.revisit = readiness | Readiness::IN,
            Step::Splice => {
                let (rules, pipe) = (&self.rules, &mut self.pipe);
                let step = self.connection.splice(readiness, rules, pipe, Timestamp::EPOCH);
                assert_ne!(step, Step::Splice);
                return self.obey(step, readiness);
            }
            Step::Linger => {
                self.interest = self.mode.interest(Connection::<Shared>::FIRST_INTEREST);
                self.revisit = readiness | Readiness::IN;
            }
            Step::Done(reason) => self.over = Some(reason),
        }
        let splice_max = self.rules.splice_bytes_max.map_or(0, NonZeroUsize::get);
        let buffered = self.connection.buffered();
        assert!(buffered <= self.buffer.len().max(splice_max), "{buffered} bytes are kept");
    }

    /// The world is kind: everything arrives, there is room for all, and the peer closes.
    #[track_caller]
    pub(crate) fn end_well(&mut self) {
        let late = std::mem::take(&mut self.wire.lend().during);
        late.into_iter().for_each(|act| self.wire.lend().happen(act));
        self.happen(Act::Room(1 << 20));
        self.happen(Act::Fin);
    }
}
