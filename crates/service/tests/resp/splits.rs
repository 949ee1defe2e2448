//! Every split of the input, short writes, resets, drains and deadlines at every place.

use crate::protocol::{Local, Resp};
use crate::support::{array, limits, shared};
use crate::table::{MALFORMED, TABLE};
use epoll_connection::test_kit::{Exploration, explore};

#[track_caller]
fn assert_explored(input: &[u8]) {
    let local = || Local::new(shared(1));
    let exploration = Exploration::new(|| Resp::new(1), local).input(input).limits(limits());
    assert!(explore(&exploration) > 100);
}

#[test]
fn requests_are_answered_however_they_come() {
    assert_explored(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n");
    assert_explored(b"SET 'a b' \"\\x00\\n\"\r\nGET \"a b\"\n");
    assert_explored(b"PING\r\n*0\r\n\r\nQUIT\r\nPING\r\n");
    let words =
        ["SET k v EX 10", "MSET a 1 b 2", "MGET a k x b", "SUBSCRIBE x", "UNSUBSCRIBE", "INCR a"];
    assert_explored(&words.map(array).concat());
    assert_explored(b"SET k v PX 1\r\nSUBSCRIBE b a c\r\nPING\r\nUNSUBSCRIBE\r\nPTTL k\r\n");
}

#[test]
fn malformed_requests_are_refused_however_they_come() {
    for (input, _) in MALFORMED {
        assert_explored(&[b"PING\r\n", input.as_bytes()].concat());
    }
}

#[test]
fn the_whole_table_is_answered_however_it_comes() {
    // In parts, or every place would be tried with all that comes after it.
    for rows in TABLE.chunks(4) {
        let input: Vec<u8> = rows.iter().flat_map(|(words, _)| array(words)).collect();
        assert_explored(&input);
    }
}
