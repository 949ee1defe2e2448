//! Frames as bytes, written without the library that the example uses, and a connection that is upgraded.

use crate::chat::{Chat, Line};
use crate::frame::Data;
use epoll_connection::ConnectionId;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_reactor::Token;

/// The handshake of RFC 6455, section 1.3.
pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUE: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8 | FIN;
pub(crate) const PING: u8 = 9 | FIN;
pub(crate) const PONG: u8 = 10 | FIN;

/// Returns the frame of a client, masked.
pub(crate) fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = server(first, payload);
    let header_len = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame
        .iter_mut()
        .skip(header_len)
        .zip(MASK.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
    frame.splice(header_len..header_len, MASK);
    frame
}

/// Returns the frame of a server, which is not masked.
pub(crate) fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..126), _) => frame.push(len),
        (_, Ok(len)) => {
            frame.push(126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// Returns the close frame that the server sends of itself.
pub(crate) fn closed_with(code: u16) -> Vec<u8> {
    server(CLOSE, &code.to_be_bytes())
}

/// Returns a connection whose peer reads everything, upgraded.
#[track_caller]
pub(crate) fn upgraded() -> Driver<Chat> {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(1 << 24));
    assert_eq!(reply(&mut driver, REQUEST.as_bytes()), RESPONSE.as_bytes());
    driver
}

/// Returns what is sent in answer to `input`.
#[track_caller]
pub(crate) fn reply(driver: &mut Driver<Chat>, input: &[u8]) -> Vec<u8> {
    sent_by(driver, |driver| driver.act(Act::Arrive(input.to_vec())))
}

/// Returns what is sent meanwhile.
#[track_caller]
pub(crate) fn sent_by(driver: &mut Driver<Chat>, act: impl FnOnce(&mut Driver<Chat>)) -> Vec<u8> {
    let before = driver.sent().len();
    act(driver);
    driver.sent()[before..].to_vec()
}

/// Returns a line that somebody else has said.
pub(crate) fn line(text: &str) -> Line {
    let from = ConnectionId::new(7, Token::detached(7));
    Line { from, data: Data::Text, bytes: text.as_bytes().to_vec() }
}
