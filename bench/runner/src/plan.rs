//! The plan of a run: the measurements and their durations. It is made and shown before the run starts,
//! and the run keeps to it.

use std::fmt::Write as _;
use std::time::Duration;

/// A part that takes longer than planned by this factor loses the rounds that it has left.
const OVERRUN_MAX: f64 = 1.5;

/// The number and the length of the rounds in which one contestant is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    pub(crate) rounds: u32,
    /// The time that is measured in a round.
    pub(crate) measured: Duration,
    /// The time that a round is expected to take besides: for starting, connecting and closing.
    pub(crate) overhead: Duration,
}

impl Budget {
    pub(crate) const fn ms(rounds: u32, measured_ms: u64, overhead_ms: u64) -> Self {
        Self {
            rounds,
            measured: Duration::from_millis(measured_ms),
            overhead: Duration::from_millis(overhead_ms),
        }
    }

    /// Returns the expected time for this many contestants.
    pub(crate) fn estimate(&self, contestants: usize) -> Duration {
        let turns = self.rounds * u32::try_from(contestants).unwrap_or(u32::MAX);
        (self.measured + self.overhead) * turns
    }
}

/// A line of the plan.
#[derive(Clone, Debug)]
pub(crate) struct PlanEntry {
    pub(crate) suite: &'static str,
    pub(crate) title: String,
    pub(crate) contestants: usize,
    /// The rounds of a contestant, or `None` if the program plans its rounds itself.
    pub(crate) budget: Option<Budget>,
    pub(crate) estimate: Duration,
}

impl PlanEntry {
    pub(crate) fn of(suite: &'static str, title: &str, contestants: usize, budget: Budget) -> Self {
        let estimate = budget.estimate(contestants);
        Self { suite, title: title.to_owned(), contestants, budget: Some(budget), estimate }
    }

    /// Returns the longest time that it may take.
    pub(crate) fn limit(&self) -> Duration {
        self.estimate.mul_f64(OVERRUN_MAX) + Duration::from_secs(5)
    }
}

/// Formats the plan as a table of text.
pub(crate) fn describe(entries: &[PlanEntry]) -> String {
    let width = entries.iter().map(|entry| entry.title.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in entries {
        let rounds = match entry.budget {
            Some(budget) => format!(
                "{:>2} rounds x {:>2} contestants x {:.1} s",
                budget.rounds,
                entry.contestants,
                (budget.measured + budget.overhead).as_secs_f64()
            ),
            None => String::new(),
        };
        let (suite, title, estimate) = (entry.suite, &entry.title, clock(entry.estimate));
        let _ = writeln!(text, "  {suite:<18} {title:<width$}  {rounds:<35} {estimate:>6}");
    }
    let total: Duration = entries.iter().map(|entry| entry.estimate).sum();
    let _ = writeln!(text, "  about {} min in all", clock(total));
    text
}

/// Minutes and seconds.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_adds_up() {
        let entries = [
            PlanEntry::of("echo", "64 B x 50", 10, Budget::ms(15, 300, 100)),
            PlanEntry::of("lesson", "10 000 connections", 3, Budget::ms(5, 1000, 1000)),
        ];
        assert_eq!(entries[0].estimate, Duration::from_secs(60));
        let text = describe(&entries);
        assert!(text.contains("15 rounds x 10 contestants x 0.4 s"), "{text}");
        assert!(text.ends_with("about 1:30 min in all\n"), "{text}");
    }

    #[test]
    fn seconds_are_rounded() {
        assert_eq!(clock(Duration::from_millis(59_600)), "1:00");
        assert_eq!(clock(Duration::from_secs(605)), "10:05");
    }
}
