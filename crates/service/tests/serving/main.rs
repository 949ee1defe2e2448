//! Servers in all modes, and real clients. Each test runs in a process of its own whose first thread blocks
//! signals and serves, because masks belong to threads and signals to the process.
//!
//! It takes a filter, `--exact` and `--list`, as other tests do, and prints what they print.

#![forbid(unsafe_code)]

mod calls;
mod deadlines;
mod draining;
mod faults;
mod handles;
mod limits;
mod messages;
mod outgoing;
mod script;
mod support;

use epoll_kit_testing::output_of;
use std::env;
use std::panic::AssertUnwindSafe;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Names the test that a process is there for.
const VARIABLE: &str = "EPOLL_KIT_TEST_CHILD";

/// How long a test may take; those that pass need a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

type Test = (&'static str, fn());

/// Lists functions with the names that they are known by.
macro_rules! tests {
    ($($module:ident::$name:ident,)*) => {
        const TESTS: &[Test] =
            &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*];
    };
}

tests! {
    messages::they_reach_connections_of_any_thread_in_order,
    messages::a_broadcast_reaches_everybody_once,
    messages::a_handle_reaches_connections_from_outside,
    messages::one_to_a_connection_that_is_gone_is_dropped,
    messages::two_that_answer_one_another_for_ever_starve_nobody,
    messages::those_for_a_connection_in_other_hands_arrive_once,
    messages::a_full_mailbox_is_an_error_and_nothing_else_breaks,
    calls::twenty_lines_to_many_receivers_are_one_send_each,
    calls::sixteen_requests_in_a_segment_are_one_read_and_one_send,
    calls::a_pause_that_ends_before_more_arrives_changes_no_registration,
    calls::a_later_deadline_sets_no_timer,
    outgoing::both_ends_see_a_connection_from_its_opening_to_its_close,
    outgoing::a_refused_one_is_told_to_its_protocol,
    outgoing::one_that_is_never_answered_times_out,
    outgoing::one_beyond_the_limit_is_told_to_its_protocol,
    faults::a_panic_closes_its_connection_and_no_other,
    faults::a_panic_in_a_broadcast_keeps_it_from_nobody_else,
    faults::a_panic_of_the_service_makes_no_connection,
    faults::a_panic_during_the_drain_keeps_nobody_from_finishing,
    faults::a_panic_of_a_connection_that_is_cut_ends_nothing_else,
    faults::a_thread_that_cannot_begin_ends_the_server,
    faults::misuse_closes_its_connection_and_no_other,
    deadlines::one_fires_once_and_never_early,
    deadlines::one_set_on_opening_counts_from_the_opening,
    deadlines::one_goes_with_idle_timeouts,
    draining::everybody_is_told_once,
    draining::a_connection_in_other_hands_is_told_once,
    draining::a_paused_connection_gets_its_answer,
    draining::a_half_closed_connection_that_keeps_quiet_is_finished,
    draining::one_that_is_being_established_is_given_up_at_half_time,
    draining::what_is_cut_is_counted,
    limits::connections_beyond_the_maximum_are_refused,
    limits::a_connection_that_is_declined_is_closed_and_counted,
    limits::a_message_longer_than_may_be_kept_ends_its_connection,
    limits::every_listener_has_its_protocol_and_every_thread_its_state,
    handles::a_server_without_an_address_serves_until_a_signal,
    handles::one_can_be_used_before_and_after_the_server,
}

fn main() -> ExitCode {
    if let Ok(name) = env::var(VARIABLE) {
        let Some((_, test)) = TESTS.iter().find(|(known, _)| *known == name) else {
            return ExitCode::FAILURE;
        };
        test();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> = env::args().skip(1).collect();
    let is_exact = arguments.iter().any(|argument| argument == "--exact");
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |name: &str| {
        let matches =
            |filter: &&String| if is_exact { name == **filter } else { name.contains(&***filter) };
        filters.is_empty() || filters.iter().any(matches)
    };
    let chosen = TESTS.iter().map(|(name, _)| *name).filter(|name| is_chosen(name));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for name in chosen {
        let is_passed = passes(name);
        println!("test {name} ... {}", if is_passed { "ok" } else { "FAILED" });
        *(if is_passed { &mut passed } else { &mut failed }) += 1;
    }
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" }
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a test in a process of its own, and prints what it has printed if it fails.
fn passes(name: &str) -> bool {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.env(VARIABLE, name);
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| output_of(&mut command, PATIENCE)));
    match ran {
        Ok(Ok(output)) if output.status.success() => true,
        Ok(Ok(output)) => {
            println!("{}:", output.status);
            println!("{}", String::from_utf8_lossy(&output.stdout));
            println!("{}", String::from_utf8_lossy(&output.stderr));
            false
        }
        // It has said so already.
        Ok(Err(_)) | Err(_) => false,
    }
}
