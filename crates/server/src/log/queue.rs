//! A bounded queue of log lines and the thread that writes them. Invariant: only that thread waits for
//! the reader of the lines; a line that does not fit is dropped and counted.
//!
//! `tracing-appender` has such a queue as well. Its guard prints to stdout if the queue is full at exit,
//! which panics or blocks if nobody reads that either, and it panics if its thread cannot be started.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

/// Lines that wait to be written.
const LINES_MAX: usize = 4096;

/// The pause between two attempts to flush a queue that is full.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

/// The end of the queue at which lines are put in.
pub(super) struct Queue {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// A report about lines that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// This many lines were dropped since the last such report.
    Dropped(u64),
    /// This many lines were dropped since the start.
    DroppedInAll(u64),
}

enum Message {
    Line(Vec<u8>),
    /// Asks for the reports that are due and for an answer.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread, which writes lines to `sink`, and what `format` makes of its reports.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        format: impl Fn(Report) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (messages, receiver) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            messages: receiver,
            sink,
            format,
            dropped: Arc::clone(&dropped),
            reported: 0,
            lines_since_report: 0,
        };
        Builder::new().name("log".to_owned()).spawn(|| writer.run())?;
        Ok(Self { messages, dropped })
    }

    /// Puts a line in, or drops and counts it.
    pub(super) fn push(&self, line: &[u8]) {
        if self.messages.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line so far is written, for `patience` at most. If any were dropped, their number
    /// is written too.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, flushed) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(returned)) = self.messages.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = returned;
            thread::sleep(FLUSH_RETRY);
        }
        // Too late or not, there is nothing left to be done.
        let _ = flushed.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Each write is a line.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread's end of the queue.
struct Writer<W, F> {
    messages: Receiver<Message>,
    sink: W,
    format: F,
    dropped: Arc<AtomicU64>,
    /// The number of dropped lines that were reported.
    reported: u64,
    lines_since_report: usize,
}

impl<W: Write, F: Fn(Report) -> Vec<u8>> Writer<W, F> {
    /// Writes until no other end of the queue is left.
    fn run(mut self) {
        while let Some(message) = self.next() {
            match message {
                Message::Line(line) => self.write_line(&line),
                Message::Flush(done) => {
                    self.report_dropped();
                    if self.reported > 0 {
                        self.write(&(self.format)(Report::DroppedInAll(self.reported)));
                    }
                    // Whoever asked has lost patience.
                    let _ = done.send(());
                }
            }
        }
    }

    fn next(&mut self) -> Option<Message> {
        self.messages.try_recv().ok().or_else(|| {
            // The queue is empty: there is room, and the gap is here.
            self.report_dropped();
            self.messages.recv().ok()
        })
    }

    fn write_line(&mut self, line: &[u8]) {
        self.write(line);
        self.lines_since_report += 1;
        // Lines that keep coming faster than they are read do not keep the report waiting, nor does it
        // take much of the room that they lack.
        if self.lines_since_report >= LINES_MAX {
            self.report_dropped();
        }
    }

    fn report_dropped(&mut self) {
        self.lines_since_report = 0;
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.reported {
            self.write(&(self.format)(Report::Dropped(dropped - self.reported)));
            self.reported = dropped;
        }
    }

    fn write(&mut self, line: &[u8]) {
        // Nobody may be reading; the service does not depend on it.
        let _ = self.sink.write_all(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A sink whose writes wait until the test takes the line.
    struct Gate(SyncSender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Queue, Receiver<Vec<u8>>) {
        let (gate, lines) = sync_channel(0);
        let format = |report| format!("{report:?}").into_bytes();
        (Queue::start(Gate(gate), format).unwrap(), lines)
    }

    #[track_caller]
    fn next(lines: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(lines.recv_timeout(PATIENCE).expect("a line")).unwrap()
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_the_count_follows_those_that_do() {
        let (queue, lines) = gated();
        // One line may be with the thread already.
        let count = 2 * LINES_MAX;
        (0..count).for_each(|number| queue.push(number.to_string().as_bytes()));
        let dropped = queue.dropped.load(Ordering::Relaxed);
        let kept = count - usize::try_from(dropped).unwrap();
        assert!((LINES_MAX..=LINES_MAX + 1).contains(&kept), "{kept}");
        (0..LINES_MAX).for_each(|number| assert_eq!(next(&lines), number.to_string()));
        let mut rest = vec![next(&lines)];
        if kept > LINES_MAX {
            // The report does not wait for the end of the queue if so many lines came before it.
            rest.push(next(&lines));
        }
        let report = format!("{:?}", Report::Dropped(dropped));
        assert_eq!(rest.iter().filter(|line| **line == report).count(), 1, "{rest:?}");
        queue.push(b"later");
        assert_eq!(next(&lines), "later");
    }

    #[test]
    fn a_flush_writes_every_line_and_how_many_were_dropped_in_all() {
        let (queue, lines) = gated();
        (0..2 * LINES_MAX).for_each(|_| queue.push(b"line"));
        let dropped = queue.dropped.load(Ordering::Relaxed);
        let reader = thread::spawn(move || lines.into_iter().collect::<Vec<_>>());
        queue.flush(PATIENCE);
        drop(queue);
        let lines = reader.join().unwrap();
        let last = format!("{:?}", Report::DroppedInAll(dropped));
        assert_eq!(lines.last().map(Vec::as_slice), Some(last.as_bytes()));
        assert_eq!(lines.len() as u64, 2 * LINES_MAX as u64 - dropped + 2);
    }

    #[test]
    fn nothing_is_said_of_lines_if_none_was_dropped() {
        let (queue, lines) = gated();
        queue.push(b"line");
        let reader = thread::spawn(move || lines.into_iter().collect::<Vec<_>>());
        queue.flush(PATIENCE);
        drop(queue);
        assert_eq!(reader.join().unwrap(), [b"line"]);
    }

    #[test]
    fn a_flush_gives_up_on_a_reader_that_stands_still() {
        let (queue, lines) = gated();
        queue.push(b"line");
        queue.flush(Duration::from_millis(10));
        (0..2 * LINES_MAX).for_each(|_| queue.push(b"line"));
        queue.flush(Duration::from_millis(10));
        drop(lines);
    }
}
