//! Frames and what becomes of them: the examples of RFC 6455, and the cases of the Autobahn test suite, by
//! whose sections the tests are named. A chat sends everybody their own messages too, so it answers that
//! suite as an echo does.

use crate::chat::MESSAGE_MAX;
use crate::support::{
    BINARY, CLOSE, CONTINUE, FIN, PING, PONG, TEXT, client, closed_with, reply, server, upgraded,
};
use epoll_connection::test_kit::Act;

/// Asserts what frames are answered with, in one piece and byte by byte, and whether the connection is
/// over then: it is after a close frame, and after nothing else.
#[track_caller]
pub(crate) fn assert_answer(frames: &[Vec<u8>], answers: &[Vec<u8>]) {
    let (input, expected) = (frames.concat(), answers.concat());
    let is_over = answers.last().is_some_and(|frame| frame[0] == CLOSE);
    let longest = if input.len() > 4096 { 4001 } else { 1 };
    for piece_len in [input.len(), longest] {
        let mut driver = upgraded();
        let mut sent = Vec::new();
        for piece in input.chunks(piece_len) {
            sent.extend(reply(&mut driver, piece));
        }
        assert_eq!(sent, expected, "{piece_len} bytes at a time");
        assert_eq!(driver.is_output_closed(), is_over);
        // The peer closes the connection when it has the server's close frame.
        driver.act(Act::Fin);
        assert!(driver.closed().is_some());
    }
}

#[track_caller]
fn assert_protocol_error(frames: &[Vec<u8>]) {
    assert_answer(frames, &[closed_with(1002)]);
}

fn data(kind: u8, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (client(kind | FIN, payload), server(kind | FIN, payload))
}

