//! Conversations in every split, with pauses of the peer, interruptions, resets, drains, ends, deadlines
//! and messages of others at every place.

use crate::chat::Chat;
use crate::support::{BINARY, CLOSE, CONTINUE, FIN, PING, REQUEST, TEXT, client, line};
use epoll_connection::Limits;
use epoll_connection::test_kit::{Exploration, explore};
use std::num::NonZeroUsize;

/// The shortest handshake, so that frames are as many of the places as possible.
const SHORT: &str = "GET /chat HTTP/1.1\nHost:a\nUpgrade:websocket\nConnection:Upgrade\n\
    Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version:13\n\n";

#[track_caller]
fn assert_same_in_every_split(input: &[u8]) {
    let messages = || vec![line("from another"), line("and another")];
    let exploration = Exploration::new(Chat::default, || ()).input(input).messages(messages());
    assert!(explore(&exploration) > 12 * input.len());
    // A buffer that holds no frame: each is asked for by its length, and kept by the connection.
    let read_buffer_len = NonZeroUsize::new(input.len()).unwrap();
    let limits = Limits { read_buffer_len, output_max: 8, step_bytes_max: 64, ..Limits::default() };
    let exploration = Exploration::new(Chat::default, || ()).input(input).messages(messages());
    assert!(explore(&exploration.limits(limits)) > 12 * input.len());
}

#[track_caller]
fn assert_frames_are_same_in_every_split(frames: &[Vec<u8>]) {
    assert_same_in_every_split(&[SHORT.as_bytes(), &frames.concat()].concat());
}

#[test]
fn a_conversation_is_the_same() {
    assert_frames_are_same_in_every_split(&[
        client(TEXT | FIN, "gr\u{fc}n".as_bytes()),
        client(PING, b"?"),
        client(TEXT, b"\xe1\xbd"),
        client(PING, b""),
        client(CONTINUE, b""),
        client(FIN, b"\xb9"),
        client(BINARY | FIN, &[0xff; 130]),
        client(CLOSE, b"\x03\xe8bye"),
    ]);
}

#[test]
fn one_without_an_end_is_the_same() {
    assert_frames_are_same_in_every_split(&[client(PING, b"1"), client(TEXT | FIN, b"2")]);
}

#[test]
fn faults_are_the_same() {
    let text = client(TEXT | FIN, b"fine");
    let unmasked = vec![0x81, 0x01, b'x'];
    let invalid = client(TEXT | FIN, b"\xff");
    let huge = vec![0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for fault in [unmasked, invalid, huge, client(3 | FIN, b""), client(CLOSE, b"\x03")] {
        assert_frames_are_same_in_every_split(&[text.clone(), fault, text.clone()]);
    }
}

#[test]
fn a_refusal_is_the_same() {
    assert_same_in_every_split(REQUEST.replace("/chat", "/other").as_bytes());
    assert_same_in_every_split(b"GET /chat HTTP/1.1\r\n\x01\x02\x03\r\n\r\n");
}
