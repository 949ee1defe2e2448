//! Every example has its place in LESSONS.md, and every example that is named there exists.

use super::sources::SourceFile;
use crate::workspace::Package;

const PAGE: &str = "LESSONS.md";

pub(crate) fn errors(packages: &[Package], sources: &[SourceFile]) -> Vec<String> {
    let page = sources.iter().find(|source| source.path == PAGE);
    let named: Vec<_> =
        page.iter().flat_map(|page| page.text.lines().filter_map(example)).collect();
    let existing: Vec<_> = packages.iter().flat_map(examples).collect();
    let missing = existing.iter().filter(|example| !named.contains(example));
    let unknown = named.iter().filter(|example| !existing.contains(example));
    missing
        .map(|(package, name)| format!("{PAGE}: no lesson runs the example {name} of {package}"))
        .chain(unknown.map(|(package, name)| format!("{PAGE}: {package} has no example {name}")))
        .collect()
}

/// Package and name of the example that a line runs.
fn example(line: &str) -> Option<(&str, &str)> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["cargo", "run", "-p", package, "--example", name, ..] => Some((package, name)),
        _ => None,
    }
}

fn examples(package: &Package) -> impl Iterator<Item = (&str, &str)> {
    let targets = package.targets.iter().filter(|it| it.crate_root.contains("/examples/"));
    targets.map(|target| (package.name.as_str(), target.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::sources::source;
    use crate::workspace::Target;

    /// What is said of a package `a` with an example `b`, and of this page.
    fn verdict(page: &str) -> Vec<String> {
        let target = |name: &str, crate_root: &str| Target {
            name: name.to_owned(),
            is_program: false,
            crate_root: crate_root.to_owned(),
        };
        let targets = vec![target("a", "a/src/lib.rs"), target("b", "a/examples/b.rs")];
        let packages = [Package { name: "a".to_owned(), targets, ..Package::default() }];
        errors(&packages, &[source(PAGE, page), source("OTHER.md", "cargo run -p x --example y")])
    }

    #[test]
    fn an_example_has_a_lesson() {
        assert!(verdict("1. One.\n\n       cargo run -p a --example b -- 1\n").is_empty());
        assert_eq!(verdict(""), ["LESSONS.md: no lesson runs the example b of a"]);
    }

    #[test]
    fn a_lesson_has_an_example() {
        let page = "cargo run -p a --example b\ncargo run -p a --example c\n";
        assert_eq!(verdict(page), ["LESSONS.md: a has no example c"]);
    }
}
