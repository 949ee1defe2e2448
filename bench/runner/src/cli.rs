//! The command line. The exit status is 0, 1 when something or somebody failed, 2 when the command
//! line is wrong, and 130 after Ctrl-C.

use crate::bench::{self, Options, Paths};
use crate::interrupt::Interrupted;
use crate::network;
use crate::suites::Suite;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Usage: epoll-kit-bench-runner --root DIR --programs DIR --bench-programs DIR --out DIR
                              [SUITE]... [--quick] [--json PATH]

`cargo xtask bench` builds everything and calls it. Without a SUITE all are run:
echo, lesson, select-poll-epoll, dispatch, wake, timers, syscalls, protocols.

  --root DIR            the repository
  --programs DIR        where epoll-server and epoll-load are
  --bench-programs DIR  where the other servers and the micro-benchmarks are
  --out DIR             where report.html and tables.md go
  --quick               few and short rounds
  --json PATH           write all rounds to this file
";

/// What is wrong with the command line, in one line.
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

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == network::PROBE) {
        return if network::enter_own().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = std::io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            bench::complain(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match bench::run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            bench::complain(&format!("{error:#}"));
            if error.is::<Interrupted>() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// `None` if help was asked for.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, UsageError> {
    let (mut root, mut programs, mut bench_programs, mut out) = (None, None, None, None);
    let (mut suites, mut is_quick, mut json) = (Vec::new(), false, None);
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("root") => root = Some(path(&mut parser)?),
            Arg::Long("programs") => programs = Some(path(&mut parser)?),
            Arg::Long("bench-programs") => bench_programs = Some(path(&mut parser)?),
            Arg::Long("out") => out = Some(path(&mut parser)?),
            Arg::Long("json") => json = Some(path(&mut parser)?),
            Arg::Long("quick") => is_quick = true,
            Arg::Value(name) => {
                let suite = suite(&name.string()?)?;
                if !suites.contains(&suite) {
                    suites.push(suite);
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
    if suites.is_empty() {
        suites.extend(Suite::ALL);
    }
    Ok(Some(Options { paths, suites, is_quick, json }))
}

fn path(parser: &mut Parser) -> Result<PathBuf, UsageError> {
    Ok(parser.value()?.into())
}

fn suite(name: &str) -> Result<Suite, UsageError> {
    Suite::ALL.into_iter().find(|suite| suite.name() == name).ok_or_else(|| {
        let known = Suite::ALL.map(Suite::name).join(", ");
        UsageError(format!("no suite {name:?}; there are: {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: [&str; 4] = ["--root=/r", "--programs=/p", "--bench-programs=/b", "--out=/o"];

    fn parsed(args: &[&str]) -> Result<Option<Options>, String> {
        let all = FOLDERS.iter().chain(args).map(OsString::from);
        parse(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_help_has_every_suite() {
        let names = Suite::ALL.map(Suite::name).join(", ");
        assert!(HELP.contains(&format!("\n{names}.\n")));
    }

    #[test]
    fn no_suite_is_every_suite() {
        let options = parsed(&[]).unwrap().unwrap();
        assert_eq!(options.suites, Suite::ALL);
        assert!(!options.is_quick && options.json.is_none());
    }

    #[test]
    fn suites_are_run_once_as_they_are_named() {
        let args = ["wake", "echo", "wake", "--quick", "--json", "raw.json"];
        let options = parsed(&args).unwrap().unwrap();
        assert_eq!(options.suites, [Suite::Wake, Suite::Echo]);
        assert!(options.is_quick);
        assert_eq!(options.json.as_deref(), Some("raw.json".as_ref()));
    }

    #[test]
    fn what_is_not_known_is_answered_in_one_line() {
        for (args, what) in [
            (&["ecko"][..], "no suite \"ecko\"; there are: echo, lesson"),
            (&["--fast"], "--fast"),
            (&["--json"], "--json"),
        ] {
            let message = parsed(args).unwrap_err();
            assert!(message.contains(what) && !message.contains('\n'), "{message}");
        }
        let error = parse(["--quick".into()]).unwrap_err();
        assert_eq!(error.to_string(), "--root is missing");
    }
}
