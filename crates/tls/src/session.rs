//! The records of one connection: rustls without buffers of its own.
//!
//! Rustls facts: (a) a handshake message may span records, whose bytes have to be shown again, as rustls left
//! them, until the message is complete; every call in between needs them too; (b) an error leaves an alert to
//! be encoded, and nothing else may be asked after it; (c) what it encodes is encrypted already, so it goes
//! out before what is encrypted later.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, InvalidMessage};
use std::ops::Deref;

/// The length of the header of a record.
const HEADER_LEN: usize = 5;
/// The length beyond which a record is refused, header aside.
const PAYLOAD_MAX: usize = 16 * 1024 + 2048;
/// The number of bytes of records that one handshake message may take.
const HANDSHAKE_MAX: usize = 64 * 1024;
/// An upper bound of the bytes that encryption adds to a record, of any version.
const OVERHEAD: usize = 64;

/// Returns the length of the record that `input` begins with, or that of the header while that is not complete.
///
/// A header that rustls refuses is a record by itself: rustls says what is wrong before more has to arrive.
pub(crate) fn record_len(input: &[u8]) -> usize {
    let Some(&[kind, major, _, high, low]) = input.first_chunk() else { return HEADER_LEN };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let is_known = (20..=24).contains(&kind) && major == 3;
    if is_known && len < PAYLOAD_MAX { HEADER_LEN + len } else { HEADER_LEN }
}

/// One side of a connection.
#[expect(clippy::large_enum_variant, reason = "nearly every connection is a server's")]
pub(crate) enum Side {
    Server(UnbufferedServerConnection),
    /// A client in a box of its own, so that servers do not pay for its length.
    Client(Box<UnbufferedClientConnection>),
    /// TLS has failed, or could not begin.
    Over,
}

/// The state of TLS of one connection.
pub(crate) struct Session {
    side: Side,
    /// The records of a handshake message that is not complete, as rustls left them.
    partial: Vec<u8>,
}

/// Calls a function with the side of a connection that goes on.
macro_rules! with_side {
    ($session:ident, $name:ident => $call:expr, $over:expr) => {
        match &mut $session.side {
            Side::Server($name) => $call,
            Side::Client($name) => {
                let $name = &mut **$name;
                $call
            }
            Side::Over => $over,
        }
    };
}

