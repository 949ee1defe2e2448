//! The live line on standard error: on a terminal it is overwritten at every update and erased at the end,
//! elsewhere it is a line for each interval.

use crate::pacing::Until;
use crate::plan::Plan;
use crate::series::Interval;
use crate::threads::Progress;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Erases from the cursor to the end of the line.
const ERASE: &str = "\x1b[K";

pub(crate) struct ProgressLine {
    is_terminal: bool,
    /// `true` if it is shown without a terminal too.
    is_live: bool,
    until: Until,
    warmup: Duration,
    /// The answers and failures of the intervals that were shown.
    answers: u64,
    failures: u64,
}

impl ProgressLine {
    /// Returns a line that is shown on a terminal, or anywhere if `is_live`.
    pub(crate) fn new(plan: &Plan, is_live: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let (until, warmup) = (plan.until, plan.warmup);
        Self { is_terminal, is_live, until, warmup, answers: 0, failures: 0 }
    }

    /// Overwrites the line of a terminal.
    pub(crate) fn show(&self, progress: &Progress) {
        if self.is_terminal {
            overwrite(&text(self.until, self.warmup, progress));
        }
    }

    /// Prints the line of an interval where there is no terminal.
    pub(crate) fn interval(&mut self, interval: &Interval) {
        if self.is_terminal || !self.is_live {
            return;
        }
        let row = interval.row();
        self.answers += row.answers;
        self.failures += row.failures;
        let progress = Progress {
            elapsed: self.warmup + row.from + row.length,
            answers: self.answers,
            failures: self.failures,
            latest: Some(row),
        };
        // Nobody may be reading.
        let _ = writeln!(io::stderr(), "{}", text(self.until, self.warmup, &progress));
    }

    pub(crate) fn clear(&self) {
        if self.is_terminal {
            overwrite("");
        }
    }
}

fn overwrite(text: &str) {
    // Nobody may be reading. The cursor returns to where the next text begins.
    let _ = write!(io::stderr(), "{text}{ERASE}\r");
}

fn text(until: Until, warmup: Duration, progress: &Progress) -> String {
    let Progress { elapsed, answers, failures, latest } = progress;
    if *elapsed < warmup {
        let all = humantime::format_duration(warmup);
        return format!("{:.1} s of {all} to warm up, {failures} errors", elapsed.as_secs_f64());
    }
    let seconds = (*elapsed - warmup).as_secs_f64();
    let latest = latest.map_or_else(String::new, |row| {
        let rate = row.per_second();
        match row.latencies_us {
            Some([_, p99, _]) => format!("{rate:.0} a second, p99 {p99:.1} us, "),
            None => format!("{rate:.0} a second, p99 -, "),
        }
    });
    match until {
        Until::Requests(count) => {
            format!("{seconds:.1} s, {latest}{answers} of {count} requests, {failures} errors")
        }
        Until::Elapsed(time) => {
            let all = humantime::format_duration(time);
            format!("{seconds:.1} s of {all}, {latest}{answers} requests, {failures} errors")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Row;

    #[test]
    fn it_says_how_much_there_is_to_come() {
        let elapsed = Duration::from_millis(1500);
        let progress = Progress { elapsed, answers: 7, failures: 1, latest: None };
        let text = |until| super::text(until, Duration::ZERO, &progress);
        assert_eq!(text(Until::Requests(9)), "1.5 s, 7 of 9 requests, 1 errors");
        let until = Until::Elapsed(Duration::from_secs(90));
        assert_eq!(text(until), "1.5 s of 1m 30s, 7 requests, 1 errors");
    }

    #[test]
    fn it_says_how_the_last_interval_was() {
        let row = Row {
            from: Duration::ZERO,
            length: Duration::from_millis(500),
            answers: 7,
            failures: 0,
            latencies_us: Some([1.0, 88.04, 99.0]),
        };
        let elapsed = Duration::from_millis(3500);
        let progress = Progress { elapsed, answers: 7, failures: 0, latest: Some(row) };
        let text = |warmup| super::text(Until::Requests(9), Duration::from_secs(warmup), &progress);
        assert_eq!(text(3), "0.5 s, 14 a second, p99 88.0 us, 7 of 9 requests, 0 errors");
        assert_eq!(text(5), "3.5 s of 5s to warm up, 0 errors");
    }
}
