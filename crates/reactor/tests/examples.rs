//! The examples, run as anybody would run them: each ends by itself, finds what it claims to be so,
//! and prints its table.

use epoll_kit_testing::Examples;

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

#[test]
fn a_level_is_reported_until_it_is_dry() {
    EXAMPLES.assert_prints("level", &["3 1 4 0", "4 0 0 0", "bytes that nobody reads 10"]);
}

#[test]
fn an_edge_is_reported_once() {
    EXAMPLES.assert_prints(
        "edge",
        &["level reads four 3 3 12 0", "edge reads four 1 1 4 8", "edge reads until dry 1 4 12 0"],
    );
}

#[test]
fn a_oneshot_source_is_in_one_hand_and_costs_a_call() {
    EXAMPLES.assert_prints(
        "oneshot",
        &["reports to the second until it lets go 0", "reports to the second after that 1"],
    );
}

#[test]
fn an_exclusive_registration_wakes_one() {
    EXAMPLES.assert_prints("exclusive", &["ordinary 20 20", "exclusive 20 0"]);
}

#[test]
fn a_half_close_keeps_every_byte() {
    EXAMPLES.assert_prints(
        "half_close",
        &["echoes all, closes 1000 end of stream", "echoes half, closes 500 connection reset"],
    );
}

#[test]
fn a_budget_lets_the_quiet_peers_through() {
    EXAMPLES.assert_prints("starvation", &["the quiet peers wait for 64 times less"]);
}

#[test]
fn an_event_does_not_reach_a_newcomer() {
    EXAMPLES.assert_prints("stale", &["reported 1", "dropped as stale 1"]);
}

#[test]
fn a_lost_datagram_is_sent_again() {
    EXAMPLES.assert_prints(
        "dns",
        &[
            "known.example 192.0.2.1",
            "slow.example 192.0.2.2",
            "lost.example server failure",
            "malformed queries that were dropped 1",
        ],
    );
}

#[test]
fn connections_are_handed_over() {
    EXAMPLES.assert_prints("handoff", &["message 2 MESSAGE 2"]);
}
