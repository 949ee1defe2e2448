//! Handshakes and what else comes over HTTP.

use crate::chat::{Chat, HANDSHAKE_TIMEOUT};
use crate::support::{FIN, REQUEST, RESPONSE, TEXT, client, reply, sent_by, server};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use std::time::Duration;

fn connected() -> Driver<Chat> {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(1 << 24));
    driver
}

/// Asserts that a request is answered with this status and headers, and that the connection is over then.
#[track_caller]
fn assert_refused(request: &str, status: &str, headers: &[&str]) {
    let mut driver = connected();
    let answer = String::from_utf8(reply(&mut driver, request.as_bytes())).unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
    for header in headers {
        assert!(answer.contains(&format!("\r\n{header}\r\n")), "{request}\n{answer}");
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
    assert!(driver.is_output_closed());
    driver.act(Act::Fin);
    assert_eq!(driver.closed(), Some(CloseReason::Finished));
}

/// Asserts that the request of the RFC with a change is refused.
#[track_caller]
fn assert_change_is_refused(from: &str, to: &str, status: &str, headers: &[&str]) {
    assert!(REQUEST.contains(from), "{from}");
    assert_refused(&REQUEST.replace(from, to), status, headers);
}

#[test]
fn the_handshake_of_the_rfc_is_answered() {
    for change in [
        ("", ""),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("/chat", "/chat?room=1"),
        ("Version: 13", "Version:13  "),
        (
            "Origin",
            "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a\r\nOrigin",
        ),
    ] {
        let request = REQUEST.replacen(change.0, change.1, 1);
        assert_eq!(reply(&mut connected(), request.as_bytes()), RESPONSE.as_bytes(), "{request}");
    }
}

#[test]
fn frames_may_come_with_the_handshake() {
    let input = [REQUEST.as_bytes(), &client(TEXT | FIN, b"early")].concat();
    let answer = reply(&mut connected(), &input);
    assert_eq!(answer, [RESPONSE.as_bytes(), &server(TEXT | FIN, b"early")].concat());
}

#[test]
fn the_page_is_served() {
    let page = include_str!("../../examples/websocket/page.html");
    let mut driver = connected();
    let answer = reply(&mut driver, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(answer.ends_with(page));
    assert_refused("GET /?a HTTP/1.0\r\n\r\n", "200", &[]);
}

#[test]
fn what_is_no_handshake_is_refused_with_426() {
    let wanted = ["Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: upgraded"),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
    ] {
        assert_change_is_refused(from, to, "426", &wanted);
    }
}

#[test]
fn a_handshake_with_faults_is_refused_with_400() {
    for (from, to) in [
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQAA"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXB!ZSBub25jZQ=="),
        ("Origin", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin"),
        ("Host: server.example.com\r\n", ""),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2"),
        ("Host:", "Ho st:"),
        ("Origin:", "\0:"),
    ] {
        assert_change_is_refused(from, to, "400", &[]);
    }
    assert_refused("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", "400", &[]);
}

#[test]
fn other_methods_and_paths_are_refused() {
    for method in ["POST", "HEAD", "OPTIONS", "get"] {
        assert_change_is_refused("GET", method, "405", &["Allow: GET"]);
        assert_refused(&format!("{method} / HTTP/1.1\r\n\r\n"), "405", &["Allow: GET"]);
    }
    assert_change_is_refused("/chat", "/chats", "404", &[]);
    assert_refused("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n", "404", &[]);
}

#[test]
fn a_request_is_bounded() {
    let long = format!("Origin: {}\r\nOrigin", "a".repeat(10_000));
    assert_change_is_refused("Origin", &long, "431", &[]);
    let many = format!("{}Origin", "A: b\r\n".repeat(100));
    assert_change_is_refused("Origin", &many, "431", &[]);
    // Without an end.
    assert_refused(&REQUEST.replace("Origin", &long)[..9000], "431", &[]);
}

#[test]
fn a_request_that_does_not_come_is_refused_with_408() {
    let mut driver = connected();
    assert_eq!(reply(&mut driver, &REQUEST.as_bytes()[..100]), b"");
    assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(HANDSHAKE_TIMEOUT / 2)), b"");
    // A byte now and then does not help.
    assert_eq!(reply(&mut driver, &REQUEST.as_bytes()[100..101]), b"");
    let wait = HANDSHAKE_TIMEOUT / 2 + Duration::from_millis(1);
    let answer = sent_by(&mut driver, |driver| driver.pass_time(wait));
    assert!(answer.starts_with(b"HTTP/1.1 408 "));
    assert!(driver.is_output_closed());
}
