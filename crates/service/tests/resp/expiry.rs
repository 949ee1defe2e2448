//! Keys whose time has come.

use crate::support::{Client, shared};
use epoll_connection::test_kit::Act;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_key_is_gone_when_its_time_is_over() {
    for threads in [1, 2] {
        let mut client = Client::of(&shared(threads));
        client.ask("SET k v PX 50");
        client.driver.pass_time(50 * MILLISECOND);
        client.assert_answers("PTTL k", ":0\r\n");
        client.assert_answers("GET k", "$1\r\nv\r\n");
        client.driver.pass_time(MILLISECOND);
        // Before anybody has swept.
        client.assert_answers("DBSIZE", ":1\r\n");
        for (command, reply) in [
            ("GET k", "$-1\r\n"),
            ("EXISTS k", ":0\r\n"),
            ("TTL k", ":-2\r\n"),
            ("SET k v XX", "$-1\r\n"),
            ("SET k w NX GET PX 50", "$-1\r\n"),
        ] {
            client.assert_answers(command, reply);
        }
        client.driver.pass_time(51 * MILLISECOND);
        client.assert_answers("INCR k", ":1\r\n");
        client.assert_answers("PTTL k", ":-1\r\n");
    }
}

#[test]
fn keys_that_nobody_asks_for_are_removed_in_bounded_steps() {
    let mut client = Client::new();
    for at in 0..1000 {
        client.ask(&format!("SET k{at} v PX 10"));
    }
    client.ask("SET k v");
    client.ask("SET later v EX 1000");
    client.driver.pass_time(99 * MILLISECOND);
    client.assert_answers("DBSIZE", ":1002\r\n");
    client.driver.pass_time(MILLISECOND);
    client.assert_answers("DBSIZE", ":938\r\n");
    for _ in 0..15 {
        client.driver.pass_time(MILLISECOND);
    }
    client.assert_answers("DBSIZE", ":2\r\n");
    client.driver.pass_time(Duration::from_secs(2000));
    client.driver.pass_time(Duration::from_secs(1));
    client.assert_answers("DBSIZE", ":1\r\n");
}

#[test]
fn somebody_sweeps_for_as_long_as_keys_expire() {
    let shared = shared(2);
    let (mut one, mut other) = (Client::of(&shared), Client::of(&shared));
    one.ask("SET k v PX 10");
    other.ask("PING");
    // The second one need not, until the first one is gone.
    other.driver.pass_time(Duration::from_secs(1));
    other.assert_answers("DBSIZE", ":1\r\n");
    one.driver.act(Act::Fin);
    other.ask("PING");
    other.driver.pass_time(Duration::from_secs(1));
    other.assert_answers("DBSIZE", ":0\r\n");
    // Nothing expires, so no timer is set.
    let before = other.driver.timer_changes();
    other.driver.pass_time(Duration::from_secs(100));
    other.ask("SET k v");
    assert_eq!(other.driver.timer_changes(), before);
    other.ask("PEXPIRE k 1000");
    other.driver.pass_time(Duration::from_secs(2));
    other.assert_answers("DBSIZE", ":0\r\n");
}

#[test]
fn a_key_that_is_set_anew_is_not_removed_for_what_it_was() {
    let mut client = Client::new();
    for command in [
        "SET k v PX 10",
        "SET k v",
        "SET l v PX 10",
        "PERSIST l",
        "SET m v PX 10",
        "DEL m",
        "INCR m",
    ] {
        client.ask(command);
    }
    client.ask("SET n v PX 10");
    client.ask("PEXPIRE n 500");
    client.driver.pass_time(300 * MILLISECOND);
    client.assert_answers("DBSIZE", ":4\r\n");
    client.assert_answers("PTTL n", ":200\r\n");
    client.ask("FLUSHALL");
    client.ask("SET n v");
    client.driver.pass_time(300 * MILLISECOND);
    client.driver.pass_time(300 * MILLISECOND);
    client.assert_answers("GET n", "$1\r\nv\r\n");
}
