//! Frames: what a client may send, which is known before the payload has come, and what it is sent.

use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
pub(crate) use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// A frame whose header has arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: OpCode,
    pub(crate) is_final: bool,
    mask: [u8; 4],
    /// The length of the header.
    pub(crate) start: usize,
    /// The length with the payload.
    pub(crate) end: usize,
}

impl Frame {
    /// Parses the header of a frame, whose data may have `room` bytes; `None` if it is not complete.
    ///
    /// # Errors
    ///
    /// The code to close with.
    pub(crate) fn parse(input: &[u8], room: usize) -> Result<Option<Self>, CloseCode> {
        let mut cursor = Cursor::new(input);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| CloseCode::Protocol)?;
        let Some((header, len)) = parsed else { return Ok(None) };
        let start = header.len(len);
        // A length has to be written the short way, and a client has to mask.
        let is_shortest = cursor.position() == start as u64;
        let mask = header.mask.filter(|_| is_shortest).ok_or(CloseCode::Protocol)?;
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let has_reserved_bit = header.rsv1 || header.rsv2 || header.rsv3;
        if has_reserved_bit || (is_control && (len > 125 || !header.is_final)) {
            return Err(CloseCode::Protocol);
        }
        let room = if is_control { 125 } else { room };
        let len = usize::try_from(len).ok().filter(|len| *len <= room).ok_or(CloseCode::Size)?;
        let FrameHeader { opcode, is_final, .. } = header;
        Ok(Some(Self { opcode, is_final, mask, start, end: start + len }))
    }

    /// Unmasks the payload in place.
    pub(crate) fn unmask(&self, payload: &mut [u8]) {
        // Eight bytes at a time, which compilers turn into vectors.
        let [a, b, c, d] = self.mask;
        for bytes in payload.chunks_mut(8) {
            bytes.iter_mut().zip([a, b, c, d, a, b, c, d]).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

/// Writes a whole frame as a server does, without a mask.
pub(crate) fn write(opcode: OpCode, payload: &[u8], output: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a vector cannot fail.
    let _ = header.format(payload.len() as u64, output);
    output.extend_from_slice(payload);
}
