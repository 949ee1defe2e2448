//! The progress line on a terminal. It is overwritten at every update and erased at the end.

use crate::pacing::Until;
use crate::run::Progress;
use std::io::{self, IsTerminal, Write};

/// Erases from the cursor to the end of the line.
const ERASE: &str = "\x1b[K";

pub(crate) struct ProgressLine {
    is_terminal: bool,
    until: Until,
}

impl ProgressLine {
    /// Returns a line that is never shown if stderr is not a terminal.
    pub(crate) fn new(until: Until) -> Self {
        Self { is_terminal: io::stderr().is_terminal(), until }
    }

    pub(crate) fn show(&self, progress: &Progress) {
        self.write(&text(self.until, progress));
    }

    pub(crate) fn clear(&self) {
        self.write("");
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            // Nobody may be reading. The cursor returns to where the next text begins.
            let _ = write!(io::stderr(), "{text}{ERASE}\r");
        }
    }
}

fn text(until: Until, progress: &Progress) -> String {
    let Progress { elapsed, answers, failures } = progress;
    let seconds = elapsed.as_secs_f64();
    match until {
        Until::Requests(count) => {
            format!("{seconds:.1} s, {answers} of {count} requests, {failures} errors")
        }
        Until::Elapsed(time) => {
            let all = humantime::format_duration(time);
            format!("{seconds:.1} s of {all}, {answers} requests, {failures} errors")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_says_how_much_there_is_to_come() {
        let elapsed = Duration::from_millis(1500);
        let progress = Progress { elapsed, answers: 7, failures: 1 };
        assert_eq!(text(Until::Requests(9), &progress), "1.5 s, 7 of 9 requests, 1 errors");
        let until = Until::Elapsed(Duration::from_secs(90));
        assert_eq!(text(until, &progress), "1.5 s of 1m 30s, 7 requests, 1 errors");
    }
}
