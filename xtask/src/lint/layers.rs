//! The arrows between the packages: what each may depend on, tests aside. What is not in the table
//! is an error, so a new package has to be given its place.

use crate::workspace::Package;

enum Below {
    Only(&'static [&'static str]),
    Anything,
}

const LAYERS: &[(&str, Below)] = &[
    ("epoll-sys", Below::Only(&[])),
    ("epoll-reactor", Below::Only(&["epoll-sys"])),
    ("epoll-timers", Below::Only(&["epoll-sys"])),
    ("epoll-shutdown", Below::Only(&["epoll-sys"])),
    ("epoll-connection", Below::Only(&["epoll-reactor"])),
    ("epoll-echo", Below::Only(&["epoll-connection"])),
    ("epoll-tls", Below::Only(&["epoll-connection"])),
    (
        "epoll-service",
        Below::Only(&["epoll-connection", "epoll-timers", "epoll-shutdown", "epoll-reactor"]),
    ),
    ("epoll-server", Below::Only(&["epoll-service", "epoll-echo", "epoll-tls", "epoll-reactor"])),
    // It shares no code with what it measures.
    ("epoll-load", Below::Only(&["epoll-sys"])),
    // The tests of all the others stand on it, those of the lowest too.
    ("epoll-kit-testing", Below::Only(&[])),
    // It must build when nothing else does.
    ("xtask", Below::Only(&[])),
    ("epoll-kit-tests", Below::Anything),
];

pub(crate) fn errors(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| errors_of(package, packages)).collect()
}

fn errors_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let name = &package.name;
    let allowed = match LAYERS.iter().find(|(layer, _)| layer == name) {
        None => {
            return vec![format!("{name}: no layer; give it a row in xtask/src/lint/layers.rs")];
        }
        Some((_, Below::Anything)) => return vec![],
        Some((_, Below::Only(allowed))) => allowed,
    };
    // Tests may use anything, so development dependencies are no arrows.
    let arrows = package.dependencies.iter().filter(|dependency| !dependency.is_dev);
    arrows
        .filter(|arrow| packages.iter().any(|package| package.name == arrow.name))
        .filter(|arrow| !allowed.contains(&arrow.name.as_str()))
        .map(|arrow| format!("{name}: depends on {}, {}", arrow.name, rule(allowed)))
        .collect()
}

fn rule(allowed: &[&str]) -> String {
    if allowed.is_empty() {
        "but may depend on no package of this workspace".to_owned()
    } else {
        format!("but may depend only on {}", allowed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    const ALL: &[&str] = &[
        "epoll-sys",
        "epoll-reactor",
        "epoll-timers",
        "epoll-shutdown",
        "epoll-connection",
        "epoll-service",
        "epoll-echo",
        "epoll-server",
        "epoll-load",
        "epoll-kit-testing",
        "xtask",
        "epoll-kit-tests",
    ];

    /// Returns the complaint about `name` if it must not depend on `dependency`.
    fn verdict(name: &str, dependency: &str, is_dev: bool) -> Vec<String> {
        let mut packages: Vec<_> = ALL
            .iter()
            .filter(|other| **other != name)
            .map(|other| Package { name: (*other).to_owned(), ..Package::default() })
            .collect();
        packages.push(Package {
            name: name.to_owned(),
            dependencies: vec![Dependency { name: dependency.to_owned(), is_dev }],
            ..Package::default()
        });
        errors(&packages)
    }

    #[track_caller]
    fn may_depend_on(name: &str, allowed: &[&str]) {
        for other in ALL.iter().filter(|other| **other != name) {
            let is_allowed = verdict(name, other, false).is_empty();
            assert_eq!(is_allowed, allowed.contains(other), "{name} -> {other}");
        }
    }

    #[test]
    fn arrows_run_downwards_exactly_as_drawn() {
        may_depend_on("epoll-sys", &[]);
        may_depend_on("epoll-reactor", &["epoll-sys"]);
        may_depend_on("epoll-timers", &["epoll-sys"]);
        may_depend_on("epoll-shutdown", &["epoll-sys"]);
        may_depend_on("epoll-connection", &["epoll-reactor"]);
        may_depend_on("epoll-echo", &["epoll-connection"]);
        may_depend_on("epoll-load", &["epoll-sys"]);
        may_depend_on("epoll-kit-testing", &[]);
        may_depend_on("xtask", &[]);
    }

    #[test]
    fn the_service_joins_the_layers_and_tests_use_all() {
        let joined = ["epoll-connection", "epoll-timers", "epoll-shutdown", "epoll-reactor"];
        may_depend_on("epoll-service", &joined);
        may_depend_on("epoll-server", &["epoll-service", "epoll-echo", "epoll-reactor"]);
        may_depend_on("epoll-kit-tests", ALL);
    }

    #[test]
    fn an_error_names_the_arrow_and_the_rule() {
        let expected =
            "epoll-echo: depends on epoll-timers, but may depend only on epoll-connection";
        assert_eq!(verdict("epoll-echo", "epoll-timers", false), [expected]);
    }

    #[test]
    fn other_people_s_packages_and_tests_are_no_arrows() {
        assert!(verdict("epoll-sys", "rustix", false).is_empty());
        assert!(verdict("epoll-timers", "epoll-reactor", true).is_empty());
    }

    #[test]
    fn a_package_without_a_layer_is_an_error() {
        let errors = verdict("epoll-novelty", "rustix", false);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("epoll-novelty: no layer"), "{errors:?}");
    }
}
