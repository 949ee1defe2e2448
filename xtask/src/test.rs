//! `cargo xtask test`: each package alone, the model of what threads share, then all packages with all
//! features.
//!
//! Features unify in a workspace, so a package that forgot one would still build next to another
//! that asks for it. Testing one package at a time is what proves that each stands alone.

use crate::cli::UsageError;
use crate::left_out::{self, Record};
use crate::say::say;
use crate::step::Step;
use crate::workspace::{Package, Workspace};
use anyhow::bail;
use std::env;

/// The package with tests that hold budgets of instructions and memory. Only what the optimizer has
/// seen is worth measuring.
const BUDGETS: &str = "epoll-kit-tests";

/// The package with a model of what its threads share, which loom runs in every order.
const MODELLED: &str = "epoll-reactor";
const MODEL_FLAGS: &str = "--cfg loom -C debug-assertions";

/// Tests the packages with these names; with no names all of them, and then the whole workspace.
pub(crate) fn run(workspace: &Workspace, names: &[String]) -> anyhow::Result<()> {
    let mut steps: Vec<Step> = select(&workspace.packages, names)?
        .into_iter()
        .flat_map(|package| steps_of(&package.name))
        .collect();
    if names.is_empty() {
        steps.push(Step::cargo(&["check", "--workspace", "--all-targets", "--all-features"]));
    }

    let record = Record::create(&workspace.target_folder)?;
    let outcome = steps.into_iter().try_for_each(|step| {
        step.with_unshown(left_out::VARIABLE, record.path()).run(&workspace.root)
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
    let model = (package == MODELLED).then(|| {
        // In a folder of its own: the flags are those of every dependency too.
        let folder = ["--target-dir", "target/loom"];
        let args = ["test", "--release", "-p", MODELLED, "--lib"].into_iter().chain(folder);
        Step::cargo(&args.chain(["shared::model"]).collect::<Vec<_>>())
            .with("RUSTFLAGS", MODEL_FLAGS)
    });
    [Step::cargo(&arguments(package))].into_iter().chain(model)
}

fn arguments(package: &str) -> Vec<&str> {
    let profile = (package == BUDGETS).then_some("--release");
    ["test", "-p", package].into_iter().chain(profile).collect()
}

fn select<'a>(packages: &'a [Package], names: &[String]) -> Result<Vec<&'a Package>, UsageError> {
    if let Some(unknown) = names.iter().find(|name| packages.iter().all(|p| p.name != **name)) {
        let known: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        return Err(UsageError(format!(
            "no package {unknown:?} in this workspace, which has: {}",
            known.join(", ")
        )));
    }
    Ok(packages.iter().filter(|p| names.is_empty() || names.contains(&p.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Result<Vec<String>, UsageError> {
        let packages =
            ["a", "b", "c"].map(|name| Package { name: name.to_owned(), ..Package::default() });
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
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
