//! The tests that left themselves out because a program they run is missing.
//!
//! Such a test appends one line to the file that [`VARIABLE`] names: its own name, the program and
//! the Debian package that brings the program, with tabs between them. Tests of several processes
//! append at the same time, which is safe as long as each line is one write.

use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// The environment variable that tells the tests where to say that they were left out.
pub(crate) const VARIABLE: &str = "EPOLL_KIT_LEFT_OUT";

/// The file of one run.
pub(crate) struct Record {
    path: PathBuf,
}

impl Record {
    /// An empty file in `folder`. Runs at the same time have one each.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!("left-out-{}", process::id()));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, ""))
            .with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One line for each missing program; removes the file.
    pub(crate) fn into_summary(self) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(&self.path)
            .and_then(|text| fs::remove_file(&self.path).map(|()| text))
            .with_context(|| format!("failed to read {}", self.path.display()))?;
        summary(&text)
    }
}

fn summary(text: &str) -> anyhow::Result<Vec<String>> {
    // A set of names, because a test may run more than once.
    let mut tests: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let &[test, program, package] = fields.as_slice() else {
            anyhow::bail!("{VARIABLE}: the line {line:?} is not `test<TAB>program<TAB>package`");
        };
        tests.entry((package, program)).or_default().insert(test);
    }
    Ok(tests.iter().map(|(&(package, program), names)| sentence(package, program, names)).collect())
}

fn sentence(package: &str, program: &str, tests: &BTreeSet<&str>) -> String {
    let need = if tests.len() == 1 { "test needs" } else { "tests need" };
    let names: Vec<_> = tests.iter().copied().collect();
    format!("{} {need} {program} (Debian package {package}): {}", tests.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_left_out_says_nothing() {
        assert!(summary("").unwrap().is_empty());
    }

    #[test]
    fn tests_are_grouped_by_what_they_need() {
        let text = "b\tvalgrind\tvalgrind\nx\tnc\tnetcat-openbsd\na\tvalgrind\tvalgrind\n";
        let expected = [
            "1 test needs nc (Debian package netcat-openbsd): x",
            "2 tests need valgrind (Debian package valgrind): a, b",
        ];
        assert_eq!(summary(text).unwrap(), expected);
    }

    #[test]
    fn a_test_that_ran_twice_counts_once() {
        let lines = summary("a\tstrace\tstrace\na\tstrace\tstrace\n").unwrap();
        assert_eq!(lines, ["1 test needs strace (Debian package strace): a"]);
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        let error = summary("a strace\n").unwrap_err().to_string();
        assert!(error.contains("\"a strace\""), "{error}");
    }
}
