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

#[test]
fn the_timelines_are_those_of_the_manual() {
    EXAMPLES.assert_prints("timelines", &["T5 the program waits again 50 IN blocks"]);
}

#[test]
fn a_one_shot_report_takes_the_events_out_of_the_entry() {
    EXAMPLES.assert_prints(
        "interest_list",
        &["the one-shot one is reported 1=ONESHOT 2=IN|OUT|ERR|HUP"],
    );
}

#[test]
fn every_mistake_has_its_symptom_and_its_cure() {
    EXAMPLES
        .assert_prints("mistakes", &["not read until dry 4 of 12 bytes read 12 of 12 bytes read"]);
}

#[test]
fn each_flag_does_what_the_table_says() {
    EXAMPLES.assert_prints("flags", &["EXCLUSIVE with ONESHOT refused EINVAL"]);
}

#[test]
fn three_interfaces_echo_the_same_for_different_work() {
    EXAMPLES.assert_prints("three_loops", &["poll 50 2500 2500 250", "epoll 50 50 50 250"]);
}
