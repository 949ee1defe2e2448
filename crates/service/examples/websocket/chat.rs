//! The protocol of a connection: an HTTP request, then frames in both directions, then a close frame from
//! each side.

use crate::frame::{self, CloseCode, Control, Data, Frame, OpCode};
use crate::handshake::{self, Answer};
use epoll_connection::{ConnectionId, Consumed, Context, Flow, Protocol};
use std::str;
use std::time::Duration;

/// The length of the longest message, in one frame or in many.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;
/// A peer that leaves more than this unread is dropped. It gets no close frame, which it would find only
/// behind all that it does not read, while the memory has to be free now.
pub(crate) const PENDING_MAX: usize = 256 * 1024;
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is quiet for so long is sent a ping.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(30);
/// The time for an answer to a ping, or to a close frame.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The context of a callback here.
type Surroundings<'a> = Context<'a, (), Line>;

/// A message to all.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) from: ConnectionId,
    pub(crate) data: Data,
    pub(crate) bytes: Vec<u8>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Handshake,
    Open,
    /// Open, and a ping is sent to which nothing has come since.
    Pinged,
    /// Our close frame is sent: nothing may follow it.
    Closing,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    phase: Phase,
    /// A message of which there is more to come.
    fragments: Option<Box<Message>>,
}

/// A message, as far as it has come.
#[derive(Debug)]
struct Message {
    data: Data,
    bytes: Vec<u8>,
    /// The number of bytes that are known to be UTF-8.
    checked: usize,
}

impl Message {
    /// Appends a fragment. A character may be split between two.
    fn append(&mut self, fragment: &[u8], is_final: bool) -> Result<(), CloseCode> {
        self.bytes.extend_from_slice(fragment);
        if self.data == Data::Text {
            self.checked += match str::from_utf8(&self.bytes[self.checked..]) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() && !is_final => error.valid_up_to(),
                Err(_) => return Err(CloseCode::Invalid),
            };
        }
        Ok(())
    }
}

impl Chat {
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Pinged)
    }

    fn shake_hands(&mut self, input: &[u8], context: &mut Surroundings<'_>) -> Consumed {
        match handshake::answer(input) {
            Answer::Wait => Consumed::nothing(),
            Answer::End(response) => {
                context.write(response.as_bytes());
                Consumed::bytes(input.len()).then(Flow::Finish)
            }
            Answer::Upgrade { head_len, response } => {
                context.write(response.as_bytes());
                self.phase = Phase::Open;
                context.set_deadline(Some(QUIET_MAX));
                Consumed::bytes(head_len)
            }
        }
    }

    /// Sends our close frame, once. `None` is an answer to one without a code.
    fn close(&mut self, code: Option<CloseCode>, context: &mut Surroundings<'_>) {
        if self.is_open() {
            let code = code.map(|code| u16::from(code).to_be_bytes());
            let payload = code.as_ref().map_or(&[][..], |code| code);
            frame::write(OpCode::Control(Control::Close), payload, context.output());
            (self.phase, self.fragments) = (Phase::Closing, None);
        }
    }

    /// Takes a whole frame.
    fn take(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        context: &mut Surroundings<'_>,
    ) -> Result<Flow, CloseCode> {
        match frame.opcode {
            OpCode::Control(Control::Close) => {
                let code = close_code(payload)?;
                self.close(code, context);
                return Ok(Flow::Finish);
            }
            // After our close frame, nothing but the peer's matters.
            _ if self.phase == Phase::Closing => return Ok(Flow::Keep),
            OpCode::Control(Control::Ping) => {
                frame::write(OpCode::Control(Control::Pong), payload, context.output());
            }
            OpCode::Control(_) => {}
            OpCode::Data(data) => self.take_data(data, frame.is_final, payload, context)?,
        }
        self.phase = Phase::Open;
        // Moves no timer: the deadline only becomes later.
        context.set_deadline(Some(QUIET_MAX));
        Ok(Flow::Keep)
    }

    fn take_data(
        &mut self,
        data: Data,
        is_final: bool,
        payload: &[u8],
        context: &mut Surroundings<'_>,
    ) -> Result<(), CloseCode> {
        let mut message = match (data, self.fragments.take()) {
            (Data::Continue, Some(message)) => *message,
            (Data::Text | Data::Binary, None) => Message { data, bytes: Vec::new(), checked: 0 },
            _ => return Err(CloseCode::Protocol),
        };
        message.append(payload, is_final)?;
        if is_final {
            let Message { data, bytes, .. } = message;
            // At once, not by the broadcast: a close frame may be the next in the input.
            frame::write(OpCode::Data(data), &bytes, context.output());
            context.broadcast(Line { from: context.id(), data, bytes });
        } else {
            self.fragments = Some(Box::new(message));
        }
        Ok(())
    }
}

/// Returns the code of a close frame, which may have none.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, CloseCode> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(CloseCode::Protocol) };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(CloseCode::Protocol);
    }
    str::from_utf8(reason).map(|_| Some(code)).map_err(|_| CloseCode::Invalid)
}

impl Protocol for Chat {
    type Local = ();
    type Message = Line;

    fn on_open(&mut self, context: &mut Surroundings<'_>) -> Flow {
        context.set_deadline(Some(HANDSHAKE_TIMEOUT));
        Flow::Keep
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Surroundings<'_>) -> Consumed {
        if self.phase == Phase::Handshake {
            return self.shake_hands(input, context);
        }
        let kept = self.fragments.as_ref().map_or(0, |message| message.bytes.len());
        let taken = Frame::parse(input, MESSAGE_MAX - kept).and_then(|frame| {
            let Some(frame) = frame else { return Ok(Consumed::nothing()) };
            let Some(payload) = input.get_mut(frame.start..frame.end) else {
                return Ok(Consumed::need(frame.end));
            };
            frame.unmask(payload);
            Ok(Consumed::bytes(frame.end).then(self.take(&frame, payload, context)?))
        });
        taken.unwrap_or_else(|code| {
            self.close(Some(code), context);
            Consumed::bytes(input.len()).then(Flow::Finish)
        })
    }

    fn on_message(&mut self, line: &Line, context: &mut Surroundings<'_>) -> Flow {
        if !self.is_open() || line.from == context.id() {
            return Flow::Keep;
        }
        if context.pending() > PENDING_MAX {
            return Flow::Abort;
        }
        frame::write(OpCode::Data(line.data), &line.bytes, context.output());
        Flow::Keep
    }

    fn on_deadline(&mut self, context: &mut Surroundings<'_>) -> Flow {
        match self.phase {
            Phase::Handshake => {
                context.write(handshake::refusal("408 Request Timeout", "").as_bytes());
                Flow::Finish
            }
            Phase::Open => {
                frame::write(OpCode::Control(Control::Ping), &[], context.output());
                self.phase = Phase::Pinged;
                context.set_deadline(Some(ANSWER_TIMEOUT));
                Flow::Keep
            }
            Phase::Pinged => {
                self.close(Some(CloseCode::Policy), context);
                Flow::Finish
            }
            Phase::Closing => Flow::Finish,
        }
    }

    fn on_drain(&mut self, context: &mut Surroundings<'_>) -> Flow {
        if self.is_open() {
            self.close(Some(CloseCode::Away), context);
            context.set_deadline(Some(ANSWER_TIMEOUT));
        }
        Flow::Keep
    }

    /// The close frame of the peer is awaited until the deadline.
    fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    fn on_finish(&mut self, context: &mut Surroundings<'_>) {
        // The service ends the connection, or the peer left without a word.
        self.close(Some(CloseCode::Away), context);
    }
}
