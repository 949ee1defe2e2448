//! `cargo xtask package`: packs every package that is published, then checks and tests what was packed.
//!
//! The packages are unpacked into a workspace of their own, which has no other files. Registry dependencies between
//! them are patched to the unpacked folders, because none has to be in the registry yet.

use crate::workspace::metadata;
use cargo_metadata::Package;
use xshell::{Shell, cmd};

pub(crate) fn run() -> anyhow::Result<()> {
    let (sh, workspace) = (Shell::new()?, metadata()?);
    let (root, target) = (&workspace.workspace_root, &workspace.target_directory);
    sh.change_dir(root);
    let published: Vec<_> =
        workspace.packages.iter().filter(|package| package.publish.is_none()).collect();
    let names = published.iter().flat_map(|package| ["-p", &package.name]);
    // Cargo's own verification only builds. It also caches the sources of a dependency by version, so after a
    // change in epoll-sys it would build the other packages against the previous one.
    cmd!(sh, "cargo package --no-verify --allow-dirty --target-dir {target} {names...}").run()?;

    let unpacked = target.join("unpacked");
    // A file that is no longer packed must not be found.
    sh.remove_path(&unpacked)?;
    let manifest = unpacked.join("Cargo.toml");
    sh.write_file(&manifest, manifest_of(&published))?;
    // The same versions of third-party packages as in every other step.
    sh.copy_file(root.join("Cargo.lock"), &unpacked)?;
    for package in &published {
        let archive = target.join("package").join(folder_name(package) + ".crate");
        // --touch: archives date every file to the same day in 2006, and Cargo rebuilds only what is newer than
        // its last build.
        cmd!(sh, "tar --extract --gzip --touch --directory {unpacked} --file {archive}").run()?;
    }
    // The target folder is that of the workspace, so that dependencies are compiled once for all packages.
    let folders = ["--manifest-path", manifest.as_str(), "--target-dir", target.as_str()];
    for name in published.iter().map(|package| &package.name) {
        // One by one, as a dependent gets them: together, and with tests, they have one another's features.
        cmd!(sh, "cargo check {folders...} -p {name}").run()?;
    }
    Ok(cmd!(sh, "cargo test {folders...}").run()?)
}

/// Returns the Cargo.toml of the workspace of unpacked packages.
fn manifest_of(published: &[&Package]) -> String {
    let members: Vec<_> = published.iter().map(|package| folder_name(package)).collect();
    let dependencies: Vec<_> = published.iter().flat_map(|package| &package.dependencies).collect();
    // Cargo warns of a patch that nothing uses.
    let is_used = |name: &str| dependencies.iter().any(|dependency| dependency.name == name);
    let patches = published.iter().filter(|package| is_used(&package.name));
    let patches: String = patches
        .map(|package| format!("{} = {{ path = {:?} }}\n", package.name, folder_name(package)))
        .collect();
    // The profile is that of the workspace, whose compiled dependencies are used.
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n\n[patch.crates-io]\n{patches}"
    )
}

/// Returns the name that `cargo package` gives to the archive and the folder in it.
fn folder_name(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}
