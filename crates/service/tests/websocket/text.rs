//! Text is UTF-8, wherever it is cut: section 6 of the Autobahn test suite.

use crate::cases::assert_answer;
use crate::support::{BINARY, CONTINUE, FIN, PING, PONG, TEXT, client, closed_with, server};

const VALID: &[&str] = &[
    "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{10fffd}\u{10ffff}",
];

const INVALID: &[&[u8]] = &[
    // Surrogates, alone and in pairs.
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    // Longer than needed.
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    // Beyond the last character, and lengths that are none any more.
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    // Out of place.
    b"\x80",
    b"\xbf",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
];

#[test]
fn valid_text_comes_back_wherever_it_is_cut() {
    for text in VALID {
        let text = text.as_bytes();
        let back = server(TEXT | FIN, text);
        assert_answer(&[client(TEXT | FIN, text)], std::slice::from_ref(&back));
        for cut in 0..=text.len() {
            let (start, end) = text.split_at(cut);
            let frames = [client(TEXT, start), client(PING, b""), client(FIN, end)];
            assert_answer(&frames, &[server(PONG, b""), back.clone()]);
        }
        let mut bytes: Vec<_> = text.chunks(1).map(|byte| client(CONTINUE, byte)).collect();
        bytes[0][0] = TEXT;
        bytes.push(client(FIN, b""));
        assert_answer(&bytes, &[back]);
    }
}

#[test]
fn invalid_text_is_refused_with_1007() {
    for text in INVALID {
        assert_answer(&[client(TEXT | FIN, text)], &[closed_with(1007)]);
        for cut in 0..=text.len() {
            let frames = [client(TEXT, &text[..cut]), client(FIN, &text[cut..])];
            assert_answer(&frames, &[closed_with(1007)]);
        }
        // Binary messages may have any bytes.
        assert_answer(&[client(BINARY | FIN, text)], &[server(BINARY | FIN, text)]);
    }
}

#[test]
fn invalid_text_is_refused_with_its_fragment() {
    for text in INVALID {
        let frames = [client(TEXT, b"good"), client(CONTINUE, &[text, &b"x"[..]].concat())];
        assert_answer(&frames, &[closed_with(1007)]);
    }
}

#[test]
fn text_must_not_end_within_a_character() {
    for text in ["\u{b5}", "\u{1f79}", "\u{10ffff}"] {
        let text = text.as_bytes();
        for cut in 1..text.len() {
            assert_answer(&[client(TEXT | FIN, &text[..cut])], &[closed_with(1007)]);
            let frames = [client(TEXT, &text[..cut]), client(FIN, b"")];
            assert_answer(&frames, &[closed_with(1007)]);
            // So far it might become one.
            assert_answer(&[client(TEXT, &text[..cut])], &[]);
        }
    }
}
