//! Logs on stderr.

use clap::ValueEnum;
use std::backtrace::Backtrace;
use std::io::{self, IsTerminal};
use std::{panic, thread};
use tracing::level_filters::LevelFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Sends what is logged from now on to stderr.
pub(crate) fn start(level: LevelFilter, format: LogFormat) {
    let logs = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        // It would report a stderr that is gone on stderr, and panic.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    // Only a second call fails, and then logs go where the first one sent them.
    let _ = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}

/// Logs panics from now on, with their backtraces, instead of having them printed.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let backtrace = Backtrace::force_capture();
        tracing::error!(thread = thread.name(), %backtrace, "{panic}");
    }));
}
