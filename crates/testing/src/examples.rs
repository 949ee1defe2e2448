//! The examples of a crate, run as anybody would run them.

use crate::{Guard, output_of};
use std::env;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The longest time that an example may take, with the time to build it.
const PATIENCE: Duration = Duration::from_secs(300);

/// The examples of a package of this workspace.
#[derive(Clone, Copy, Debug)]
pub struct Examples {
    /// The package's name: `env!("CARGO_PKG_NAME")`.
    pub package: &'static str,
}

impl Examples {
    /// Runs the example `name`, which has to end well by itself and to print these lines among
    /// others, blanks aside.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn assert_prints(self, name: &str, lines: &[&str]) {
        let Output { status, stdout, stderr } = self.run(name);
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{name}: {status}\n{stdout}{stderr}");
        for line in lines {
            let is_this = |printed: &str| printed.split_whitespace().eq(line.split_whitespace());
            assert!(stdout.lines().any(is_this), "{name} does not print {line:?}:\n{stdout}");
        }
    }

    /// Starts the example `name`, which serves until it is ended. What it prints is in a pipe.
    ///
    /// # Panics
    ///
    /// If cargo cannot be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(self, name: &str, args: &[&str]) -> Guard {
        let mut command = self.command(name);
        command.arg("--").args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        Guard::spawn(&mut command).expect("cargo can be started")
    }

    #[track_caller]
    fn run(self, name: &str) -> Output {
        output_of(&mut self.command(name), PATIENCE).expect("cargo can be started")
    }

    /// Returns a command that runs the example through cargo, because the programs beside this one may be older than
    /// their sources. Cargo has released its lock by the time that it runs tests. It becomes the example, so the
    /// example itself ends with the test.
    #[track_caller]
    fn command(self, name: &str) -> Command {
        let own = env::current_exe().expect("a path");
        // TARGET/PROFILE/deps/NAME-HASH
        let profile = own.ancestors().nth(2).and_then(Path::file_name).expect("a profile's folder");
        let target = own.ancestors().nth(3).expect("the target folder");
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--package", self.package, "--example", name]);
        command.arg("--profile").arg(if profile == "debug" { "dev".as_ref() } else { profile });
        // Anywhere in the workspace will do.
        command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }
}
