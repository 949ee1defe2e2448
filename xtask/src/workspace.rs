//! What `cargo metadata` knows about the packages of this workspace. Paths are relative to its
//! root, so that what is said about them reads the same on every machine.

use crate::step::cargo_program;
use anyhow::{Context, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target_folder: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The path of its Cargo.toml.
    pub(crate) manifest: String,
    pub(crate) is_published: bool,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) documentation: Option<String>,
    pub(crate) rust_version: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

/// What is compiled as a crate of its own: library, program, test, example, bench, build script.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) is_program: bool,
    /// The path of its first file.
    pub(crate) crate_root: String,
}

impl Workspace {
    /// Asks cargo about the workspace around the current folder.
    pub(crate) fn find() -> anyhow::Result<Self> {
        Self::ask(&[], None)
    }

    /// Asks cargo about the workspace of the benchmarks, if there is one in this workspace. Paths are
    /// relative to the root of this workspace.
    pub(crate) fn bench(&self) -> anyhow::Result<Option<Self>> {
        let manifest = self.root.join("bench/Cargo.toml");
        let which = ["--manifest-path".as_ref(), manifest.as_os_str()];
        manifest.is_file().then(|| Self::ask(&which, self.root.to_str())).transpose()
    }

    fn ask(which: &[&OsStr], paths_from: Option<&str>) -> anyhow::Result<Self> {
        let output = Command::new(cargo_program())
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .args(which)
            .output()
            .context("failed to start `cargo metadata`")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let json = serde_json::from_slice(&output.stdout)
            .context("failed to read the output of `cargo metadata`")?;
        Self::from_metadata(&json, paths_from)
    }

    fn from_metadata(json: &Value, paths_from: Option<&str>) -> anyhow::Result<Self> {
        let root = text(json, "workspace_root")?;
        let paths_from = paths_from.unwrap_or(&root);
        let package = |package: &Value| Package::from_metadata(package, paths_from);
        Ok(Self {
            packages: list(json, "packages", package)?,
            target_folder: text(json, "target_directory")?.into(),
            root: root.into(),
        })
    }
}

impl Package {
    fn from_metadata(json: &Value, root: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: text(json, "name")?,
            version: text(json, "version")?,
            manifest: relative(&text(json, "manifest_path")?, root),
            // `publish = false` comes out as an empty list of registries.
            is_published: json["publish"].as_array().is_none_or(|list| !list.is_empty()),
            description: text(json, "description").ok(),
            license: text(json, "license").ok(),
            readme: text(json, "readme").ok(),
            repository: text(json, "repository").ok(),
            documentation: text(json, "documentation").ok(),
            rust_version: text(json, "rust_version").ok(),
            keywords: list(json, "keywords", word)?,
            categories: list(json, "categories", word)?,
            dependencies: list(json, "dependencies", Dependency::from_metadata)?,
            targets: list(json, "targets", |target| Target::from_metadata(target, root))?,
        })
    }
}

impl Dependency {
    fn from_metadata(json: &Value) -> anyhow::Result<Self> {
        // The kind is null, "dev" or "build"; the name is the package's own, renamed or not.
        Ok(Self { name: text(json, "name")?, is_dev: json["kind"] == "dev" })
    }
}

impl Target {
    fn from_metadata(json: &Value, root: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: text(json, "name")?,
            is_program: list(json, "kind", word)?.iter().any(|kind| kind == "bin"),
            crate_root: relative(&text(json, "src_path")?, root),
        })
    }
}

fn text(json: &Value, key: &str) -> anyhow::Result<String> {
    word(&json[key]).with_context(|| format!("`{key}` is missing in the metadata"))
}

fn word(json: &Value) -> anyhow::Result<String> {
    json.as_str().map(str::to_owned).context("not a string in the metadata")
}

fn list<T>(
    json: &Value,
    key: &str,
    item: impl Fn(&Value) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let items = json[key].as_array();
    let items = items.with_context(|| format!("`{key}` is missing in the metadata"))?;
    items.iter().map(item).collect()
}

fn relative(path: &str, root: &str) -> String {
    let below = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
    below.unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn metadata(publish: &Value) -> Value {
        json!({
            "workspace_root": "/w",
            "target_directory": "/w/target",
            "packages": [{
                "name": "a", "version": "0.1.0", "manifest_path": "/w/crates/a/Cargo.toml",
                "publish": publish, "description": "A.", "license": null, "readme": "README.md",
                "repository": "https://example.org/a", "documentation": null,
                "rust_version": "1.85", "keywords": ["k"], "categories": [],
                "dependencies": [
                    { "name": "b", "kind": null, "rename": "c" },
                    { "name": "d", "kind": "build" },
                    { "name": "e", "kind": "dev" },
                ],
                "targets": [
                    { "name": "a", "kind": ["lib"], "src_path": "/w/crates/a/src/lib.rs" },
                    { "name": "a-tool", "kind": ["bin"], "src_path": "/w/crates/a/src/main.rs" },
                ],
            }],
        })
    }

    fn package(publish: &Value) -> Package {
        Workspace::from_metadata(&metadata(publish), None).unwrap().packages.remove(0)
    }

    #[test]
    fn paths_are_relative_to_the_root() {
        let package = package(&Value::Null);
        assert_eq!(package.manifest, "crates/a/Cargo.toml");
        assert_eq!(package.targets[0].crate_root, "crates/a/src/lib.rs");
        assert_eq!(relative("/workspace/a", "/w"), "/workspace/a");
    }

    #[test]
    fn paths_can_be_relative_to_a_folder_above() {
        let mut workspace =
            Workspace::from_metadata(&metadata(&Value::Null), Some("/w/crates")).unwrap();
        assert_eq!(workspace.packages.remove(0).manifest, "a/Cargo.toml");
        assert_eq!(workspace.root, Path::new("/w"));
    }

    #[test]
    fn a_package_is_published_unless_no_registry_may_have_it() {
        assert!(package(&Value::Null).is_published);
        assert!(package(&json!(["own-registry"])).is_published);
        assert!(!package(&json!([])).is_published);
    }

    #[test]
    fn kinds_of_dependencies_and_targets_are_told_apart() {
        let package = package(&Value::Null);
        let dev: Vec<_> = package.dependencies.iter().map(|d| (&d.name[..], d.is_dev)).collect();
        assert_eq!(dev, [("b", false), ("d", false), ("e", true)]);
        assert!(!package.targets[0].is_program);
        assert!(package.targets[1].is_program);
    }

    #[test]
    fn null_is_nothing() {
        let package = package(&Value::Null);
        assert_eq!(package.license, None);
        assert_eq!(package.documentation, None);
        assert_eq!(package.readme.as_deref(), Some("README.md"));
        assert_eq!(package.repository.as_deref(), Some("https://example.org/a"));
        assert_eq!(package.version, "0.1.0");
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = Workspace::from_metadata(&json!({}), None).unwrap_err().to_string();
        assert!(error.contains("`workspace_root`"), "{error}");
    }
}
