//! `cargo xtask`: builds, tests, lints, packs and measures the workspace. It runs the other packages and links none
//! of them. The exit status is 0, 1 when a step failed, or 2 when there is no such command.

mod lessons;
mod package;
mod test;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::process::ExitCode;
use workspace::{BENCH, metadata, metadata_of};
use xshell::{Shell, cmd};

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  build           build the programs in the release profile
  test [NAME...]  test every package alone, those of bench too; with names, only these packages
  lint            rustfmt, the rules of this repository, clippy, rustdoc, cargo-deny
  dist            write the man pages and the shell completions of the programs to target/dist
  package         pack every package that is published into target/package, then check and
                  test what was packed
  bench [WORD...] measure it beside other crates; see `cargo xtask bench --help`
  lessons [N|all] list the lessons, or run one, or all that end by themselves

A test whose program is missing is left out and says so; with CI in the environment, it fails.";

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    match run(&words) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("xtask: not understood; see `cargo xtask help`");
            ExitCode::from(2)
        }
    }
}

/// Runs the command of the command line; `None` if there is no such command.
fn run(words: &[OsString]) -> Option<anyhow::Result<()>> {
    let texts: Vec<_> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    Some(match texts[..] {
        ["bench", ..] => bench(&words[1..]),
        _ if texts.iter().any(|text| ["help", "-h", "--help"].contains(text)) => {
            print_line(HELP);
            Ok(())
        }
        ["build"] => build(),
        ["test", ref names @ ..] => test::run(names),
        ["lint"] => lint(),
        ["dist"] => dist(),
        ["package"] => package::run(),
        ["lessons", ref which @ ..] if which.len() < 2 => lessons::run(which.first().copied()),
        _ => return None,
    })
}

/// Prints a line. If nobody reads it any more, as under `head`, the work goes on all the same.
fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Builds the programs that people run. Packages that are never published, such as this one, bring none.
fn build() -> anyhow::Result<()> {
    let (sh, workspace) = (Shell::new()?, metadata()?);
    let published = || workspace.packages.iter().filter(|package| package.publish.is_none());
    let flags = published().flat_map(|package| ["-p", &package.name]);
    cmd!(sh, "cargo build --release --bins {flags...}").run()?;
    for program in published().flat_map(|it| &it.targets).filter(|it| it.is_bin()) {
        print_line(&format!("built {}/release/{}", workspace.target_directory, program.name));
    }
    Ok(())
}

/// Runs what checks the sources; what is quick comes first.
fn lint() -> anyhow::Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(metadata()?.workspace_root);
    for manifest in ["Cargo.toml", BENCH] {
        cmd!(sh, "cargo fmt --manifest-path {manifest} --all -- --check").run()?;
    }
    cmd!(sh, "cargo test --quiet --package xtask --test rules").run()?;
    for manifest in ["Cargo.toml", BENCH] {
        let all = ["--workspace", "--all-targets", "--all-features"];
        cmd!(sh, "cargo clippy --manifest-path {manifest} {all...} -- -D warnings").run()?;
    }
    // Alone, because in the workspace others turn its features on, and those of epoll-sys.
    cmd!(sh, "cargo clippy -p epoll-reactor --lib --no-default-features -- -D warnings").run()?;
    // The advisories come from a git repository on a host that not every machine reaches; it says so if it fails.
    let advisories = cmd!(sh, "cargo deny fetch db").run().ok().map(|()| "advisories");
    for path in ["Cargo.toml", BENCH] {
        let deny = cmd!(sh, "cargo deny --manifest-path {path} --locked check -A unmatched-skip");
        deny.args(["bans", "licenses", "sources"]).args(advisories).run()?;
    }
    sh.set_var("RUSTDOCFLAGS", "-D warnings");
    Ok(cmd!(sh, "cargo doc --workspace --no-deps --all-features").run()?)
}

/// Writes the man pages and the completions. Another package makes them, because this one links no program.
fn dist() -> anyhow::Result<()> {
    let (sh, folder) = (Shell::new()?, metadata()?.target_directory.join("dist"));
    cmd!(sh, "cargo run --package epoll-kit-tests --bin epoll-kit-dist -- {folder}").run()?;
    print_line(&format!("wrote {folder}/man and {folder}/completions"));
    Ok(())
}

/// Runs the benchmarks. The runner reads the words, and builds what its suites measure.
fn bench(words: &[OsString]) -> anyhow::Result<()> {
    let (sh, workspace) = (Shell::new()?, metadata()?);
    let (root, target) = (&workspace.workspace_root, &workspace.target_directory);
    let manifest = root.join(BENCH);
    let bench_target = metadata_of(&manifest)?.target_directory;
    let folders = cmd!(
        sh,
        "cargo run --release --manifest-path {manifest} --package epoll-kit-bench-runner --
            --root {root} --programs {target}/release --bench-programs {bench_target}/release
            --out {target}/bench"
    );
    Ok(folders.arg("--build").args(words).run()?)
}
