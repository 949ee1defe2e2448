//! The command line. The exit status is 0, 1 when something or somebody failed, 2 when the command
//! line is wrong, and 130 after Ctrl-C.

use crate::interrupt::Interrupted;
use crate::paths::Paths;
use crate::print::warn;
use crate::run::{self, Args};
use crate::suite::Suite;
use crate::{network, suites};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The help; `SUITES` stands for their names.
const HELP: &str = "\
Usage: cargo xtask bench [SUITE]... [--quick] [--json PATH]
       cargo xtask bench --from PATH

Without a SUITE all are run:
SUITES.

  --quick               few and short rounds: 3 minutes for all suites instead of 40
  --json PATH           write all rounds to this file too
  --from PATH           make the report again from a file of rounds, such as
                        target/bench/rounds.json; measure nothing

`cargo xtask bench` runs epoll-kit-bench-runner, with these flags in front of yours:

  --build               build what the suites start
  --root DIR            the repository, in which a run of all suites writes bench/RESULTS.md
                        and bench/plots, unless it is quick or something failed
  --programs DIR        where epoll-server and epoll-load are
  --bench-programs DIR  where the other servers and the micro-benchmarks are
  --out DIR             where report.html, tables.md and rounds.json go (rounds-part.json if
                        not everything is measured)
";

/// The error of a command line, in one line.
#[derive(Debug)]
struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command of the command line.
pub(crate) fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == network::PROBE) {
        return if network::enter_own().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let args = match parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            let _ = std::io::stdout().write_all(help().as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            warn(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match run::run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            warn(&format!("{error:#}"));
            if error.is::<Interrupted>() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// `None` if help was asked for.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Args>, UsageError> {
    let (mut root, mut programs, mut bench_programs, mut out) = (None, None, None, None);
    let (mut chosen, mut is_quick) = (Vec::<&'static dyn Suite>::new(), false);
    let mut is_building = false;
    let (mut json, mut from) = (None, None);
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = Some(path(&mut parser)?),
            Arg::Long("programs") => programs = Some(path(&mut parser)?),
            Arg::Long("bench-programs") => bench_programs = Some(path(&mut parser)?),
            Arg::Long("out") => out = Some(path(&mut parser)?),
            Arg::Long("json") => json = Some(path(&mut parser)?),
            Arg::Long("from") => from = Some(path(&mut parser)?),
            Arg::Long("build") => is_building = true,
            Arg::Long("quick") => is_quick = true,
            Arg::Value(name) => {
                let suite = suite(&name.string()?)?;
                if chosen.iter().all(|known| known.name() != suite.name()) {
                    chosen.push(suite);
                }
            }
            flag => return Err(flag.unexpected().into()),
        }
    }
    let given = |path: Option<PathBuf>, flag: &str| {
        path.ok_or_else(|| UsageError(format!("{flag} is missing")))
    };
    let paths = Paths {
        root: given(root, "--root")?,
        programs: given(programs, "--programs")?,
        bench_programs: given(bench_programs, "--bench-programs")?,
        out: given(out, "--out")?,
    };
    if from.is_some() && (!chosen.is_empty() || is_quick || json.is_some()) {
        return Err(UsageError(
            "--from measures nothing: it takes no suite, --quick or --json".into(),
        ));
    }
    if chosen.is_empty() {
        chosen.extend(suites::ALL);
    }
    Ok(Some(Args { paths, suites: chosen, is_quick, is_building, json, from }))
}

fn path(parser: &mut Parser) -> Result<PathBuf, UsageError> {
    Ok(parser.value()?.into())
}

fn suite(name: &str) -> Result<&'static dyn Suite, UsageError> {
    suites::find(name)
        .ok_or_else(|| UsageError(format!("no suite {name:?}; there are: {}", suites::names())))
}

fn help() -> String {
    HELP.replace("SUITES", &suites::names())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: [&str; 4] = ["--root=/r", "--programs=/p", "--bench-programs=/b", "--out=/o"];

    fn parsed(args: &[&str]) -> Result<Option<Args>, String> {
        let all = FOLDERS.iter().chain(args).map(OsString::from);
        parse(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_help_has_every_suite() {
        let help = help();
        assert!(suites::ALL.iter().all(|suite| help.contains(suite.name())), "{help}");
        assert!(help.contains("[SUITE]...") && !help.contains("SUITES"), "{help}");
    }

    #[test]
    fn no_suite_is_every_suite() {
        let args = parsed(&[]).unwrap().unwrap();
        assert_eq!(args.suites.len(), suites::ALL.len());
        assert!(!args.is_quick && args.json.is_none() && args.from.is_none());
    }

    #[test]
    fn suites_are_run_once_as_they_are_named() {
        let args = ["wake", "echo", "wake", "--quick", "--json", "raw.json"];
        let args = parsed(&args).unwrap().unwrap();
        let names: Vec<_> = args.suites.iter().map(|suite| suite.name()).collect();
        assert_eq!(names, ["wake", "echo"]);
        assert!(args.is_quick);
        assert_eq!(args.json.as_deref(), Some("raw.json".as_ref()));
    }

    #[test]
    fn what_is_not_known_is_answered_in_one_line() {
        for (args, what) in [
            (&["ecko"][..], "no suite \"ecko\"; there are: echo, lesson"),
            (&["--fast"], "--fast"),
            (&["--json"], "--json"),
            (&["--from", "a", "echo"], "--from measures nothing"),
        ] {
            let message = parsed(args).err().unwrap();
            assert!(message.contains(what) && !message.contains('\n'), "{message}");
        }
        let error = parse(["--quick".into()]).err().unwrap();
        assert_eq!(error.to_string(), "--root is missing");
    }
}
