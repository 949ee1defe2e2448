//! Bytes that a connection has read and its socket does not accept yet.

use std::io::{self, Write};

/// Bytes to be sent before anything more is read. Owns memory only while there are any.
#[derive(Debug, Default)]
pub struct Unsent {
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    /// Returns whether there are no bytes to send.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// Sends `bytes`, and keeps what the socket does not take. Nothing may have been kept before.
    /// `false`: something was kept, and the socket is full.
    ///
    /// # Errors
    ///
    /// What the socket gives, but for [`WouldBlock`](io::ErrorKind::WouldBlock).
    #[inline]
    pub fn send(&mut self, socket: impl Write, bytes: &[u8]) -> io::Result<bool> {
        debug_assert!(self.is_empty());
        let sent = write(socket, bytes)?;
        if sent < bytes.len() {
            self.keep(&bytes[sent..]);
        }
        Ok(sent == bytes.len())
    }

    #[cold]
    fn keep(&mut self, bytes: &[u8]) {
        self.kept = Some(Box::new(Kept { bytes: bytes.to_vec(), sent: 0 }));
    }

    /// Sends the kept bytes. `false`: some of them are left, and the socket is full.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    #[cold]
    pub fn flush(&mut self, socket: impl Write) -> io::Result<bool> {
        let Some(kept) = &mut self.kept else { return Ok(true) };
        kept.sent += write(socket, &kept.bytes[kept.sent..])?;
        if kept.sent < kept.bytes.len() {
            return Ok(false);
        }
        self.kept = None;
        Ok(true)
    }
}

/// Writes, and returns how many bytes the socket took. If it is full, these are fewer than `bytes`.
#[inline]
fn write(mut socket: impl Write, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes, then none, then three, and so on.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        is_full: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.is_full = !self.is_full;
            if !self.is_full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let len = bytes.len().min(3);
            self.taken.extend(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_taken_is_kept_and_sent_in_order() {
        let (mut unsent, mut socket) = (Unsent::default(), Narrow::default());
        assert!(!unsent.send(&mut socket, b"abcdefgh").unwrap());
        while !unsent.flush(&mut socket).unwrap() {
            assert!(!unsent.is_empty());
        }
        assert!(unsent.is_empty());
        assert_eq!(socket.taken, b"abcdefgh");
    }
}
