//! The examples, run as anybody would run them: each ends by itself, finds what it claims to be so,
//! and prints its table.

#![forbid(unsafe_code)]

use epoll_kit_testing::Examples;

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

#[test]
fn what_came_went_back() {
    EXAMPLES.assert_prints("echo", &["30 bytes came and went back"]);
}

#[test]
fn an_edge_needs_no_read() {
    EXAMPLES.assert_prints("eventfd", &["written once, then never 10 1"]);
}

#[test]
fn a_duplicate_keeps_the_registration() {
    EXAMPLES.assert_prints("duplicate", &["a duplicate is made 1 1"]);
}
