//! Requests that are no requests, and lengths that lie.

use crate::support::{Client, array, connect, request, shared};
use crate::table::MALFORMED;
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Trigger};

#[track_caller]
fn assert_refused(input: &[u8], text: &str) {
    let mut client = Client::new();
    let reply = client.send(&[&array("PING"), input, &array("PING")].concat());
    assert_eq!(reply, format!("+PONG\r\n-ERR Protocol error: {text}\r\n"));
    client.driver.act(Act::Fin);
    assert_eq!(client.driver.closed(), Some(CloseReason::Finished));
}

#[test]
fn they_are_answered_with_the_text_of_redis_and_a_close() {
    for (input, text) in MALFORMED {
        assert_refused(input.as_bytes(), text);
    }
    // Where redis takes what comes, or says nothing.
    assert_refused(b"*1048577\r\n", "invalid multibulk length");
    assert_refused(b"*1\n$4\r\nPING\r\n", "invalid multibulk length");
    assert_refused(b"*1\r\n$4\nPING\r\n", "invalid bulk length");
    assert_refused(b"*1\r\n$3\r\nPING\r\n", "invalid bulk length");
    assert_refused(b"*1\r\n$0000000000000000000000000000004\r\nPING\r\n", "invalid bulk length");
}

#[test]
fn a_line_without_an_end_is_refused() {
    assert_refused(&[b'x'; 64 * 1024], "too big inline request");
    assert_refused(&[b"*".as_slice(), &[b'1'; 40]].concat(), "invalid multibulk length");
    assert_refused(&[b"*1\r\n$".as_slice(), &[b'1'; 40]].concat(), "invalid bulk length");
}

#[test]
fn an_announced_length_takes_no_memory_before_it_arrives() {
    for request in
        ["*2\r\n$4\r\nECHO\r\n$536870912\r\n", "*1000000\r\n$536870912\r\n", "*1048576\r\n"]
    {
        let mut client = Client::new();
        assert_eq!(client.send(request.as_bytes()), "");
        let (_, _, _, kept) = client.driver.counts();
        assert!(kept <= request.len());
        // It may still come.
        assert_eq!(client.driver.closed(), None);
        client.driver.act(Act::Fin);
        assert_eq!(client.driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_long_value_is_asked_for_by_its_length() {
    let value = vec![b'v'; 3 << 20];
    for trigger in [Trigger::Level, Trigger::Edge] {
        let shared = shared(1);
        let mut driver = connect(trigger, &shared);
        driver.act(Act::Room(1000));
        let set = request(&[b"SET", &b"k"[..], &value]);
        for piece in set.chunks(100_000) {
            driver.act(Act::Arrive(piece.to_vec()));
        }
        assert_eq!(driver.sent(), b"+OK\r\n");
        // No more than a read is copied for each piece: what is kept is not shown before it is long enough.
        driver.act(Act::Arrive(array("GET k")));
        driver.act(Act::Arrive(array("PING")));
        let (_, _, pending, kept) = driver.counts();
        assert!(pending <= 2 * 64 * 1024, "{pending} bytes of a long reply wait");
        assert_eq!(kept, 0);
        assert_eq!(driver.sent().len(), 1000);
        driver.act(Act::Room(value.len() + 100));
        let reply = [b"+OK\r\n$3145728\r\n", &value[..], b"\r\n+PONG\r\n"].concat();
        assert!(driver.sent() == reply);
    }
}

#[test]
fn many_arguments_are_taken_as_they_arrive() {
    let mut arguments = vec![b"MSET".to_vec()];
    for at in 0..40_000 {
        arguments.push(format!("key{at}").into_bytes());
        arguments.push(format!("value{at}").into_bytes());
    }
    let mut client = Client::new();
    for piece in request(&arguments).chunks(1000) {
        client.driver.act(Act::Arrive(piece.to_vec()));
        let (_, _, _, kept) = client.driver.counts();
        assert!(kept < 4096 + 1000, "{kept} bytes are kept");
    }
    assert_eq!(client.received(), "+OK\r\n");
    client.assert_answers("DBSIZE", ":40000\r\n");
    client.assert_answers("MGET key39999 key0", "*2\r\n$10\r\nvalue39999\r\n$6\r\nvalue0\r\n");
}

#[test]
fn a_long_array_that_turns_out_malformed_is_refused() {
    let arguments = [b"MSET".to_vec(), vec![b'k'; 5000], vec![b'v'; 9000]];
    let mut input = request(&arguments);
    let at = input.len() - 9000 - 9;
    input[at] = b'?';
    for cut in [1, 5000, 5040, 14_000] {
        let mut client = Client::new();
        client.driver.act(Act::Arrive(input[..cut].to_vec()));
        client.driver.act(Act::Arrive(input[cut..].to_vec()));
        assert_eq!(client.received(), "-ERR Protocol error: expected '$', got '?'\r\n");
    }
}

#[test]
fn a_value_of_a_long_array_is_asked_for_by_its_length() {
    let (one, other) = (vec![b'1'; 5000], vec![b'2'; 9000]);
    let input = request(&[b"MSET", &b"a"[..], &one, b"b", &other]);
    for cuts in [[5100, 5200], [6000, 14_000], [20, 5060]] {
        let mut client = Client::new();
        client.driver.act(Act::Arrive(input[..cuts[0]].to_vec()));
        client.driver.act(Act::Arrive(input[cuts[0]..cuts[1]].to_vec()));
        assert_eq!(client.send(&input[cuts[1]..]), "+OK\r\n", "cut at {cuts:?}");
        assert_eq!(client.ask("GET b").len(), 9000 + 9);
    }
}

#[test]
fn many_values_are_not_written_before_they_are_taken() {
    let mut driver = connect(Trigger::Level, &shared(1));
    driver.act(Act::Room(10));
    // Just too short for a long reply.
    driver.act(Act::Arrive(request(&[b"SET", &b"k"[..], &vec![b'v'; 60_000]])));
    driver.act(Act::Arrive(array("GET k").repeat(64)));
    let (_, _, pending, _) = driver.counts();
    assert!(pending < 64 * 1024 + 60_010, "{pending} bytes wait");
}
