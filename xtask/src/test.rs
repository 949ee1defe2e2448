//! `cargo xtask test`: each package alone, the model of what threads share, then all packages with all
//! features, and the benchmarks' own tests.
//!
//! Features unify in a workspace, so a package that forgot one would still build next to another
//! that asks for it. Testing one package at a time is what proves that each stands alone.

use crate::left_out::{self, Record};
use crate::say::say;
use crate::step::Step;
use crate::usage::UsageError;
use crate::workspace::{Package, Workspace};
use anyhow::bail;
use std::env;

/// The package with tests that hold budgets of instructions and memory. Only what the optimizer has
/// seen is worth measuring.
const BUDGETS: &str = "epoll-kit-tests";

/// The packages with a model of what threads share, which loom runs in every order, and where it is.
const MODELS: [(&str, &str); 2] =
    [("epoll-sys", "claim_cell::model"), ("epoll-reactor", "shared::model")];
const MODEL_FLAGS: &str = "--cfg epoll_kit_loom -C debug-assertions";

/// Tests the packages with these names; with no names all of them, then the whole workspace and the
/// benchmarks.
pub(crate) fn run(workspace: &Workspace, names: &[String]) -> anyhow::Result<()> {
    let bench = workspace.bench()?;
    let of_bench = bench.as_ref().map_or(&[][..], |bench| &bench.packages);
    let known: Vec<_> = workspace.packages.iter().chain(of_bench).collect();
    let chosen = select(&known, names)?;
    let is_ours = |package: &&&Package| workspace.packages.iter().any(|it| it.name == package.name);
    let ours = chosen.iter().filter(is_ours).flat_map(|package| steps_of(&package.name));
    let mut steps: Vec<_> = ours.map(|step| (step, &workspace.root)).collect();
    if names.is_empty() {
        let check = ["check", "--workspace", "--all-targets", "--all-features"];
        steps.push((Step::cargo(&check), &workspace.root));
    }
    if let Some(bench) = &bench {
        let chosen = chosen.iter().filter(|package| !is_ours(package));
        let of_bench = chosen.map(|package| package.name.as_str());
        let packages: Vec<_> = of_bench.flat_map(|name| ["-p", name]).collect();
        if !packages.is_empty() {
            // In one go: each has its dependencies to itself, and nobody uses them alone.
            steps.push((Step::cargo(&[&["test"], &packages[..]].concat()), &bench.root));
        }
    }

    let record = Record::create(&workspace.target_folder)?;
    let outcome = steps.into_iter().try_for_each(|(step, root)| {
        step.with_unshown(left_out::VARIABLE, record.path()).run(root)
    });
    // Named even when a step has failed: the missing program may explain it.
    let left_out = record.into_summary()?;
    for line in &left_out {
        say(format_args!("left out: {line}"));
    }
    outcome?;
    if !left_out.is_empty() && is_ci() {
        bail!("step `nothing is left out` failed: CI has to run every test");
    }
    Ok(())
}

fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn steps_of(package: &str) -> impl Iterator<Item = Step> {
    let model = MODELS.iter().find(|(modelled, _)| *modelled == package).map(|(_, tests)| {
        // In a folder of its own: the flags are those of every dependency too.
        let folder = ["--target-dir", "target/loom"];
        let args = ["test", "--release", "-p", package, "--lib"].into_iter().chain(folder);
        Step::cargo(&args.chain([*tests]).collect::<Vec<_>>()).with("RUSTFLAGS", MODEL_FLAGS)
    });
    [Step::cargo(&arguments(package))].into_iter().chain(model)
}

fn arguments(package: &str) -> Vec<&str> {
    let profile = (package == BUDGETS).then_some("--release");
    ["test", "-p", package].into_iter().chain(profile).collect()
}

fn select<'a>(packages: &[&'a Package], names: &[String]) -> Result<Vec<&'a Package>, UsageError> {
    if let Some(unknown) = names.iter().find(|name| packages.iter().all(|p| p.name != **name)) {
        let known: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        return Err(UsageError(format!(
            "no package {unknown:?} in this workspace, which has: {}",
            known.join(", ")
        )));
    }
    let is_chosen = |package: &&&Package| names.is_empty() || names.contains(&package.name);
    Ok(packages.iter().filter(is_chosen).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Result<Vec<String>, UsageError> {
        let packages =
            ["a", "b", "c"].map(|name| Package { name: name.to_owned(), ..Package::default() });
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let packages: Vec<_> = packages.iter().collect();
        Ok(select(&packages, &names)?.into_iter().map(|p| p.name.clone()).collect())
    }

    #[test]
    fn no_name_selects_every_package() {
        assert_eq!(selected(&[]).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn names_select_theirs_once() {
        assert_eq!(selected(&["c", "a", "c"]).unwrap(), ["a", "c"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = selected(&["a", "d"]).unwrap_err().to_string();
        assert_eq!(message, "no package \"d\" in this workspace, which has: a, b, c");
    }

    #[test]
    fn only_budgets_are_tested_in_the_release_profile() {
        assert_eq!(arguments("epoll-sys"), ["test", "-p", "epoll-sys"]);
        assert_eq!(arguments(BUDGETS), ["test", "-p", BUDGETS, "--release"]);
    }
}
