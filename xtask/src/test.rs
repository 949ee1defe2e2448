//! `cargo xtask test`: each package alone, the models of what threads share, and the benchmarks' own tests.
//!
//! Features unify in a workspace, so a package that forgot one would still build next to another that asks for
//! it. Testing one package at a time is what proves that each stands alone.

use crate::workspace::{BENCH, metadata, metadata_of};
use anyhow::bail;
use std::thread::available_parallelism;
use xshell::{Shell, cmd};

/// The package with tests that hold budgets of instructions and memory. Only what the optimizer has seen is worth
/// measuring.
const BUDGETS: &str = "epoll-kit-tests";

/// The variable with the number of tests that run at the same time.
const THREADS: &str = "RUST_TEST_THREADS";

/// Most tests wait: for a timeout, a process, or silence.
const TESTS_PER_CORE: usize = 4;

/// The packages with a model of what threads share, which loom runs in every order, and where it is.
const MODELS: [(&str, &str); 2] =
    [("epoll-sys", "claim_cell::model"), ("epoll-reactor", "shared::model")];

/// Tests the packages with these names; with no names all of them, then those of the benchmarks.
pub(crate) fn run(names: &[&str]) -> anyhow::Result<()> {
    let workspace = metadata()?;
    let root = &workspace.workspace_root;
    let manifest = root.join(BENCH);
    let bench = manifest.exists().then(|| metadata_of(&manifest)).transpose()?;
    let ours: Vec<_> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let of_bench = bench.iter().flat_map(|bench| &bench.packages);
    let of_bench: Vec<_> = of_bench.map(|package| package.name.as_str()).collect();
    let known = [ours.as_slice(), &of_bench].concat();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!("no package {name:?} in this workspace, which has: {}", known.join(", "));
    }

    let is_chosen = |name: &&&str| names.is_empty() || names.contains(name);
    let sh = Shell::new()?;
    sh.change_dir(root);
    if sh.var_os(THREADS).is_none() {
        sh.set_var(THREADS, (available_parallelism()?.get() * TESTS_PER_CORE).to_string());
    }
    for name in ours.iter().filter(is_chosen) {
        let profile = (*name == BUDGETS).then_some("--release");
        cmd!(sh, "cargo test -p {name} {profile...}").run()?;
        if let Some((_, model)) = MODELS.iter().find(|(modelled, _)| modelled == name) {
            // In a folder of its own: the flags are those of every dependency too.
            cmd!(sh, "cargo test --profile model -p {name} --lib --target-dir target/loom {model}")
                .env("RUSTFLAGS", "--cfg epoll_kit_loom")
                .run()?;
        }
    }
    let flags: Vec<_> = of_bench.iter().filter(is_chosen).flat_map(|name| ["-p", name]).collect();
    if !flags.is_empty() {
        // In one go: each has its dependencies to itself, and nobody uses them alone.
        cmd!(sh, "cargo test --manifest-path {manifest} {flags...}").run()?;
    }
    Ok(())
}