impl Session {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, partial: Vec::new() }
    }

    /// Returns what both sides have in common; `None` after the end.
    pub(crate) fn common(&self) -> Option<&CommonState> {
        match &self.side {
            Side::Server(server) => Some(server),
            Side::Client(client) => Some(client),
            Side::Over => None,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.side, Side::Over)
    }

    /// Forgets the keys.
    pub(crate) fn end(&mut self) {
        *self = Self::new(Side::Over);
    }

    /// Processes a record, or begins if that is empty: appends what is decrypted to `input`, and what has to be sent
    /// to `output`. Returns whether it was the peer's `close_notify`.
    ///
    /// # Errors
    ///
    /// The session has to be ended; the alert is in the output.
    pub(crate) fn receive(
        &mut self,
        record: &mut [u8],
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        if self.partial.is_empty() {
            let received =
                with_side!(self, side => receive(side, record, input, output), Err(over()));
            let (is_closed, used) = received?;
            self.partial.extend_from_slice(&record[used..]);
            return Ok(is_closed);
        }
        if self.partial.len() + record.len() > HANDSHAKE_MAX {
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        self.partial.extend_from_slice(record);
        let mut partial = std::mem::take(&mut self.partial);
        let received =
            with_side!(self, side => receive(side, &mut partial, input, output), Err(over()));
        let (is_closed, used) = received?;
        if used < partial.len() {
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(is_closed)
    }

    /// Encrypts `bytes`, after what had to be sent before.
    ///
    /// # Errors
    ///
    /// The session cannot send any more.
    pub(crate) fn send(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let partial = &mut self.partial;
        with_side!(self, side => send(side, partial, Some(bytes), output), Err(over()))
    }

    /// Sends the `close_notify`.
    ///
    /// # Errors
    ///
    /// Nothing can be sent: there is no session yet, or no longer.
    pub(crate) fn close(&mut self, output: &mut Vec<u8>) -> Result<(), Error> {
        let partial = &mut self.partial;
        with_side!(self, side => send(side, partial, None, output), Err(over()))
    }
}

fn over() -> Error {
    Error::General("the session is over".to_owned())
}

/// A connection of rustls, of either side.
trait Machine: Deref<Target: Deref<Target = CommonState>> {
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Machine for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Machine for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

/// Processes `records` until they say no more. Returns whether the peer has closed, and how many bytes are done with.
fn receive<M: Machine>(
    machine: &mut M,
    records: &mut [u8],
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<(bool, usize), Error> {
    let (mut is_closed, mut used) = (false, 0);
    loop {
        let UnbufferedStatus { mut discard, state } = machine.process(&mut records[used..]);
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    input.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(output, 0, |room| data.encode(room).map_err(|error| encode_error(&error)))?;
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => is_closed = true,
            // No early data is accepted, see `TlsConfig`.
            Ok(ConnectionState::ReadEarlyData(_)) => return Err(over()),
            Ok(_) => return Ok((is_closed, used + discard)),
            Err(error) => {
                encode_alert(machine, &mut records[used + discard..], output);
                return Err(error);
            }
        }
        used += discard;
    }
}

/// Encodes what an error has left to be sent, and no more: after an error nothing may be decrypted.
fn encode_alert<M: Machine>(machine: &mut M, records: &mut [u8], output: &mut Vec<u8>) {
    while machine.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = machine.process(records).state else {
            return;
        };
        if append(output, 0, |room| data.encode(room).map_err(|error| encode_error(&error)))
            .is_err()
        {
            return;
        }
    }
}

/// Encrypts `bytes`, or the `close_notify`.
fn send<M: Machine>(
    machine: &mut M,
    partial: &mut [u8],
    bytes: Option<&[u8]>,
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    loop {
        // With the bytes of a partial message, which are all processed: rustls counts on them.
        match machine.process(partial).state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let len = bytes.map_or(0, |bytes| bytes.len() + bytes.len() / 200);
                return append(output, len + OVERHEAD, |room| {
                    let written = match bytes {
                        Some(bytes) => traffic.encrypt(bytes, room),
                        None => traffic.queue_close_notify(room),
                    };
                    written.map_err(|error| encrypt_error(&error))
                });
            }
            ConnectionState::EncodeTlsData(mut data) => {
                append(output, 0, |room| data.encode(room).map_err(|error| encode_error(&error)))?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            _ => return Err(over()),
        }
    }
}

/// Appends to `output` what `write` writes, into at least `room` bytes. It fails with the number of bytes that it
/// needs, if it could do with more.
fn append(
    output: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let start = output.len();
    loop {
        output.resize(start + room, 0);
        match write(&mut output[start..]) {
            Ok(written) => {
                output.truncate(start + written);
                return Ok(());
            }
            Err(Some(required)) if required > room => room = required,
            Err(_) => {
                output.truncate(start);
                return Err(Error::EncryptError);
            }
        }
    }
}

fn encode_error(error: &EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(error) => Some(error.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn encrypt_error(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(error) => Some(error.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_after_its_payload() {
        assert_eq!(record_len(&[]), 5);
        assert_eq!(record_len(&[22, 3, 1, 2]), 5);
        assert_eq!(record_len(&[22, 3, 1, 2, 1]), 5 + 513);
        assert_eq!(record_len(&[23, 3, 3, 0, 0, 23, 3]), 5);
        assert_eq!(record_len(&[20, 3, 3, 0x47, 0xff]), 5 + PAYLOAD_MAX - 1);
    }

    #[test]
    fn a_header_that_rustls_refuses_is_a_record_by_itself() {
        for header in [[19, 3, 3, 9, 9], [25, 3, 3, 9, 9], [22, 2, 0, 9, 9], [22, 3, 3, 0x48, 0]] {
            assert_eq!(record_len(&header), 5, "{header:?}");
            assert_eq!(record_len(&[&header[..], &[0; 9]].concat()), 5, "{header:?}");
        }
    }
}
