//! `cargo xtask bench`: builds what is measured and what measures it, in the release profile, and
//! runs the benchmarks.

use crate::cli::UsageError;
use crate::step::Step;
use crate::workspace::Workspace;
use anyhow::Context;
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// As the runner names them.
const SUITES: [&str; 8] =
    ["echo", "lesson", "select-poll-epoll", "dispatch", "wake", "timers", "syscalls", PROTOCOLS];

/// The suite that measures examples.
const PROTOCOLS: &str = "protocols";

const RUNNER: &str = "epoll-kit-bench-runner";

/// What is run, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// All of them if there is none.
    pub(crate) suites: Vec<String>,
    pub(crate) is_quick: bool,
    pub(crate) json: Option<PathBuf>,
}

/// Reads what follows the command; `None` if help was asked for.
pub(crate) fn parse(parser: &mut Parser) -> Result<Option<Options>, UsageError> {
    let wrong = |error: lexopt::Error| UsageError(error.to_string());
    let mut options = Options::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("quick") => options.is_quick = true,
            Arg::Long("json") => options.json = Some(parser.value().map_err(wrong)?.into()),
            Arg::Value(name) => options.suites.push(suite(&name.to_string_lossy())?),
            flag => return Err(wrong(flag.unexpected())),
        }
    }
    Ok(Some(options))
}

fn suite(name: &str) -> Result<String, UsageError> {
    if SUITES.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(UsageError(format!("no suite {name:?}; there are: {}", SUITES.join(", "))))
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let root = &workspace.root;
    // Before minutes are spent on building; the runner writes it.
    let json = options.json.as_ref().map(|path| writable(path)).transpose()?;
    let manifest = root.join("bench/Cargo.toml");
    let bench = Workspace::of(&manifest)?;
    Step::cargo(&["build", "--release", "-p", "epoll-server", "-p", "epoll-load"]).run(root)?;
    if options.suites.is_empty() || options.suites.iter().any(|suite| suite == PROTOCOLS) {
        Step::cargo(&["build", "--release", "-p", "epoll-service", "--examples"]).run(root)?;
    }
    Step::cargo(&["build", "--release", "--workspace", "--bins"]).run(&bench.root)?;
    let release = |workspace: &Workspace| workspace.target_folder.join("release");
    let (programs, bench_programs) = (release(workspace), release(&bench));
    let mut args: Vec<OsString> = Vec::new();
    for (flag, path) in [
        ("--root", root.as_path()),
        ("--programs", &programs),
        ("--bench-programs", &bench_programs),
        ("--out", &workspace.target_folder.join("bench")),
    ] {
        args.extend([flag.into(), path.into()]);
    }
    args.extend(options.is_quick.then(|| "--quick".into()));
    args.extend(json.into_iter().flat_map(|path| ["--json".into(), path.into()]));
    args.extend(options.suites.iter().map(Into::into));
    Step::program(&bench_programs.join(RUNNER), &args).run(root)
}

/// The same file from any folder, once it is known that it can be written. It is left as it is.
fn writable(path: &Path) -> anyhow::Result<PathBuf> {
    probe(path)
        .and_then(|()| std::path::absolute(path))
        .with_context(|| format!("failed to write the file of --json {}", path.display()))
}

fn probe(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().append(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
        opened => opened.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>, String> {
        parse(&mut Parser::from_args(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn suites_and_flags_come_in_any_order() {
        let options = parsed(&["echo", "--quick", "wake", "--json", "raw.json"]).unwrap().unwrap();
        assert_eq!(options.suites, ["echo", "wake"]);
        assert!(options.is_quick);
        assert_eq!(options.json.as_deref(), Some(Path::new("raw.json")));
        assert_eq!(parsed(&[]), Ok(Some(Options::default())));
        assert_eq!(parsed(&["--help"]), Ok(None));
    }

    #[test]
    fn an_unknown_suite_is_answered_with_the_known_ones() {
        let message = parsed(&["ecko"]).unwrap_err();
        assert!(message.starts_with("no suite \"ecko\"; there are: echo, lesson"), "{message}");
        assert!(parsed(&["--fast"]).unwrap_err().contains("--fast"));
        assert!(parsed(&["--json"]).unwrap_err().contains("--json"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = writable(Path::new("/no/such/folder/raw.json")).unwrap_err();
        assert!(error.to_string().contains("--json /no/such/folder/raw.json"), "{error}");
    }

    #[test]
    fn a_file_that_can_be_written_is_left_as_it_is() {
        let name = format!("epoll-kit-xtask-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        assert_eq!(writable(&path).unwrap(), path);
        assert!(!path.exists());
        fs::write(&path, "kept").unwrap();
        writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_runner_has_the_same_suites() {
        // Its help, which a test of its own holds to its list.
        let runner = include_str!("../../bench/runner/src/cli.rs");
        assert!(runner.contains(&format!("\n{}.\n", SUITES.join(", "))));
    }
}