#[test]
fn the_examples_of_the_rfc_are_understood() {
    let hello = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let unmasked = vec![0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(client(TEXT | FIN, b"Hello"), hello);
    assert_answer(&[hello], std::slice::from_ref(&unmasked));
    assert_protocol_error(&[unmasked]);
    let ping = vec![0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_answer(&[ping], &[vec![0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]]);
    let parts = [client(TEXT, b"Hel"), client(FIN, b"lo")];
    assert_answer(&parts, &[vec![0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]]);
}

#[test]
fn section_1_messages_of_every_length_come_back() {
    for len in [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, MESSAGE_MAX] {
        let payload: Vec<_> = (0..127).cycle().take(len).collect();
        for kind in [TEXT, BINARY] {
            let (sent, back) = data(kind, &payload);
            assert_answer(&[sent.clone(), sent], &[back.clone(), back]);
        }
    }
}

#[test]
fn section_2_pings_are_answered_in_order_and_pongs_are_not() {
    for len in [0, 1, 125] {
        let payload = vec![0xfe; len];
        assert_answer(&[client(PING, &payload)], &[server(PONG, &payload)]);
    }
    let pings: Vec<_> = (0..10).map(|at| client(PING, &[at])).collect();
    let pongs: Vec<_> = (0..10).map(|at| server(PONG, &[at])).collect();
    assert_answer(&pings, &pongs);
    let unasked = client(PONG, b"unasked");
    assert_answer(&[unasked.clone(), client(PING, b"1")], &[server(PONG, b"1")]);
    assert_answer(&[unasked], &[]);
}

#[test]
fn section_2_control_frames_have_at_most_125_bytes() {
    for kind in [PING, PONG, CLOSE] {
        for len in [126, 65_536] {
            // Known from the header: no payload is awaited.
            let frame = client(kind, &vec![3; len]);
            assert_protocol_error(&[frame[..frame.len() - len].to_vec()]);
        }
    }
}

#[test]
fn section_3_reserved_bits_are_refused() {
    let (sent, back) = data(TEXT, b"before");
    for bits in 1..8 {
        for kind in [TEXT | FIN, BINARY | FIN, TEXT, PING, CLOSE] {
            let frame = client(kind | bits << 4, b"");
            assert_answer(&[sent.clone(), frame], &[back.clone(), closed_with(1002)]);
        }
    }
}

#[test]
fn section_4_reserved_opcodes_are_refused() {
    let (sent, back) = data(TEXT, b"before");
    for opcode in (3..8).chain(11..16) {
        let refused = [back.clone(), closed_with(1002)];
        assert_answer(&[sent.clone(), client(opcode | FIN, b""), sent.clone()], &refused);
        assert_answer(&[sent.clone(), client(opcode, b"data")], &refused);
    }
}

#[test]
fn section_5_fragments_are_joined_with_control_frames_between() {
    for kind in [TEXT, BINARY] {
        let whole = server(kind | FIN, b"onetwothree");
        let [one, two, three] =
            [client(kind, b"one"), client(CONTINUE, b"two"), client(FIN, b"three")];
        let frames = [one.clone(), two.clone(), three.clone()];
        assert_answer(&frames, std::slice::from_ref(&whole));
        let ping = client(PING, b"!");
        let pong = server(PONG, b"!");
        let frames = [one, ping.clone(), two, client(PONG, b""), ping, three];
        assert_answer(&frames, &[pong.clone(), pong, whole]);
        let empty = [client(kind, b""), client(CONTINUE, b""), client(FIN, b"")];
        assert_answer(&empty, &[server(kind | FIN, b"")]);
    }
}

#[test]
fn section_5_fragments_out_of_order_are_refused() {
    assert_protocol_error(&[client(PING & !FIN, b"")]);
    assert_protocol_error(&[client(PONG & !FIN, b"")]);
    assert_protocol_error(&[client(CLOSE & !FIN, b"")]);
    assert_protocol_error(&[client(FIN, b"nothing to go on with")]);
    assert_protocol_error(&[client(CONTINUE, b"nothing to go on with")]);
    for kind in [TEXT | FIN, TEXT, BINARY | FIN, BINARY] {
        assert_protocol_error(&[client(TEXT, b"begun"), client(kind, b"another")]);
    }
    let frames = [client(TEXT, b"a"), client(FIN, b"b"), client(CONTINUE, b"c")];
    assert_answer(&frames, &[server(TEXT | FIN, b"ab"), closed_with(1002)]);
}

#[test]
fn a_close_frame_between_fragments_is_taken() {
    let frames = [client(TEXT, b"begun"), client(CLOSE, &1000_u16.to_be_bytes())];
    assert_answer(&frames, &[closed_with(1000)]);
}

#[test]
fn a_message_that_is_too_long_is_refused_before_it_has_come() {
    let whole = client(BINARY | FIN, &vec![0; MESSAGE_MAX + 1]);
    assert_answer(&[whole[..14].to_vec()], &[closed_with(1009)]);
    let (half, rest) = (vec![1; MESSAGE_MAX / 2], vec![2; MESSAGE_MAX / 2 + 1]);
    let last = client(FIN, &rest);
    let header = last[..last.len() - rest.len()].to_vec();
    let ping = client(PING, &[0; 125]);
    let frames = [client(BINARY, &half), client(CONTINUE, &half), ping.clone(), client(FIN, b"")];
    let pong = server(PONG, &[0; 125]);
    let whole = server(BINARY | FIN, &[&half[..], &half[..]].concat());
    assert_answer(&frames, &[pong, whole]);
    assert_answer(&[client(BINARY, &half), header], &[closed_with(1009)]);
    // The largest that can be written down.
    for first in [0x7f, 0xff] {
        let mut huge = vec![BINARY | FIN, 0xff, first];
        huge.extend([0xff; 7 + 4]);
        assert_answer(&[huge], &[closed_with(1009)]);
    }
}

#[test]
fn a_length_that_is_not_written_the_short_way_is_refused() {
    for frame in [
        vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0],
        vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
    ] {
        assert_protocol_error(&[frame]);
    }
}

#[test]
fn every_mask_is_taken_off_at_every_length() {
    for len in 0..40_usize {
        let payload: Vec<u8> = (1..100).take(len).collect();
        let mask = [0x01, 0x80, 0xff, 0x10];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut frame = vec![BINARY | FIN, 0x80 | u8::try_from(len).unwrap()];
        frame.extend(mask);
        frame.extend(masked);
        assert_answer(&[frame], &[server(BINARY | FIN, &payload)]);
    }
}
