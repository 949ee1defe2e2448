//! The replies of single commands.

use crate::support::{Client, array, request, shared};
use crate::table::TABLE;
use epoll_connection::CloseReason;
use epoll_connection::test_kit::Act;
use std::time::Duration;

#[test]
fn commands_are_answered_as_by_redis() {
    for threads in [1, 2] {
        for form in [array, |words: &str| format!("{words}\r\n").into_bytes()] {
            let mut client = Client::of(&shared(threads));
            // The largest number is a time that does not overflow at the beginning of the clock.
            client.driver.pass_time(Duration::from_secs(1));
            for (words, reply) in TABLE {
                assert_eq!(client.send(&form(words)), *reply, "{words}");
            }
            client.driver.act(Act::Fin);
            assert_eq!(client.driver.closed(), Some(CloseReason::Finished));
        }
    }
}

#[test]
fn version_2_is_spoken_and_version_3_refused() {
    let mut client = Client::new();
    client.assert_answers("HELLO 3", "-NOPROTO unsupported protocol version\r\n");
    let hello = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n\
        $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n\
        *0\r\n";
    client.assert_answers("HELLO", hello);
    client.assert_answers("hello 2 setname me", hello);
    client.assert_answers("CLIENT GETNAME", "$2\r\nme\r\n");
    let refused = client.send(b"CLIENT SETNAME \"a b\"\r\n");
    assert!(refused.starts_with("-ERR Client names cannot contain spaces"), "{refused}");
}

#[test]
fn clients_learn_about_the_server() {
    let mut client = Client::new();
    client.assert_answers("CLIENT ID", ":1\r\n");
    client.assert_answers("CLIENT SETINFO lib-name me", "+OK\r\n");
    client.assert_answers("CLIENT SETINFO x me", "-ERR Unrecognized option 'x'\r\n");
    client.assert_answers("COMMAND DOCS", "*0\r\n");
    let count = client.ask("COMMAND COUNT");
    let commands = client.ask("COMMAND");
    assert_eq!(commands.split("\r\n").next(), Some(&*format!("*{}", count[1..].trim())));
    assert!(
        commands
            .contains("*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n")
    );
    assert!(client.ask("CONFIG GET *").starts_with("*10\r\n"));
    client.ask("SET a 1");
    client.ask("SET b 1 EX 10");
    let info = client.ask("INFO");
    assert!(info.contains("# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\n"), "{info}");
    assert!(info.contains("\r\nconnected_clients:1\r\n"), "{info}");
    assert!(!client.ask("INFO server").contains("Keyspace"));
}

#[test]
fn nothing_is_answered_with_nothing() {
    let mut client = Client::new();
    assert_eq!(client.send(b"\r\n\n*0\r\n*-1\r\n  \t \r\n"), "");
    client.assert_answers("PING", "+PONG\r\n");
}

#[test]
fn quoted_words_are_unescaped() {
    let mut client = Client::new();
    assert_eq!(client.send(b"ECHO \"a b\\n\\x41\\\"\\q\"\r\n"), "$7\r\na b\nA\"q\r\n");
    assert_eq!(client.send(b"ECHO 'it\\'s \\n'\n"), "$7\r\nit's \\n\r\n");
    assert_eq!(client.send(b"  ECHO  \"\"  \r\n"), "$0\r\n\r\n");
    assert_eq!(client.send(b"E\"CHO\" x\r\n"), "$1\r\nx\r\n");
}

#[test]
fn values_may_be_any_bytes() {
    let mut client = Client::new();
    let value: Vec<u8> = (0..=255).collect();
    client.send(&request(&[&b"SET"[..], b"\r\n\0", &value]));
    let before = client.driver.sent().len();
    client.send(&request(&[&b"GET"[..], b"\r\n\0"]));
    let sent = client.driver.sent();
    assert_eq!(&sent[before..], [b"$256\r\n", &value[..], b"\r\n"].concat());
}

#[test]
fn a_line_break_does_not_end_an_error() {
    let mut client = Client::new();
    let reply = client.send(b"\"a\\r\\nb\" \"c\\nd\"\r\n");
    assert_eq!(reply, "-ERR unknown command 'a  b', with args beginning with: 'c d' \r\n");
}

#[test]
fn an_error_shows_a_part_of_what_is_long() {
    let mut client = Client::new();
    let reply = client.ask(&format!("{} {} b", "x".repeat(500), "a".repeat(500)));
    let (x, a) = ("x".repeat(128), "a".repeat(128));
    assert_eq!(reply, format!("-ERR unknown command '{x}', with args beginning with: '{a}' \r\n"));
}

#[test]
fn sixteen_commands_of_a_segment_are_one_read_and_one_send() {
    let mut client = Client::new();
    client.ask("SET k v");
    let before = client.driver.calls();
    let replies = client.send(&array("GET k").repeat(16));
    assert_eq!(replies, "$1\r\nv\r\n".repeat(16));
    assert_eq!(client.driver.calls() - before, 2);
}

#[test]
fn a_browser_gets_no_answer() {
    for request in ["POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n", "Host: x\r\nSET k v\r\n"] {
        let shared = shared(1);
        assert_eq!(Client::of(&shared).send(request.as_bytes()), "");
        Client::of(&shared).assert_answers("EXISTS k", ":0\r\n");
    }
}
