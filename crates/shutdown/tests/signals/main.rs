//! Signals, as a process sees them. Each test runs in a process of its own whose only thread is the
//! one that runs it, because masks belong to threads and what is pending belongs to the process.
//!
//! It takes a filter, `--exact` and `--list`, as other tests do, and prints what they print.

mod blocking;
mod children;
mod ignored;
mod overlapping;
mod reading;
mod refusals;
mod support;
mod waiting;
mod watching;

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

/// Names the test that a process is there for.
const VARIABLE: &str = "EPOLL_KIT_TEST_CHILD";

/// The longest time that a test may take. Tests that pass need a fraction of it.
const DEADLINE: Duration = Duration::from_secs(120);

type Test = (&'static str, fn());

/// Lists functions with the names that they are known by.
macro_rules! tests {
    ($($module:ident::$name:ident,)*) => {
        const TESTS: &[Test] =
            &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*];
    };
}

tests! {
    refusals::signals_that_cannot_be_caught,
    refusals::signals_that_report_a_fault,
    refusals::a_thread_that_leaves_a_signal_unblocked,
    refusals::a_refusal_unblocks_nothing_that_was_blocked_before,
    refusals::without_proc_other_threads_are_not_checked,
    refusals::other_errors_of_proc_name_the_file,
    reading::a_signal_names_its_sender,
    reading::epoll_reports_a_signal_until_it_is_read,
    reading::a_storm_coalesces_and_kills_nobody,
    reading::a_signal_that_was_pending_before_the_descriptor_is_read,
    reading::real_time_signals_come_one_by_one_with_their_values,
    waiting::a_wait_takes_what_is_there_whatever_the_timeout,
    waiting::a_wait_ends_with_the_timeout,
    waiting::a_signal_ends_a_wait_of_another_thread,
    waiting::an_interrupted_wait_keeps_its_deadline,
    waiting::a_wait_that_lacks_memory_is_an_error,
    waiting::a_read_that_fails_is_an_error_and_not_the_absence_of_a_signal,
    waiting::several_threads_share_what_comes,
    waiting::a_signal_for_one_thread_comes_to_that_thread_alone,
    ignored::what_was_ignored_stays_ignored,
    ignored::what_was_ignored_is_reported_where_that_is_asked_for,
    ignored::refusals_come_before_what_is_ignored,
    blocking::dropping_restores_the_mask,
    blocking::dropping_leaves_a_pending_signal_blocked,
    blocking::threads_started_afterwards_inherit_the_mask,
    blocking::nothing_else_of_the_process_changes,
    blocking::a_descriptor_is_lent_raw_for_other_event_loops,
    overlapping::the_older_may_be_dropped_first,
    overlapping::a_value_may_be_replaced_by_assignment,
    overlapping::a_signal_left_pending_is_unblocked_by_the_next_after_it_was_read,
    overlapping::dropped_by_another_thread_it_unblocks_nothing,
    children::a_child_begins_with_the_mask_from_before,
    children::a_child_begins_with_the_mask_from_before_the_first_guard,
    children::a_child_of_another_thread_begins_with_the_mask_from_before,
    children::a_child_with_the_former_mask_ends_with_a_signal_also_while_draining,
    children::another_child_inherits_the_blocked_signals,
    watching::a_phase_wakes_threads_that_wait,
    watching::the_last_to_finish_wakes_the_event_loop_of_the_owner,
}

fn main() -> ExitCode {
    if let Some(name) = env::var_os(VARIABLE) {
        let (_, test) = TESTS.iter().find(|(known, _)| name == *known).expect("a known test");
        test();
        return ExitCode::SUCCESS;
    }
    let wanted = Wanted::from_arguments(env::args().skip(1));
    let (chosen, others): (Vec<_>, Vec<_>) =
        TESTS.iter().map(|(name, _)| *name).partition(|name| wanted.has(name));
    if wanted.list {
        chosen.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    run_all(&chosen, others.len())
}

fn run_all(names: &[&'static str], filtered_out: usize) -> ExitCode {
    let start = Instant::now();
    println!("\nrunning {} tests", names.len());
    let mut failures = Vec::new();
    for name in names {
        match run(name) {
            Ok(()) => println!("test {name} ... ok"),
            Err(output) => {
                println!("test {name} ... FAILED");
                failures.push((name, output));
            }
        }
    }
    for (name, output) in &failures {
        println!("\n---- {name} ----\n{output}");
    }
    let failed = failures.len();
    println!(
        "\ntest result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; \
         {filtered_out} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        names.len() - failed,
        start.elapsed().as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// Runs a test in a process of its own. The error is what it printed if it fails.
fn run(name: &str) -> Result<(), String> {
    // A shell starts background jobs with signals ignored, and what runs the tests may be one.
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(env::current_exe().map_err(|error| error.to_string())?);
    command.env(VARIABLE, name).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let printed = printed_by(&mut child);
    let has_ended = printed.as_ref().is_some_and(Result::is_ok);
    if !has_ended {
        // It is our child and not waited for, so the id is still its own.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match printed {
        Some(Ok(_)) if status.success() => Ok(()),
        Some(Ok(text)) => Err(format!("{status}\n{text}")),
        _ => Err(format!("not over within {DEADLINE:?}")),
    }
}

/// Returns the child's stderr when it ends, which closes the pipe, or an error at the deadline.
fn printed_by(child: &mut Child) -> Option<Result<String, mpsc::RecvTimeoutError>> {
    let mut stderr = child.stderr.take()?;
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        // Nobody listens any more after the deadline.
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    Some(printed.recv_timeout(DEADLINE))
}

/// The tests that the command line asks for.
#[derive(Default)]
struct Wanted {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
}

impl Wanted {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                "--skip" => wanted.skipped.extend(arguments.next()),
                // Tests run one after another, and the lines have one form.
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    arguments.next();
                }
                // No test is ignored.
                "--ignored" => wanted.skipped.push(String::new()),
                flag if flag.starts_with('-') => {}
                _ => wanted.filters.push(argument),
            }
        }
        wanted
    }

    fn has(&self, name: &str) -> bool {
        let fits = |filter: &String| {
            if self.exact { name == *filter } else { name.contains(filter.as_str()) }
        };
        let is_chosen = self.filters.is_empty() || self.filters.iter().any(fits);
        is_chosen && !self.skipped.iter().any(|part| name.contains(part.as_str()))
    }
}
