//! Programs that some tests run. A test whose program is missing is left out.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// A program that is there.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    path: PathBuf,
}

impl Tool {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn command(&self) -> Command {
        Command::new(&self.path)
    }
}

/// Finds a program; without it the test that asks is left out and should return.
#[must_use]
pub(crate) fn tool(program: &'static str) -> Option<Tool> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file() && is_the_right_one(program, path));
    if found.is_none() {
        leave_out(program);
    }
    found.map(|path| Tool { path })
}

/// Returns whether the program is the expected one. There are several programs called nc, whose options differ.
fn is_the_right_one(program: &str, path: &Path) -> bool {
    program != "nc"
        || Command::new(path)
            .arg("-h")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|help| String::from_utf8_lossy(&help.stderr).contains("OpenBSD"))
}

fn leave_out(program: &str) {
    // The test harness names a test's thread after the test.
    let thread = thread::current();
    epoll_kit_testing::leave_out(thread.name().unwrap_or("a test of the server"), program);
}
