//! The text format of Prometheus, version 0.0.4: families of samples, each with its help and its type.
//!
//! `prometheus-client` is not used: it writes OpenMetrics, in which the type line of a counter lacks its `_total`,
//! and its registry owns the counters, which here belong to the threads that count.

use crate::measures::Histogram;
use std::fmt::{Display, Write};

/// A label and its value.
pub(super) type Label<'a> = (&'static str, &'a dyn Display);

/// The type of a family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Text that is being written.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) &'a mut String);

impl Text<'_> {
    /// Begins a family, whose samples follow it. `help` has neither a backslash nor a line end.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help)
    }

    /// Writes a family of histograms, each with its label; `per_unit` of their values are one unit of the name.
    pub(super) fn histograms<'h>(
        &mut self,
        name: &'static str,
        help: &str,
        per_unit: f64,
        label: &'static str,
        histograms: impl Iterator<Item = (usize, &'h Histogram)>,
    ) {
        let mut family = self.head(name, "histogram", help);
        for (value, histogram) in histograms {
            let label: Label<'_> = (label, &value);
            let sum = histogram.sum() as f64 / per_unit;
            let mut all = 0;
            for (bound, count) in histogram.cumulative() {
                let bound = bound.map_or(f64::INFINITY, |bound| bound as f64 / per_unit);
                let bound: &dyn Display = if bound.is_finite() { &bound } else { &"+Inf" };
                family.suffixed("_bucket", &[label, ("le", bound)], &count);
                all = count;
            }
            family.suffixed("_sum", &[label], &sum);
            // Of the same look as the last bucket, which has to agree with it.
            family.suffixed("_count", &[label], &all);
        }
    }

    fn head(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // A string takes everything.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { name, text: self.0 }
    }
}

/// A family whose samples are being written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    /// Writes a sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.suffixed("", labels, &value);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[Label<'_>], value: &dyn Display) {
        let Self { name, text } = self;
        text.push_str(name);
        text.push_str(suffix);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            escape(&value.to_string(), text);
            text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(text, "{end} {value}");
    }
}

/// Writes the value of a label.
fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::Measures;
    use std::time::Duration;

    #[test]
    fn samples_follow_the_help_and_the_type_and_values_of_labels_are_escaped() {
        let mut page = String::new();
        let mut text = Text(&mut page);
        let mut family = text.family("a_total", Kind::Counter, "All of a.");
        family.sample(&[], 7);
        family.sample(&[("b", &1), ("c", &"x\"y\\z\nend")], 2.5);
        text.family("d", Kind::Gauge, "One d.").sample(&[], 1_700_000_000.25);
        let expected = "# HELP a_total All of a.\n# TYPE a_total counter\na_total 7\n\
            a_total{b=\"1\",c=\"x\\\"y\\\\z\\nend\"} 2.5\n\
            # HELP d One d.\n# TYPE d gauge\nd 1700000000.25\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_histogram_has_every_bucket_and_ends_with_its_sum_and_count() {
        let measures = Measures::default();
        for microseconds in [5, 10, 11, 2_000_000] {
            measures.turn_time.observe(Duration::from_micros(microseconds));
        }
        let mut text = String::new();
        let histograms = [(3, &measures.turn_time)].into_iter();
        Text(&mut text).histograms("t_seconds", "Times.", 1e9, "thread", histograms);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["# HELP t_seconds Times.", "# TYPE t_seconds histogram"]);
        assert_eq!(lines[2], "t_seconds_bucket{thread=\"3\",le=\"0.00001\"} 2");
        assert_eq!(lines[3], "t_seconds_bucket{thread=\"3\",le=\"0.00005\"} 3");
        let ends = [
            "t_seconds_bucket{thread=\"3\",le=\"1\"} 3",
            "t_seconds_bucket{thread=\"3\",le=\"+Inf\"} 4",
            "t_seconds_sum{thread=\"3\"} 2.000026",
            "t_seconds_count{thread=\"3\"} 4",
        ];
        assert_eq!(lines[lines.len() - 4..], ends);
    }
}
