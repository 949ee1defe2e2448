//! The suites. A new one is a file in this folder, and its name in the two lists below.

mod dispatch;
mod echo;
mod flood;
mod lesson;
mod memory;
mod protocols;
mod select_poll_epoll;
mod splicing;
mod syscalls;
mod timers;
mod wake;

use crate::suite::Suite;

/// All suites, in the order in which they run and are reported.
pub(crate) const ALL: [&dyn Suite; 11] = [
    &echo::Echo,
    &lesson::Lesson,
    &flood::Flood,
    &select_poll_epoll::SUITE,
    &dispatch::SUITE,
    &wake::SUITE,
    &timers::SUITE,
    &memory::Memory,
    &syscalls::Syscalls,
    &splicing::Splicing,
    &protocols::Protocols,
];

/// Returns the suite with this name.
pub(crate) fn find(name: &str) -> Option<&'static dyn Suite> {
    ALL.into_iter().find(|suite| suite.name() == name)
}

/// Returns the names of all suites, with commas between them.
pub(crate) fn names() -> String {
    ALL.map(Suite::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn every_file_in_the_folder_is_a_suite_of_that_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/suites");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some());
        let stems = files.map(|path| path.file_stem().unwrap().to_str().unwrap().replace('_', "-"));
        let names: BTreeSet<_> = ALL.iter().map(|suite| suite.name().to_owned()).collect();
        assert_eq!(stems.collect::<BTreeSet<_>>(), names);
    }

    #[test]
    fn everything_is_planned_for_36_minutes_and_quick_for_170_seconds() {
        // Without the peers that may be missing, of which each takes another minute.
        for (is_quick, seconds) in [(false, 36 * 60), (true, 170)] {
            let entries = ALL.iter().flat_map(|suite| suite.plan(&Paths::default(), is_quick));
            let total: Duration = entries.map(|entry| entry.estimate).sum();
            assert!(total <= Duration::from_secs(seconds), "{is_quick}: {total:?}");
        }
    }
}
