//! One external command of a run. It is printed before it starts, and its failure names it.

use crate::say::say;
use anyhow::{Context, bail};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

pub(crate) struct Step {
    command: Command,
    shown: String,
}

impl Step {
    /// `cargo` with these arguments.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        let mut command = Command::new(cargo_program());
        command.args(args);
        let words = args.iter().map(|word| format!(" {word}"));
        Self { command, shown: words.fold("cargo".to_owned(), |line, word| line + &word) }
    }

    /// A program by its path, which is not printed: it is as long as it is obvious.
    pub(crate) fn program(path: &Path, args: &[OsString]) -> Self {
        let mut command = Command::new(path);
        command.args(args);
        Self { command, shown: path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
    }

    /// Adds to the environment, and to what is printed.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.command.env(variable, value);
        self.shown = format!("{variable}={value:?} {}", self.shown);
        self
    }

    /// Adds to the environment only: what changes from run to run would be noise in the log.
    pub(crate) fn with_unshown(mut self, variable: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(variable, value);
        self
    }

    /// Runs it in `folder` and waits for its end.
    pub(crate) fn run(mut self, folder: &Path) -> anyhow::Result<()> {
        say(format_args!("$ {}", self.shown));
        let status = self
            .command
            .current_dir(folder)
            .status()
            .with_context(|| format!("failed to start `{}`", self.shown))?;
        if !status.success() {
            bail!("step `{}` failed: {status}", self.shown);
        }
        Ok(())
    }
}

/// The cargo that runs this program, so that every step has the same toolchain.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_command_as_a_shell_takes_it() {
        let step = Step::cargo(&["doc", "--no-deps"]).with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(step.shown, "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }
}
