//! The socket pairs and the bytes that go round.

use anyhow::ensure;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::io;
use std::os::fd::OwnedFd;

/// Socket pairs, the writer of each fed by the reader of the one before.
pub(crate) struct Chain {
    pairs: Vec<Pair>,
}

struct Pair {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// Bytes on their way, and what is known of them.
pub(crate) struct Baton<'a> {
    chain: &'a Chain,
    /// The number of bytes on their way, and the sum of their values.
    active: (u64, u64),
    turns: u64,
    /// The number of hand-ons that remain.
    left: u64,
    /// The number of hand-ons so far, and the sum of the bytes handed on.
    handed_on: (u64, u64),
}

impl Chain {
    pub(crate) fn new(pairs: usize) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let pair = |_| {
            let (reader, writer) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            Ok(Pair { reader, writer })
        };
        Ok(Self { pairs: (0..pairs).map(pair).collect::<io::Result<_>>()? })
    }

    /// Returns the descriptors to be watched, in the order of their numbers in the chain.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &OwnedFd> {
        self.pairs.iter().map(|pair| &pair.reader)
    }

    /// Sends `active` bytes on their way, evenly spread, to be handed on `turns` times each.
    pub(crate) fn start(&self, active: usize, turns: u64) -> io::Result<Baton<'_>> {
        let mut sum = 0;
        for byte in 0..active {
            let value = value(byte);
            sum += u64::from(value);
            let pair = &self.pairs[byte * self.pairs.len() / active];
            send(&pair.writer, &[value], SendFlags::NOSIGNAL)?;
        }
        let active = (active as u64, sum);
        Ok(Baton { chain: self, active, turns, left: active.0 * turns, handed_on: (0, 0) })
    }
}

/// Returns a value that is never zero, and differs between neighbours.
fn value(byte: usize) -> u8 {
    byte.to_le_bytes()[0] % 250 + 1
}

impl Baton<'_> {
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Reads a byte from this reader, and writes it to the next pair.
    #[inline]
    pub(crate) fn hand_on(&mut self, reader: usize) -> io::Result<()> {
        // A turn may have brought more than are needed.
        let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
        let pairs = &self.chain.pairs;
        let next = if reader + 1 == pairs.len() { 0 } else { reader + 1 };
        let mut byte = [0];
        recv(&pairs[reader].reader, &mut byte, RecvFlags::empty())?;
        send(&pairs[next].writer, &byte, SendFlags::NOSIGNAL)?;
        self.left = left;
        self.handed_on.0 += 1;
        self.handed_on.1 += u64::from(byte[0]);
        Ok(())
    }

    /// Takes the bytes off the chain and checks that nothing was lost or doubled; how many hand-ons
    /// there were.
    pub(crate) fn finish(self) -> anyhow::Result<u64> {
        let (mut count, mut sum) = (0, 0);
        for pair in &self.chain.pairs {
            let mut bytes = [0; 16];
            let len = match recv(&pair.reader, &mut bytes, RecvFlags::empty()) {
                Ok((len, _)) => len,
                Err(Errno::AGAIN) => continue,
                Err(errno) => return Err(errno.into()),
            };
            count += len as u64;
            sum += bytes[..len].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        let expected = (self.active.0 * self.turns, self.active.1 * self.turns);
        ensure!(
            self.handed_on == expected && (count, sum) == self.active,
            "numbers and sums of bytes: {:?} handed on, {expected:?} expected; {:?} left, {:?} sent",
            self.handed_on,
            (count, sum),
            self.active
        );
        Ok(self.handed_on.0)
    }
}
