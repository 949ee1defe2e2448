//! The rules of this repository that no tool checks. `cargo xtask lint` runs them.

mod circles;
mod modules;

use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::BTreeSet;
use std::fs;
use xshell::{Shell, cmd};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Each package, and those of this workspace that it may depend on, tests aside. A new package has to be given its
/// place.
const LAYERS: &[(&str, &[&str])] = &[
    ("epoll-sys", &[]),
    ("epoll-reactor", &["epoll-sys"]),
    ("epoll-timers", &["epoll-sys"]),
    ("epoll-shutdown", &["epoll-sys"]),
    ("epoll-connection", &["epoll-reactor"]),
    ("epoll-echo", &["epoll-connection"]),
    ("epoll-tls", &["epoll-connection"]),
    ("epoll-service", &["epoll-connection", "epoll-timers", "epoll-shutdown", "epoll-reactor"]),
    ("epoll-server", &["epoll-service", "epoll-echo", "epoll-tls", "epoll-reactor"]),
    // It shares no code with what it measures.
    ("epoll-load", &["epoll-sys"]),
    // The tests of all the others stand on it, those of the lowest too.
    ("epoll-kit-testing", &[]),
    // It must build when nothing else does.
    ("xtask", &[]),
    // Man pages are made of the programs.
    ("epoll-kit-tests", &["epoll-server", "epoll-load"]),
];

fn packages(manifests: &[&str]) -> Vec<Package> {
    let manifests = manifests.iter().map(|manifest| Utf8Path::new(ROOT).join(manifest));
    let metadata = |path| MetadataCommand::new().manifest_path(path).no_deps().exec().unwrap();
    manifests.flat_map(|path| metadata(path).packages).collect()
}

fn table(manifest: &Utf8Path) -> toml::Table {
    fs::read_to_string(manifest).unwrap().parse().unwrap()
}

/// Runs git in the root of the repository, and returns the lines that it prints.
fn git(words: &[&str]) -> Vec<String> {
    let sh = Shell::new().unwrap();
    sh.change_dir(ROOT);
    let output = cmd!(sh, "git {words...}").quiet().ignore_status().output().unwrap();
    // `git grep` has the status 1 if it finds nothing.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn packages_depend_on_lower_layers_only() {
    let packages = packages(&["Cargo.toml"]);
    for package in &packages {
        let name = package.name.as_str();
        let layer = LAYERS.iter().find(|(layer, _)| *layer == name);
        let (_, allowed) = layer.unwrap_or_else(|| panic!("{name}: no layer in {}", file!()));
        // Tests may use anything.
        let arrows =
            package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
        for arrow in arrows.filter(|arrow| packages.iter().any(|it| it.name == arrow.name)) {
            let is_allowed = allowed.contains(&arrow.name.as_str());
            assert!(is_allowed, "{name} depends on {}, and may on {allowed:?}", arrow.name);
        }
    }
}

#[test]
fn all_packages_have_the_same_lints() {
    let root = Utf8Path::new(ROOT);
    let mut lints = table(&root.join("Cargo.toml"))["workspace"]["lints"].clone();
    assert_eq!(table(&root.join("bench/Cargo.toml"))["workspace"]["lints"], lints, "bench");
    let unsafe_code = lints["rust"].as_table_mut().unwrap().remove("unsafe_code");
    assert_eq!(unsafe_code, Some("forbid".into()));
    let inherited = toml::Table::from_iter([("workspace".to_owned(), true.into())]).into();
    for package in packages(&["Cargo.toml", "bench/Cargo.toml"]) {
        let expected = if package.name == "epoll-sys" { &lints } else { &inherited };
        let actual = table(&package.manifest_path);
        assert_eq!(actual.get("lints"), Some(expected), "{}", package.manifest_path);
    }
}

#[test]
fn published_packages_say_what_a_registry_asks_for() {
    let empty = [toml::Value::from(""), toml::Value::Array(vec![])];
    for package in packages(&["Cargo.toml"]).iter().filter(|it| it.publish.is_none()) {
        let (path, address) = (&package.manifest_path, format!("https://docs.rs/{}", package.name));
        let keys = "description license readme repository rust-version keywords categories";
        for key in keys.split(' ') {
            let value = table(path)["package"].get(key).cloned();
            assert!(value.is_some_and(|value| !empty.contains(&value)), "{path}: no {key}");
        }
        assert_eq!(package.documentation, Some(address), "{path}");
    }
}

#[test]
fn lessons_run_every_example_and_no_other() {
    let page = fs::read_to_string(Utf8Path::new(ROOT).join("LESSONS.md")).unwrap();
    let named = page.lines().filter_map(|line| {
        let (package, rest) =
            line.trim().strip_prefix("cargo run -p ")?.split_once(" --example ")?;
        Some((package.to_owned(), rest.split_whitespace().next()?.to_owned()))
    });
    let packages = packages(&["Cargo.toml"]);
    let existing = packages.iter().flat_map(|package| {
        let examples = package.targets.iter().filter(|target| target.is_example());
        examples.map(|example| (package.name.clone(), example.name.clone()))
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), existing.collect::<BTreeSet<_>>());
}

#[test]
fn no_file_is_longer_than_800_lines() {
    let counted = git(&["grep", "--untracked", "-c", "", "--", "*.rs"]);
    let lines = |file: &str| file.rsplit_once(':').unwrap().1.parse::<usize>().unwrap();
    assert!(counted.len() > 100, "{counted:?}");
    assert_eq!(counted.iter().find(|file| lines(file) > 800), None);
}

#[test]
fn no_file_names_a_home() {
    // Inside a longer path or an address on the web, the folder is something else.
    let home = "(^|[^][:alnum:]._~)}-])/(root|home|Users)/";
    assert_eq!(git(&["grep", "--untracked", "-nIE", home]), [""; 0]);
}

#[test]
fn published_packages_have_no_let_chain_which_rust_1_85_does_not_know() {
    let chain = "(&& |[|][|] )let |(if|while) let [^|]* && ";
    assert_eq!(git(&["grep", "-nE", chain, "--", "crates/*.rs"]), [""; 0]);
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let text_of = |path: &str| fs::read_to_string(path).ok();
    for target in
        packages(&["Cargo.toml", "bench/Cargo.toml"]).iter().flat_map(|package| &package.targets)
    {
        let modules = modules::modules(target.src_path.as_str(), &text_of);
        assert!(!modules.is_empty(), "{} is not read", target.src_path);
        let circle = circles::circle(&modules);
        assert!(circle.is_empty(), "a circle of imports:\n{}", circle.join("\n"));
    }
}
