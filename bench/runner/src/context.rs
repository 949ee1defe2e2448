//! The state that the suites share while they measure: where things are, how long they may take, and how
//! the run is interrupted.

use crate::interrupt::Interrupt;
use crate::machine::Cores;
use crate::paths::Paths;
use crate::plan::PlanEntry;
use crate::progress::Progress;
use std::time::{Duration, Instant};

/// The state that the suites share.
pub(crate) struct Context {
    pub(crate) paths: Paths,
    pub(crate) is_quick: bool,
    pub(crate) cores: Cores,
    pub(crate) interrupt: Interrupt,
    /// The congestion control that the client asks for on its sockets.
    pub(crate) congestion: Option<&'static str>,
    /// The network is a namespace of its own, in which devices may be made.
    pub(crate) has_own_network: bool,
    pub(crate) progress: Progress,
    /// The whole plan.
    plan: Vec<PlanEntry>,
    /// The time at which the run is ended, finished or not.
    end: Instant,
}

/// The parts that a [`Context`] is made from.
pub(crate) struct Setup {
    pub(crate) paths: Paths,
    pub(crate) is_quick: bool,
    pub(crate) cores: Cores,
    pub(crate) interrupt: Interrupt,
    pub(crate) congestion: Option<&'static str>,
    pub(crate) has_own_network: bool,
    pub(crate) plan: Vec<PlanEntry>,
}

/// The longest that all of it may take, unless more is planned; what is still running then is ended.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
const TIME_MAX_QUICK: Duration = Duration::from_secs(170);
/// A longer plan may take longer than planned by this factor: the parts that come last need time as well, after parts
/// that took longer.
const OVERRUN_MAX: f64 = 1.25;

fn time_max(is_quick: bool, plan: &[PlanEntry]) -> Duration {
    let usual = if is_quick { TIME_MAX_QUICK } else { TIME_MAX };
    let planned: Duration = plan.iter().map(|entry| entry.estimate).sum();
    usual.max(planned.mul_f64(OVERRUN_MAX))
}

/// Returns the time that later parts need at the least: one round of each.
fn least_after(entry: &PlanEntry, plan: &[PlanEntry]) -> Duration {
    let place = |one: &PlanEntry| (one.suite, one.title.clone());
    let after = plan.iter().skip_while(|one| place(one) != place(entry)).skip(1);
    after.map(|entry| entry.estimate / entry.budget.map_or(1, |budget| budget.rounds)).sum()
}

impl Context {
    /// Begins a run: its time starts now.
    pub(crate) fn begin(setup: Setup) -> Self {
        let Setup { paths, is_quick, cores, interrupt, congestion, has_own_network, plan } = setup;
        let progress = Progress::new(&plan);
        let end = Instant::now() + time_max(is_quick, &plan);
        Self { paths, is_quick, cores, interrupt, congestion, has_own_network, progress, plan, end }
    }

    /// Returns the time at which a part that begins now has its last round.
    pub(crate) fn until(&self, entry: &PlanEntry) -> Instant {
        (Instant::now() + entry.limit()).min(self.end - least_after(entry, &self.plan))
    }

    /// Returns the time at which something has to be over that begins now and may take this long.
    pub(crate) fn deadline(&self, limit: Duration) -> Instant {
        (Instant::now() + limit).min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Budget;

    #[test]
    fn a_long_plan_has_the_time_that_it_needs() {
        let hours = PlanEntry::of("echo", "", 60, Budget::ms(120, 1_000, 0));
        assert_eq!(time_max(false, &[]), TIME_MAX);
        assert_eq!(time_max(true, &[]), TIME_MAX_QUICK);
        assert_eq!(time_max(false, &[hours]), Duration::from_secs(9_000));
    }

    #[test]
    fn a_part_leaves_time_for_a_round_of_each_later_one() {
        let fixed = |suite| {
            let entry = PlanEntry::of(suite, "", 1, Budget::ms(2, 30_000, 0));
            PlanEntry { budget: None, ..entry }
        };
        let rounds = |title| PlanEntry::of("echo", title, 3, Budget::ms(5, 1_000, 0));
        let plan = [fixed("timers"), rounds("64 B"), rounds("16 KiB"), fixed("wake")];
        let after = plan.each_ref().map(|entry| least_after(entry, &plan).as_secs());
        assert_eq!(after, [66, 63, 60, 0]);
    }
}
