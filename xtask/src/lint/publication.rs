//! The metadata that a published package must have.

use crate::workspace::Package;

pub(crate) fn errors(packages: &[Package]) -> Vec<String> {
    let published = packages.iter().filter(|package| package.is_published);
    published
        .flat_map(|package| {
            let missing = missing(package).map(|key| format!("no `{key}`"));
            let what = missing.chain(wrong_documentation(package));
            what.map(|what| format!("{}: {what}", package.manifest))
        })
        .collect()
}

fn missing(package: &Package) -> impl Iterator<Item = &'static str> {
    let fields = [
        ("description", is_empty(&package.description)),
        ("license", is_empty(&package.license)),
        ("readme", is_empty(&package.readme)),
        ("repository", is_empty(&package.repository)),
        ("documentation", is_empty(&package.documentation)),
        ("rust-version", is_empty(&package.rust_version)),
        ("keywords", package.keywords.is_empty()),
        ("categories", package.categories.is_empty()),
    ];
    fields.into_iter().filter(|(_, is_missing)| *is_missing).map(|(key, _)| key)
}

/// A manifest that was copied names the documentation of another package.
fn wrong_documentation(package: &Package) -> Option<String> {
    let expected = format!("https://docs.rs/{}", package.name);
    let actual = package.documentation.as_ref().filter(|address| !address.is_empty());
    let is_wrong = actual.is_some_and(|address| *address != expected);
    is_wrong.then(|| format!("`documentation` is not {expected}"))
}

fn is_empty(field: &Option<String>) -> bool {
    field.as_ref().is_none_or(String::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Package {
        let said = || Some("said".to_owned());
        Package {
            name: "a".to_owned(),
            manifest: "a/Cargo.toml".to_owned(),
            is_published: true,
            description: said(),
            license: said(),
            readme: said(),
            repository: said(),
            documentation: Some("https://docs.rs/a".to_owned()),
            rust_version: said(),
            keywords: vec!["epoll".to_owned()],
            categories: vec!["os".to_owned()],
            ..Package::default()
        }
    }

    #[test]
    fn a_complete_package_is_fine() {
        assert!(errors(&[complete()]).is_empty());
    }

    #[test]
    fn each_field_that_is_missing_is_named() {
        #[track_caller]
        fn misses(package: Package, key: &str) {
            assert_eq!(errors(&[package]), [format!("a/Cargo.toml: no `{key}`")]);
        }
        misses(Package { description: None, ..complete() }, "description");
        misses(Package { description: Some(String::new()), ..complete() }, "description");
        misses(Package { license: None, ..complete() }, "license");
        misses(Package { readme: None, ..complete() }, "readme");
        misses(Package { repository: None, ..complete() }, "repository");
        misses(Package { documentation: None, ..complete() }, "documentation");
        misses(Package { documentation: Some(String::new()), ..complete() }, "documentation");
        misses(Package { rust_version: None, ..complete() }, "rust-version");
        misses(Package { keywords: vec![], ..complete() }, "keywords");
        misses(Package { categories: vec![], ..complete() }, "categories");
    }

    #[test]
    fn the_documentation_of_another_package_is_refused() {
        let other = Some("https://docs.rs/b".to_owned());
        let errors = errors(&[Package { documentation: other, ..complete() }]);
        assert_eq!(errors, ["a/Cargo.toml: `documentation` is not https://docs.rs/a"]);
    }

    #[test]
    fn what_is_not_published_owes_nothing() {
        assert!(errors(&[Package::default()]).is_empty());
    }
}
