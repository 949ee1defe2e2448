//! The command line: what is printed, error messages, and the exit status.

mod args;

use crate::hdr_log::HdrLog;
use crate::progress::ProgressLine;
use crate::{Outcome, Plan, Report, Thresholds, Update, json};
use args::Args;
use clap::{CommandFactory, Parser};
use std::io::{self, Write};
use std::process::ExitCode;

/// 128 and the number of SIGINT, as in shells.
const INTERRUPTED: u8 = 130;

/// Returns the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs the program with the process's arguments.
///
/// The exit status is 0 when every request was answered with the right bytes, or when no more failed than was
/// allowed, 1 when anything else failed, 2 when the command line is wrong, and 130 when the run was
/// interrupted and nothing had failed until then.
#[must_use]
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.exit_code() == 0 => {
            // Help or the version, on stdout; a reader that has closed it is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&one_line(&error.to_string())),
    };
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(message) => return refuse(&format!("error: {message}")),
    };
    let mut line = ProgressLine::new(&plan, args.live);
    let outcome = measure(&args, &plan, &mut line);
    line.clear();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // A script that reads the object finds one in any case.
            let printed = match Outcome::of_failure(&plan, &error) {
                Ok(outcome) if args.json => print(&args, &plan, &outcome),
                _ => Ok(()),
            };
            eprint_line(&format!("error: {error:#}"));
            return printed.map_or_else(|status| status, |()| ExitCode::FAILURE);
        }
    };
    match print(&args, &plan, &outcome) {
        Ok(()) => status(&outcome, &args.thresholds()),
        Err(status) => status,
    }
}

/// Carries out the plan, shows its progress and writes the log.
fn measure(args: &Args, plan: &Plan, line: &mut ProgressLine) -> anyhow::Result<Outcome> {
    let mut log = args.hdr.as_deref().map(HdrLog::create).transpose()?;
    let outcome = crate::run(plan, |update| match update {
        Update::Progress(progress) => line.show(&progress),
        Update::Interval(interval) => {
            line.interval(interval);
            if let Some(log) = &mut log {
                log.add(interval);
            }
        }
    });
    // The error of the run says more than that of the log.
    let written = log.map_or(Ok(()), HdrLog::finish);
    let outcome = outcome?;
    written?;
    Ok(outcome)
}

fn refuse(message: &str) -> ExitCode {
    eprint_line(message);
    ExitCode::from(2)
}

/// Prints a line to stderr. Errors are ignored: nobody may be reading.
fn eprint_line(message: &str) {
    // A host or a path may contain a line break.
    let message = message.replace(char::is_control, "?");
    let _ = writeln!(io::stderr(), "epoll-load: {message}");
}

/// Returns the message of the command-line parser without its usage hints.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Prints the report; an exit status if that fails.
fn print(args: &Args, plan: &Plan, outcome: &Outcome) -> Result<(), ExitCode> {
    let report = Report { plan, outcome };
    let series = || args.interval.map_or_else(String::new, |_| report.series());
    let text = match args.json {
        true => format!("{}\n", json::object(&report, &args.thresholds())),
        false => format!("{report}\n{}", series()),
    };
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        eprint_line(&format!("error: failed to write the report: {error}"));
        ExitCode::FAILURE
    })
}

/// Returns the exit status of a run, with a line on stderr unless it went well.
fn status(outcome: &Outcome, thresholds: &Thresholds) -> ExitCode {
    let failed = thresholds.failed(&outcome.stats);
    let interrupted = if outcome.is_interrupted { "interrupted; " } else { "" };
    if !failed.is_empty() {
        eprint_line(&format!("error: {interrupted}{}", failed.join("; ")));
        return ExitCode::FAILURE;
    }
    match outcome.stats.first_failure() {
        Some(first) if thresholds.errors_max.is_none() => {
            let count = outcome.stats.failures_sum();
            eprint_line(&format!("error: {interrupted}{count} errors; the first: {first}"));
            ExitCode::FAILURE
        }
        _ if outcome.is_interrupted => {
            eprint_line("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        _ => ExitCode::SUCCESS,
    }
}
