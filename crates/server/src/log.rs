//! Logs on stderr. Threads put lines into a queue, and a thread of its own writes them, see `queue.rs`:
//! nobody else waits for the reader of the log.

mod queue;

use crate::escape::escaped;
use clap::ValueEnum;
use epoll_service::COUNTERS_TARGET;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use queue::{Queue, Report};
use std::backtrace::Backtrace;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{panic, thread};
use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The longest wait at exit for lines to be written. A reader that stands still takes none.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The filter of the subscriber, which may change.
type Filter = reload::Handle<Targets, Registry>;
static FILTER: OnceLock<Filter> = OnceLock::new();

/// The level that was asked for.
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::OFF);

/// Sends what is logged from now on to stderr, through a thread that is started here. It inherits the
/// signal mask, so signals must be blocked already.
///
/// # Errors
///
/// The thread cannot be started.
pub(crate) fn start(level: LevelFilter, format: LogFormat) -> io::Result<FlushOnDrop> {
    if QUEUE.get().is_none() {
        let queue = Queue::start(Stderr, reports(format))?;
        let queue = QUEUE.get_or_init(|| queue);
        *lock(&LEVEL) = level;
        let (dispatch, filter) = dispatch(level, format, move || queue);
        // Fails only in a program that has a subscriber of its own, which then gets the lines.
        let _ = dispatcher::set_global_default(dispatch);
        FILTER.get_or_init(|| filter);
    }
    Ok(FlushOnDrop(()))
}

/// Changes the level of what is logged.
pub(crate) fn set_level(level: LevelFilter) {
    *lock(&LEVEL) = level;
    if let Some(current) = FILTER.get() {
        // Fails only where the program has a subscriber of its own.
        let _ = current.reload(targets(level));
    }
}

/// Guard that waits at exit until the lines so far are written, for [`FLUSH_PATIENCE`] at most.
#[must_use = "lines are flushed when it is dropped"]
pub(crate) struct FlushOnDrop(());

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        flush(FLUSH_PATIENCE);
    }
}

/// Waits until the lines so far are written, for `patience` at most.
pub(crate) fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

/// Appends the number of lines that were dropped, as a metric.
pub(crate) fn write_metrics(text: &mut String) {
    const NAME: &str = "epoll_server_log_lines_dropped_total";
    let dropped = QUEUE.get().map_or(0, Queue::dropped);
    let help = "Log lines that were dropped because their reader was slow.";
    // A string takes everything.
    let _ = writeln!(text, "# HELP {NAME} {help}\n# TYPE {NAME} counter\n{NAME} {dropped}");
}

/// Prints a line on stderr: through the queue if it is started, so that it follows what was logged. Control
/// characters are escaped: the line may have names from outside in it.
pub(crate) fn print_line(line: &str) {
    let line = format!("{}\n", escaped(line));
    match QUEUE.get() {
        Some(queue) => queue.push(line.as_bytes()),
        // Nobody may be reading.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Logs panics from now on, with their backtraces, instead of having them printed.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let backtrace = Backtrace::force_capture();
        tracing::error!(thread = thread.name(), %backtrace, "{panic}");
    }));
}

/// Returns the targets that are logged at this level. Counters are logged on request unless nothing is logged at all.
fn targets(level: LevelFilter) -> Targets {
    let counters = if level == LevelFilter::OFF { level } else { level.max(LevelFilter::INFO) };
    Targets::new().with_default(level).with_target(COUNTERS_TARGET, counters)
}

/// Makes lines of `format` out of what is logged, and writes each to `lines` in one piece.
fn dispatch<W>(level: LevelFilter, format: LogFormat, lines: W) -> (Dispatch, Filter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (layer, filter) = reload::Layer::new(targets(level));
    let logs = Registry::default().with(layer);
    let lines = fmt::layer()
        .with_writer(lines)
        // It would report a stderr that is gone on stderr, and panic.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let dispatch = match format {
        LogFormat::Text => logs.with(lines).into(),
        LogFormat::Json => logs.with(lines.json().flatten_event(true)).into(),
    };
    (dispatch, filter)
}

/// Formats reports about dropped lines as any other line. They do not go through the queue: the thread
/// behind it, which makes them, writes them itself.
fn reports(format: LogFormat) -> impl Fn(Report) -> Vec<u8> + Send {
    move |report| {
        let formatted = Arc::new(Buffer::default());
        // Made when it is needed: as long as there are two, `tracing` asks both about a new call site.
        let (dispatch, _) = dispatch(*lock(&LEVEL), format, Arc::clone(&formatted));
        dispatcher::with_default(&dispatch, || match report {
            Report::Dropped(lines) => tracing::warn!(lines, "log lines were dropped"),
            Report::DroppedInAll(lines) => tracing::warn!(lines, "log lines were dropped in all"),
        });
        std::mem::take(&mut *lock(&formatted.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes in memory.
#[derive(Default)]
struct Buffer(Mutex<Vec<u8>>);

impl Write for &Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stderr, whose writes wait for room even if another process that has it too made it non-blocking.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr();
        loop {
            match stderr.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut writable = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut writable, PollTimeout::NONE)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
