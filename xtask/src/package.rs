//! `cargo xtask package`: packs every package that is published, then builds and tests what was packed.
//!
//! The packages are unpacked into a workspace of their own, which has no other files. Registry
//! dependencies between them are patched to the unpacked folders, because none has to be in the registry
//! yet.

use crate::say::say;
use crate::step::Step;
use crate::workspace::{Package, Workspace};
use anyhow::{Context, bail, ensure};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// The workspace of the unpacked packages, in the target folder.
const UNPACKED: &str = "unpacked";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let published: Vec<_> = workspace.packages.iter().filter(|p| p.is_published).collect();
    // Without a name, `cargo package` would choose by the current folder.
    ensure!(!published.is_empty(), "no package of this workspace is published");
    let target = shown_path(workspace);
    Step::cargo(&pack_arguments(&published, &target)).run(&workspace.root)?;
    unpack(workspace, &published)?;
    for package in published {
        // `build` is what a dependent gets: `test` adds the features of development dependencies.
        for command in ["build", "test"] {
            let arguments = command_arguments(command, package, &target);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            Step::cargo(&arguments).run(&workspace.root)?;
        }
    }
    Ok(())
}

/// Returns the target folder as the steps name it: relative to the root if it is inside.
fn shown_path(workspace: &Workspace) -> String {
    let target = &workspace.target_folder;
    target.strip_prefix(&workspace.root).unwrap_or(target).display().to_string()
}

fn pack_arguments<'a>(published: &[&'a Package], target: &'a str) -> Vec<&'a str> {
    let names = published.iter().flat_map(|package| ["-p", &package.name]);
    // Cargo's own verification only builds. It also caches the sources of a dependency by version, so
    // after a change in epoll-sys it would build the other packages against the previous one.
    let flags = ["package", "--no-verify", "--allow-dirty", "--target-dir", target];
    flags.into_iter().chain(names).collect()
}

/// Returns the arguments of `command` for one unpacked package. The target folder is that of the
/// workspace, so that dependencies are compiled once for all packages, and not again by `xtask test`.
fn command_arguments(command: &str, package: &Package, target: &str) -> Vec<String> {
    let manifest = format!("{target}/{UNPACKED}/Cargo.toml");
    let words = [command, "--manifest-path", &manifest, "--target-dir", target, "-p"];
    words.into_iter().chain([package.name.as_str()]).map(str::to_owned).collect()
}

fn unpack(workspace: &Workspace, published: &[&Package]) -> anyhow::Result<()> {
    let folder = workspace.target_folder.join(UNPACKED);
    say(format_args!("$ unpack into {}/{UNPACKED}", shown_path(workspace)));
    prepare(workspace, published, &folder)
        .with_context(|| format!("failed to prepare {}", folder.display()))?;
    for package in published {
        let file = format!("{}.crate", folder_name(package));
        extract(&workspace.target_folder.join("package").join(file), &folder)?;
    }
    Ok(())
}

fn prepare(workspace: &Workspace, published: &[&Package], folder: &Path) -> io::Result<()> {
    // A file that is no longer packed must not be found.
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(folder)?,
    }
    fs::write(folder.join("Cargo.toml"), manifest(published))?;
    // The same versions of third-party packages as in every other step.
    let lock = workspace.root.join("Cargo.lock");
    if lock.exists() {
        fs::copy(lock, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

fn extract(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    // --touch: archives date every file to the same day in 2006, and Cargo rebuilds only what is newer
    // than its last build.
    let status = Command::new("tar")
        .args(["--extract", "--gzip", "--touch", "--file"])
        .arg(archive)
        .current_dir(folder)
        .status()
        .context("failed to start `tar`")?;
    if !status.success() {
        bail!("step `tar --extract --file {}` failed: {status}", archive.display());
    }
    Ok(())
}

/// Returns the Cargo.toml of the workspace of unpacked packages.
fn manifest(published: &[&Package]) -> String {
    let mut text = "[workspace]\nresolver = \"3\"\nmembers = [\n".to_owned();
    for package in published {
        let _ = writeln!(text, "    {:?},", folder_name(package));
    }
    text += "]\n\n[patch.crates-io]\n";
    // Cargo warns of a patch that nothing uses.
    for package in published.iter().filter(|package| is_used(package, published)) {
        let _ = writeln!(text, "{} = {{ path = {:?} }}", package.name, folder_name(package));
    }
    text
}

fn is_used(package: &Package, published: &[&Package]) -> bool {
    let mut dependencies = published.iter().flat_map(|other| &other.dependencies);
    dependencies.any(|dependency| dependency.name == package.name)
}

/// Returns the name that `cargo package` gives to the archive and the folder in it.
fn folder_name(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency { name: (*name).to_owned(), is_dev: false };
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            ..Package::default()
        }
    }

    #[test]
    fn packages_are_packed_together_by_name() {
        let (low, high) = (package("low", &[]), package("high", &["low"]));
        let arguments = pack_arguments(&[&low, &high], "target").join(" ");
        assert_eq!(
            arguments,
            "package --no-verify --allow-dirty --target-dir target -p low -p high"
        );
    }

    #[test]
    fn unpacked_packages_are_built_from_their_own_workspace() {
        let arguments = command_arguments("test", &package("low", &[]), "target").join(" ");
        let expected = "test --manifest-path target/unpacked/Cargo.toml --target-dir target -p low";
        assert_eq!(arguments, expected);
    }

    #[test]
    fn unpacked_packages_depend_on_each_other() {
        let (low, high) = (package("low", &[]), package("high", &["low", "libc"]));
        let expected = r#"[workspace]
resolver = "3"
members = [
    "low-0.1.0",
    "high-0.1.0",
]

[patch.crates-io]
low = { path = "low-0.1.0" }
"#;
        assert_eq!(manifest(&[&low, &high]), expected);
    }

    #[test]
    fn unpacked_packages_keep_the_lock_of_the_workspace() {
        let root = std::env::temp_dir().join(format!("epoll-kit-xtask-{}", std::process::id()));
        let unpacked = root.join("target/unpacked");
        let workspace =
            Workspace { root: root.clone(), target_folder: root.join("target"), packages: vec![] };
        prepare(&workspace, &[], &unpacked).unwrap();
        assert!(!unpacked.join("Cargo.lock").exists());
        fs::write(root.join("Cargo.lock"), "locked").unwrap();
        prepare(&workspace, &[], &unpacked).unwrap();
        assert_eq!(fs::read_to_string(unpacked.join("Cargo.lock")).unwrap(), "locked");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_target_folder_is_shown_from_the_root() {
        let mut workspace =
            Workspace { root: "/w".into(), target_folder: "/w/target".into(), packages: vec![] };
        assert_eq!(shown_path(&workspace), "target");
        workspace.target_folder = "/elsewhere".into();
        assert_eq!(shown_path(&workspace), "/elsewhere");
    }
}
