//! Every manifest inherits the lints of the workspace. `cargo metadata` does not tell, so its lines
//! are read; cargo itself refuses a manifest that is not TOML.

use super::sources::SourceFile;
use crate::workspace::Package;

pub(crate) fn errors(packages: &[&Package], sources: &[SourceFile]) -> Vec<String> {
    let manifests = packages.iter().map(|package| &package.manifest);
    manifests.filter_map(|path| error_of(path, sources)).collect()
}

fn error_of(path: &str, sources: &[SourceFile]) -> Option<String> {
    match sources.iter().find(|source| source.path == path) {
        None => Some(format!("{path}: ignored by git")),
        Some(source) if inherits(&source.text) => None,
        Some(_) => Some(format!("{path}: does not say `workspace = true` under [lints]")),
    }
}

fn inherits(manifest: &str) -> bool {
    let lines = manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let table = lines.skip_while(|line| *line != "[lints]").skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

/// Complains if the workspace of the benchmarks has other lints than this one.
pub(crate) fn difference(sources: &[SourceFile]) -> Option<String> {
    let lints_of = |path: &str| sources.iter().find(|it| it.path == path).map(|it| lints(&it.text));
    let (ours, of_bench) = (lints_of("Cargo.toml")?, lints_of("bench/Cargo.toml")?);
    (ours != of_bench).then(|| "bench/Cargo.toml: other lints than in Cargo.toml".to_owned())
}

/// Returns the lines of the lints' tables.
fn lints(manifest: &str) -> Vec<&str> {
    let (mut is_inside, mut lints) = (false, Vec::new());
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if line.starts_with('[') {
            is_inside = line.starts_with("[workspace.lints");
        }
        lints.extend((is_inside && !line.is_empty()).then_some(line));
    }
    lints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::sources::source;

    #[test]
    fn the_table_is_found_wherever_it_stands() {
        assert!(inherits("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(inherits("[lints]  # as everywhere\n\nworkspace=true # all\n[package]\n"));
    }

    #[test]
    fn another_table_or_a_comment_does_not_count() {
        assert!(!inherits("[package]\nworkspace = true\n"));
        assert!(!inherits("[lints]\n[dependencies.a]\nworkspace = true\n"));
        assert!(!inherits("[lints]\n# workspace = true\n"));
        assert!(!inherits("[lints]\nworkspace = false\n"));
    }

    #[test]
    fn lints_of_the_benchmarks_are_the_same() {
        let lints =
            "[workspace.lints.rust]\nmissing_docs = \"warn\" # all\n\n[profile.release]\nlto = 1\n";
        let sources = |other: &str| {
            [source("Cargo.toml", lints), source("bench/Cargo.toml", &other.replace("lto", "x"))]
        };
        assert_eq!(difference(&sources(lints)), None);
        let errors = difference(&sources(&lints.replace("warn", "deny")));
        assert_eq!(errors.unwrap(), "bench/Cargo.toml: other lints than in Cargo.toml");
        assert_eq!(difference(&[]), None);
    }

    #[test]
    fn an_error_names_the_manifest() {
        let manifest = "crates/a/Cargo.toml";
        let packages = [Package { manifest: manifest.to_owned(), ..Package::default() }];
        let sources = [source(manifest, "[package]\n")];
        assert!(
            errors(&[&packages[0]], &sources)[0].starts_with("crates/a/Cargo.toml: does not say")
        );
        assert_eq!(errors(&[&packages[0]], &[]), ["crates/a/Cargo.toml: ignored by git"]);
    }
}
