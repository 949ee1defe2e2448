//! The file of `--hdr`: a log of HdrHistogram with the latencies of each interval in nanoseconds, which its
//! tools read, merge and plot. All histograms together are the one of the whole run.

use crate::series::Interval;
use anyhow::Context;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The first lines; tools tell the version from the second.
const COMMENTS: [&str; 2] =
    ["Latencies in nanoseconds, by epoll-load", "[Histogram log format version 1.3]"];

/// A log that is written during a run.
pub(crate) struct HdrLog {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    has_begun: bool,
    /// The first error; nothing is written after it.
    written: anyhow::Result<()>,
}

impl HdrLog {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)
            .with_context(|| format!("failed to create the file of --hdr {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            has_begun: false,
            written: Ok(()),
        })
    }

    /// Adds an interval that is over. An error is kept until the end.
    pub(crate) fn add(&mut self, interval: &Interval) {
        if self.written.is_ok() {
            self.written = self.write(interval);
        }
    }

    /// Completes the file.
    ///
    /// # Errors
    ///
    /// The first error of all writes.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.written.and_then(|()| Ok(self.file.flush()?));
        flushed.with_context(|| format!("failed to write {}", self.path.display()))
    }

    fn write(&mut self, interval: &Interval) -> anyhow::Result<()> {
        let mut builder = IntervalLogWriterBuilder::new();
        if !self.has_begun {
            self.has_begun = true;
            let now = SystemTime::now();
            let begin = now.checked_sub(interval.from + interval.length).unwrap_or(now);
            for comment in COMMENTS {
                builder.add_comment(comment);
            }
            builder.with_start_time(begin).with_base_time(begin);
        }
        let mut writer = builder.begin_log_with(&mut self.file, &mut self.serializer)?;
        let empty;
        let latencies_ns = match &interval.latencies_ns {
            Some(latencies_ns) => latencies_ns,
            // An interval without answers has its place too.
            None => {
                empty = Histogram::<u64>::new(3)?;
                &empty
            }
        };
        writer
            .write_histogram(latencies_ns, interval.from, interval.length, None)
            .map_err(|error| anyhow::anyhow!("{error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use std::time::Duration;

    #[test]
    fn the_log_is_read_back_by_its_own_parser() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut latencies_ns = crate::stats::histogram().unwrap();
        latencies_ns.saturating_record_n(12_345, 7);
        let interval = |second, latencies_ns| Interval {
            from: Duration::from_secs(second),
            length: Duration::from_secs(1),
            latencies_ns,
            failures: 0,
        };
        let mut log = HdrLog::create(&path).unwrap();
        log.add(&interval(0, Some(latencies_ns)));
        log.add(&interval(1, None));
        log.finish().unwrap();

        let text = std::fs::read(&path).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&text).map(Result::unwrap).collect();
        assert!(matches!(entries[..2], [LogEntry::StartTime(_), LogEntry::BaseTime(_)]));
        let counts: Vec<_> = entries[2..]
            .iter()
            .map(|entry| {
                let LogEntry::Interval(interval) = entry else { panic!("{entry:?}") };
                let bytes = base64(interval.encoded_histogram());
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                (interval.start_timestamp().as_secs(), read.len(), read.max() / 100)
            })
            .collect();
        assert_eq!(counts, [(0, 7, 123), (1, 0, 0)]);
    }

    #[test]
    fn a_file_that_cannot_be_created_is_named() {
        let error = HdrLog::create(Path::new("/no/such/folder/log")).err().expect("an error");
        assert!(error.to_string().contains("--hdr /no/such/folder/log"), "{error}");
    }

    /// The parser leaves the histogram in base64; its alphabet in the order of the values.
    fn base64(text: &str) -> Vec<u8> {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bytes = Vec::new();
        for four in text.trim_end_matches('=').as_bytes().chunks(4) {
            let value = |digit: &u8| digits.find(char::from(*digit)).expect("a digit");
            let bits = four.iter().fold(0, |bits, digit| bits << 6 | value(digit));
            let bits = bits << (6 * (4 - four.len()));
            bytes.extend_from_slice(&u32::try_from(bits).unwrap().to_be_bytes()[1..four.len()]);
        }
        bytes
    }
}
