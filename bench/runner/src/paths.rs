//! The folders that the command line names.

use std::path::PathBuf;

/// The paths of the repository, of programs and of reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The folder with epoll-server and epoll-load.
    pub(crate) programs: PathBuf,
    /// The folder with the peers and the micro-benchmarks.
    pub(crate) bench_programs: PathBuf,
    /// The folder that the report goes to.
    pub(crate) out: PathBuf,
}

impl Paths {
    /// Returns the file that a contestant's stderr goes to.
    pub(crate) fn log_of(&self, label: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.out.join("logs").join(label.chars().map(plain).collect::<String>() + ".log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_plain_name() {
        let paths = Paths { out: "/out".into(), ..Paths::default() };
        assert_eq!(paths.log_of("one-shot, 2").to_str(), Some("/out/logs/one-shot--2.log"));
    }
}
