//! The output of a child, read line by line and with a deadline. A thread of its own reads, so the child
//! never waits for room in the pipe.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

pub(crate) struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        // It ends with the child, or when nobody wants the lines any more.
        thread::spawn(move || {
            let lines = BufReader::new(source).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// The next line, or `None` at the end.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
        }
    }

    /// The next line that has all of these in it; those before it are passed over.
    #[track_caller]
    pub(crate) fn next_with(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.next() {
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {parts:?} in: {seen:#?}");
    }

    /// The next lines that have these words in them, one for each, in whichever order they come: two processes may
    /// write them.
    #[track_caller]
    pub(crate) fn next_of_each<const N: usize>(&self, all: [&str; N]) -> [String; N] {
        let mut found = [const { None }; N];
        while found.iter().any(Option::is_none) {
            let line = self.next().unwrap_or_else(|| panic!("not all of {all:?}: {found:?}"));
            let missing = all.iter().zip(&mut found).filter(|(_, found)| found.is_none());
            for (_, found) in missing.filter(|(words, _)| line.contains(**words)) {
                *found = Some(line.clone());
            }
        }
        found.map(Option::unwrap)
    }

    /// All lines up to the end.
    #[track_caller]
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
