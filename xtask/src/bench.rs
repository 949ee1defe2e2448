//! `cargo xtask bench`: builds what is measured and what measures it, in the release profile, and
//! runs the benchmarks.

use crate::step::Step;
use crate::usage::UsageError;
use crate::workspace::Workspace;
use anyhow::Context;
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Each suite is a file of its name in this folder, as a test of the runner holds it to.
const SUITES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/runner/src/suites");

/// The suites that measure examples.
const OF_EXAMPLES: &[&str] = &["protocols"];

/// The suites that measure programs of the package [`MICRO`] and nothing else.
const OF_MICRO: &[&str] = &["dispatch", "select-poll-epoll", "timers", "wake"];
const MICRO: &str = "epoll-kit-bench-micro";

/// Builds the peers that cargo does not.
const PEERS_BUILDER: &str = "build-peers";

const RUNNER: &str = "epoll-kit-bench-runner";

/// The choices of a run of the bench.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// All of them if there is none.
    pub(crate) suites: Vec<String>,
    pub(crate) is_quick: bool,
    pub(crate) json: Option<PathBuf>,
    /// The rounds that are reported again, in the place of new ones.
    pub(crate) from: Option<PathBuf>,
}

impl Options {
    /// Returns whether nothing but [`MICRO`] is measured, which is built in a fraction of the time.
    fn is_of_micro(&self) -> bool {
        !self.suites.is_empty()
            && self.suites.iter().all(|suite| OF_MICRO.contains(&suite.as_str()))
    }
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
            Arg::Long("from") => options.from = Some(parser.value().map_err(wrong)?.into()),
            Arg::Value(name) => options.suites.push(suite(&name.to_string_lossy())?),
            flag => return Err(wrong(flag.unexpected())),
        }
    }
    let measures = !options.suites.is_empty() || options.is_quick || options.json.is_some();
    if options.from.is_some() && measures {
        let what = "--from measures nothing: it takes no suite, --quick or --json";
        return Err(UsageError(what.to_owned()));
    }
    Ok(Some(options))
}

/// Returns the names of the suites.
pub(crate) fn suites() -> Vec<String> {
    let files = fs::read_dir(SUITES).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.replace('_', "-"));
    let mut names: Vec<_> = files.filter_map(name).collect();
    names.sort();
    names
}

fn suite(name: &str) -> Result<String, UsageError> {
    let suites = suites();
    if suites.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(UsageError(format!("no suite {name:?}; there are: {}", suites.join(", "))))
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let root = &workspace.root;
    // Before minutes are spent on building; the runner writes it.
    let json = options.json.as_ref().map(|path| writable(path)).transpose()?;
    let bench = workspace.bench()?.context("there is no bench/Cargo.toml")?;
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
    let runner = bench_programs.join(RUNNER);
    if let Some(from) = &options.from {
        let from = fs::canonicalize(from)
            .with_context(|| format!("failed to read the file of --from {}", from.display()))?;
        args.extend(["--from".into(), from.into()]);
        Step::cargo(&["build", "--release", "-p", RUNNER]).run(&bench.root)?;
        return Step::program(&runner, &args).run(root);
    }
    build(root, &bench, options)?;
    args.extend(options.is_quick.then(|| "--quick".into()));
    args.extend(json.into_iter().flat_map(|path| ["--json".into(), path.into()]));
    args.extend(options.suites.iter().map(Into::into));
    Step::program(&runner, &args).run(root)
}

/// Builds what is measured and what measures it.
fn build(root: &Path, bench: &Workspace, options: &Options) -> anyhow::Result<()> {
    if options.is_of_micro() {
        let packages = ["build", "--release", "--bins", "-p", RUNNER, "-p", MICRO];
        return Step::cargo(&packages).run(&bench.root);
    }
    Step::cargo(&["build", "--release", "-p", "epoll-server", "-p", "epoll-load"]).run(root)?;
    let is_of_examples = |suite: &String| OF_EXAMPLES.contains(&suite.as_str());
    if options.suites.is_empty() || options.suites.iter().any(is_of_examples) {
        Step::cargo(&["build", "--release", "-p", "epoll-service", "--examples"]).run(root)?;
    }
    Step::cargo(&["build", "--release", "--workspace", "--bins"]).run(&bench.root)?;
    // Peers in C and Go, as far as their compilers and libraries are installed.
    let builder = bench.target_folder.join("release").join(PEERS_BUILDER);
    Step::program(&builder, &[]).run(&bench.root)
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
    fn only_suites_of_micro_need_no_other_program() {
        let is_of_micro = |args: &[&str]| parsed(args).unwrap().unwrap().is_of_micro();
        assert!(is_of_micro(&["wake", "select-poll-epoll", "--quick"]));
        assert!(!is_of_micro(&["wake", "echo"]) && !is_of_micro(&[]));
        assert!(OF_MICRO.iter().all(|name| suites().iter().any(|suite| suite == name)));
    }

    #[test]
    fn an_unknown_suite_is_answered_with_the_known_ones() {
        let message = parsed(&["ecko"]).unwrap_err();
        assert!(message.starts_with("no suite \"ecko\"; there are: dispatch, echo"), "{message}");
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
    fn suites_are_the_files_of_the_runner() {
        let suites = suites();
        assert!(suites.iter().any(|name| name == "select-poll-epoll"), "{suites:?}");
        assert!(OF_EXAMPLES.iter().all(|name| suites.iter().any(|known| known == name)));
    }

    #[test]
    fn a_report_is_made_again_without_measuring() {
        let options = parsed(&["--from", "rounds.json"]).unwrap().unwrap();
        assert_eq!(options.from.as_deref(), Some(Path::new("rounds.json")));
        assert!(parsed(&["--from", "rounds.json", "--quick"]).is_err());
    }
}
