//! `cargo xtask lint`: rustfmt, the rules of this repository, clippy, rustdoc; what is quick comes
//! first.
//!
//! Each rule is a pure function from data to complaints, in a module of its own.

mod circles;
mod files;
mod forbid_unsafe;
mod layers;
mod lessons;
mod lints_table;
mod modules;
mod publication;
mod rust_code;
mod sources;

use crate::say::{complain, say};
use crate::step::Step;
use crate::workspace::Workspace;
use anyhow::bail;
use sources::SourceFile;

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let root = &workspace.root;
    let bench = workspace.bench()?;
    for root in [root].into_iter().chain(bench.as_ref().map(|bench| &bench.root)) {
        Step::cargo(&["fmt", "--all", "--", "--check"]).run(root)?;
    }
    check_rules(workspace, bench.as_ref())?;
    let all = ["--workspace", "--all-targets", "--all-features"];
    // Alone, because in the workspace others turn its features on, and those of epoll-sys.
    let least = ["--package", "epoll-reactor", "--lib", "--no-default-features"];
    for selection in [&all[..], &least[..]] {
        Step::cargo(&[&["clippy"], selection, &["--", "-D", "warnings"]].concat()).run(root)?;
    }
    if let Some(bench) = &bench {
        let args = [&["clippy"], &all[..2], &["--", "-D", "warnings"]].concat();
        Step::cargo(&args).run(&bench.root)?;
    }
    Step::cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
        .with("RUSTDOCFLAGS", "-D warnings")
        .run(root)
}

fn check_rules(workspace: &Workspace, bench: Option<&Workspace>) -> anyhow::Result<()> {
    say("$ rules of this repository: layers, circles, unsafe, lints, publication, lessons, files");
    let sources = sources::read(&workspace.root)?;
    for note in notes(&sources) {
        say(format_args!("note: {note}"));
    }
    let errors = errors(workspace, bench, &sources);
    for error in &errors {
        complain(format_args!("error: {error}"));
    }
    if !errors.is_empty() {
        bail!("step `rules of this repository` failed: {} errors", errors.len());
    }
    Ok(())
}

fn errors(workspace: &Workspace, bench: Option<&Workspace>, sources: &[SourceFile]) -> Vec<String> {
    let packages = &workspace.packages;
    let of_bench = bench.map_or(&[][..], |bench| &bench.packages);
    let both: Vec<_> = packages.iter().chain(of_bench).collect();
    let exceptions = forbid_unsafe::EXCEPTIONS;
    [
        layers::errors(packages),
        circles::errors(&both, sources),
        forbid_unsafe::errors(&both, sources, exceptions),
        lints_table::errors(&both, sources),
        lints_table::difference(sources).into_iter().collect(),
        publication::errors(packages),
        lessons::errors(packages, sources),
        files::home_errors(sources),
        files::length_errors(sources),
    ]
    .concat()
}

fn notes(sources: &[SourceFile]) -> Vec<String> {
    [forbid_unsafe::notes(forbid_unsafe::EXCEPTIONS), files::length_notes(sources)].concat()
}
