//! The command line. The exit status is 0, 1 when a step failed, or 2 when the command line is
//! wrong.

use crate::say::{complain, say};
use crate::usage::UsageError;
use crate::workspace::Workspace;
use crate::{bench, build, dist, lessons, lint, package, test};
use lexopt::Arg;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

/// The help; `SUITES` stands for the names of the suites.
const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  build           build the programs in the release profile
  test [NAME...]  test every package alone, then check all of them with all features, then
                  test the packages of bench; with names, test only these packages
  lint            rustfmt, the rules of this repository, clippy, rustdoc
  dist            write the man pages and the shell completions of the programs to target/dist
  package         pack every package that is published into target/package, then build and
                  test what was packed
  bench [SUITE...] [--quick] [--json PATH]
                  measure it beside other crates and write target/bench/report.html;
                  suites: SUITES;
                  --quick takes 3 minutes instead of 30, --json writes every round to a file;
                  a run of all suites without --quick or a failure also writes
                  bench/RESULTS.md and bench/plots
  bench --from PATH
                  make the report again from a file of rounds, such as target/bench/rounds.json
  lessons [NUMBER | all]
                  list the lessons, or run one, or all that end by themselves
  help            print this text

`test` ends by naming the tests that left themselves out because a program is missing.
With CI in the environment, a test that was left out is a failure.
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Build,
    Test { names: Vec<String> },
    Lint,
    Dist,
    Package,
    Bench(bench::Options),
    Lessons(lessons::Choice),
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let done = parse(std::env::args_os().skip(1)).map_err(Into::into).and_then(|c| execute(&c));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("xtask: {error:#}"));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<()> {
    if *command == Command::Help {
        say(HELP.trim_end().replace("SUITES", &bench::suites().join(", ")));
        return Ok(());
    }
    let start = Instant::now();
    let workspace = Workspace::find()?;
    match command {
        Command::Help => {}
        Command::Build => build::run(&workspace)?,
        Command::Test { names } => test::run(&workspace, names)?,
        Command::Lint => lint::run(&workspace)?,
        Command::Dist => dist::run(&workspace)?,
        Command::Package => package::run(&workspace)?,
        Command::Bench(options) => bench::run(&workspace, options)?,
        Command::Lessons(choice) => lessons::run(&workspace, choice)?,
    }
    say(format_args!("xtask: done in {} s", start.elapsed().as_secs()));
    Ok(())
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut names = Vec::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| usage(error.to_string()))? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            // The only command with flags of its own.
            Arg::Value(name) if names.is_empty() && name == "bench" => {
                let options = bench::parse(&mut parser).map_err(|error| usage(error.0))?;
                return Ok(options.map_or(Command::Help, Command::Bench));
            }
            Arg::Value(name) => names.push(name.to_string_lossy().into_owned()),
            flag => return Err(usage(flag.unexpected().to_string())),
        }
    }
    if names.is_empty() {
        return Err(usage("no command".to_owned()));
    }
    let command = names.remove(0);
    match (command.as_str(), names.first()) {
        ("test", _) => Ok(Command::Test { names }),
        ("lessons", _) => {
            lessons::parse(&names).map(Command::Lessons).map_err(|error| usage(error.0))
        }
        ("build", None) => Ok(Command::Build),
        ("lint", None) => Ok(Command::Lint),
        ("dist", None) => Ok(Command::Dist),
        ("package", None) => Ok(Command::Package),
        ("help", None) => Ok(Command::Help),
        ("build" | "lint" | "dist" | "package" | "help", Some(extra)) => {
            Err(usage(format!("unexpected argument {extra:?} after `{command}`")))
        }
        _ => Err(usage(format!("unknown command {command:?}"))),
    }
}

fn usage(what: String) -> UsageError {
    UsageError(what + "; see `cargo xtask help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, UsageError> {
        parse(args.iter().map(OsString::from))
    }

    #[track_caller]
    fn refuses(args: &[&str], what: &str) {
        let message = parsed(args).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn commands_are_words() {
        assert_eq!(parsed(&["build"]), Ok(Command::Build));
        assert_eq!(parsed(&["lint"]), Ok(Command::Lint));
        assert_eq!(parsed(&["dist"]), Ok(Command::Dist));
        assert_eq!(parsed(&["package"]), Ok(Command::Package));
        assert_eq!(parsed(&["test"]), Ok(Command::Test { names: vec![] }));
    }

    #[test]
    fn test_takes_names_of_packages() {
        let names = vec!["epoll-sys".to_owned(), "xtask".to_owned()];
        assert_eq!(parsed(&["test", "epoll-sys", "xtask"]), Ok(Command::Test { names }));
    }

    #[test]
    fn lessons_are_chosen_by_number() {
        assert_eq!(parsed(&["lessons", "3"]), Ok(Command::Lessons(lessons::Choice::One(3))));
        refuses(&["lessons", "three"], "\"three\"");
    }

    #[test]
    fn bench_has_flags_of_its_own() {
        let Ok(Command::Bench(options)) = parsed(&["bench", "--quick", "echo"]) else {
            panic!("not understood");
        };
        assert_eq!((options.is_quick, options.suites), (true, vec!["echo".to_owned()]));
        refuses(&["bench", "--from", "rounds.json", "echo"], "--from measures nothing");
        assert_eq!(parsed(&["bench", "--help"]), Ok(Command::Help));
        refuses(&["bench", "ecko"], "no suite \"ecko\"");
        refuses(&["test", "--quick"], "--quick");
    }

    #[test]
    fn help_can_be_asked_for_anywhere() {
        for args in [&["help"][..], &["--help"], &["-h"], &["test", "--help"]] {
            assert_eq!(parsed(args), Ok(Command::Help));
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        refuses(&[], "no command");
        refuses(&["bild"], "unknown command \"bild\"");
        refuses(&["build", "twice"], "unexpected argument \"twice\" after `build`");
        refuses(&["package", "epoll-sys"], "unexpected argument \"epoll-sys\" after `package`");
        refuses(&["test", "--fast"], "--fast");
        refuses(&["lint", "-x"], "-x");
    }
}
