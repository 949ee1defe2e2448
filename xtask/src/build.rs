//! `cargo xtask build`: the programs that people run. Packages that are never published, such as
//! this one, bring none.

use crate::say::say;
use crate::step::Step;
use crate::workspace::{Package, Workspace};

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    Step::cargo(&arguments(&workspace.packages)).run(&workspace.root)?;
    for program in programs(&workspace.packages) {
        let path = workspace.target_folder.join("release").join(program);
        say(format_args!("built {}", path.display()));
    }
    Ok(())
}

fn arguments(packages: &[Package]) -> Vec<&str> {
    let own = packages.iter().filter(|package| !package.is_published);
    let excluded = own.flat_map(|package| ["--exclude", &package.name]);
    ["build", "--workspace", "--release", "--bins"].into_iter().chain(excluded).collect()
}

fn programs(packages: &[Package]) -> impl Iterator<Item = &str> {
    let published = packages.iter().filter(|package| package.is_published);
    let targets = published.flat_map(|package| &package.targets);
    targets.filter(|target| target.is_program).map(|target| target.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Target;

    fn program(package: &str, is_published: bool) -> Package {
        let target = Target {
            name: format!("{package}-program"),
            is_program: true,
            crate_root: String::new(),
        };
        Package {
            name: package.to_owned(),
            is_published,
            targets: vec![target],
            ..Package::default()
        }
    }

    #[test]
    fn only_what_is_published_is_built() {
        let packages = [program("a", true), program("b", false)];
        let expected = ["build", "--workspace", "--release", "--bins", "--exclude", "b"];
        assert_eq!(arguments(&packages), expected);
        assert_eq!(programs(&packages).collect::<Vec<_>>(), ["a-program"]);
    }
}
