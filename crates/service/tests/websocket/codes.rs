//! The codes of close frames: section 7 of the Autobahn test suite.

use crate::cases::assert_answer;
use crate::support::{CLOSE, FIN, PING, TEXT, client, closed_with, server};

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    client(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn a_close_frame_is_answered_with_its_code() {
    let known = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013];
    for code in known.into_iter().chain([3000, 3999, 4000, 4999]) {
        assert_answer(&[close(code, b"")], &[closed_with(code)]);
        assert_answer(&[close(code, "f\u{fc}r immer".as_bytes())], &[closed_with(code)]);
        assert_answer(&[close(code, &[b'*'; 123])], &[closed_with(code)]);
    }
}

#[test]
fn one_without_a_code_is_answered_with_one_without() {
    assert_answer(&[client(CLOSE, b"")], &[server(CLOSE, b"")]);
}

#[test]
fn a_code_that_must_not_be_sent_is_refused() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_answer(&[close(code, b"")], &[closed_with(1002)]);
    }
    assert_answer(&[client(CLOSE, &[3])], &[closed_with(1002)]);
}

#[test]
fn a_reason_has_to_be_text() {
    for reason in [&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80"[..], b"\xe2\x82"] {
        assert_answer(&[close(1000, reason)], &[closed_with(1007)]);
    }
}

#[test]
fn what_was_said_before_a_close_frame_is_sent_before_it() {
    let frames = [client(TEXT | FIN, b"last"), close(1000, b"")];
    assert_answer(&frames, &[server(TEXT | FIN, b"last"), closed_with(1000)]);
}

#[test]
fn nothing_after_a_close_frame_matters() {
    for late in
        [client(PING, b"late"), client(TEXT | FIN, b"late"), close(1001, b""), vec![0xff; 20]]
    {
        assert_answer(&[close(1000, b""), late.clone(), late], &[closed_with(1000)]);
    }
}
