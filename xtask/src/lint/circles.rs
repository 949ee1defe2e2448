//! No two files import one another in a circle: in each crate, files form floors.
//!
//! A module and those that stand inside it are one house: that an inner one uses its outer ones, as an
//! `impl` in a file of its own does, is no import.

use super::modules::{Module, ModulePath, modules};
use super::sources::SourceFile;
use crate::workspace::Package;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Files, and the files that each takes something from, with a name for each.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

pub(crate) fn errors(packages: &[&Package], sources: &[SourceFile]) -> Vec<String> {
    let by_path: BTreeMap<_, _> =
        sources.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let text_of = |path: &str| by_path.get(path).copied();
    let mut errors = BTreeSet::new();
    for target in packages.iter().flat_map(|package| &package.targets) {
        let imports = imports(&modules(&target.crate_root, &text_of));
        errors.extend(circles(&imports).iter().map(|circle| describe(circle, &imports)));
    }
    errors.into_iter().collect()
}

/// Returns the imports between the files of a crate.
fn imports(modules: &BTreeMap<ModulePath, Module>) -> Imports {
    let mut imports = Imports::new();
    for (path, module) in modules {
        let taken = module.imports.values().chain(&module.paths);
        let files = taken.filter_map(|names| {
            let file = resolve(modules, &absolute(modules, path, names, 0)?, 0)?;
            Some((file, names.last()?.clone()))
        });
        let globs = module.globs.iter().filter_map(|names| {
            let target = absolute(modules, path, names, 0)?;
            Some((modules.get(&target)?.file.clone(), "*".to_owned()))
        });
        let outer: Vec<_> = (0..=path.len()).map(|depth| &modules[&path[..depth]].file).collect();
        let of_file = imports.entry(module.file.clone()).or_default();
        of_file.extend(files.chain(globs).filter(|(file, _)| !outer.contains(&file)));
    }
    imports
}

/// More steps than any path takes.
const STEPS_MAX: u32 = 32;

/// Returns the path from the crate root of what has these names within a module; `None` if it belongs
/// to another crate.
fn absolute(
    modules: &BTreeMap<ModulePath, Module>,
    within: &ModulePath,
    names: &[String],
    steps: u32,
) -> Option<Vec<String>> {
    let module = modules.get(within)?;
    let (first, rest) = names.split_first()?;
    if steps > STEPS_MAX {
        return None;
    }
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([within, rest].concat()),
        "super" => {
            let parent = within.split_last()?.1.to_vec();
            let is_more = rest.first().is_some_and(|name| name == "super");
            if is_more {
                absolute(modules, &parent, rest, steps + 1)
            } else {
                Some([&parent, rest].concat())
            }
        }
        _ if module.children.contains(first) => Some([within, names].concat()),
        _ => {
            let import = module.imports.get(first).filter(|import| *import != names)?;
            let base = absolute(modules, within, import, steps + 1)?;
            Some([&base, rest].concat())
        }
    }
}

/// Returns the file that defines what has this path, however many modules hand it on. A module itself
/// is no definition.
fn resolve(modules: &BTreeMap<ModulePath, Module>, path: &[String], steps: u32) -> Option<String> {
    let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
    let (within, module) = (path[..depth].to_vec(), &modules[&path[..depth]]);
    let name = path.get(depth)?;
    if steps > STEPS_MAX || module.definitions.contains(name) {
        return Some(module.file.clone());
    }
    if let Some(import) = module.imports.get(name) {
        let base = absolute(modules, &within, import, 0)?;
        return resolve(modules, &[&base, &path[depth + 1..]].concat(), steps + 1);
    }
    let globs = module.globs.iter().filter_map(|names| absolute(modules, &within, names, 0));
    let defines = |glob: &Vec<String>| {
        modules.get(glob).is_some_and(|module| module.definitions.contains(name))
    };
    let by_glob = globs.into_iter().find(defines).map(|glob| modules[&glob].file.clone());
    Some(by_glob.unwrap_or_else(|| module.file.clone()))
}

/// Returns the shortest circle through each group of files that reach one another.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let (mut circles, mut told) = (Vec::new(), BTreeSet::new());
    for file in imports.keys() {
        if told.contains(file) {
            continue;
        }
        if let Some(circle) = circle_through(imports, file) {
            let reaches_back = |other: &&String| circle_of(imports, other, file).is_some();
            let reached: Vec<_> = reachable(imports, file).into_iter().collect();
            told.extend(reached.iter().filter(reaches_back).cloned());
            circles.push(circle);
        }
    }
    circles
}

fn circle_through(imports: &Imports, file: &str) -> Option<Vec<String>> {
    circle_of(imports, file, file)
}

/// Returns the shortest way from one file to another along imports, of one or more.
fn circle_of(imports: &Imports, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![from.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports.get(way.last()?)?.keys() {
            if next == to {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

fn reachable(imports: &Imports, from: &str) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(file) = open.pop() {
        let next = imports.get(&file).into_iter().flat_map(BTreeMap::keys);
        open.extend(next.filter(|file| found.insert((*file).clone())).cloned());
    }
    found
}

fn describe(circle: &[String], imports: &Imports) -> String {
    let next = circle.iter().skip(1).chain(circle.first());
    let arrows = circle.iter().zip(next).map(|(file, next)| {
        let name = &imports[file][next];
        format!("{file} takes `{name}` from {next}")
    });
    format!("a circle of imports: {}", arrows.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::sources::source;
    use crate::workspace::Target;

    fn verdict(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| source(path, text)).collect();
        let target = Target { crate_root: "lib.rs".into(), name: "a".into(), is_program: false };
        errors(&[&Package { targets: vec![target], ..Package::default() }], &sources)
    }

    #[test]
    fn floors_are_no_circle() {
        let files = [
            ("./a.rs", "use crate::b::B;"),
            ("./b.rs", "pub struct B;"),
            ("lib.rs", "mod a; mod b; use a::A; fn f() { b::g() }"),
        ];
        assert_eq!(verdict(&files), [""; 0]);
    }

    #[test]
    fn a_circle_is_described_with_its_names() {
        let files = [
            ("./a.rs", "use crate::b::B; pub struct A;"),
            ("./b.rs", "pub struct B(crate::c::C);"),
            ("./c.rs", "use super::a; pub struct C(a::A);"),
            ("lib.rs", "mod a; mod b; mod c;"),
        ];
        let expected = "a circle of imports: ./a.rs takes `B` from ./b.rs, \
                        ./b.rs takes `C` from ./c.rs, ./c.rs takes `A` from ./a.rs";
        assert_eq!(verdict(&files), [expected]);
    }

    #[test]
    fn what_a_parent_hands_on_is_its_child_s() {
        let child = ("./a.rs", "use super::B; pub struct A;");
        let other = ("./b.rs", "pub struct B;");
        let parent = |text| ("lib.rs", text);
        let handed_on = parent("mod a; mod b; pub use a::A; pub(crate) use b::B;");
        assert_eq!(verdict(&[child, other, handed_on]), [""; 0]);
        let by_glob = parent("mod a; mod b; pub use a::A; use b::*;");
        assert_eq!(verdict(&[child, other, by_glob]), [""; 0]);
    }

    #[test]
    fn an_inner_module_uses_its_outer_one() {
        let files = [
            ("./a.rs", "mod inner; pub struct A; fn f() { inner::g() }"),
            ("./a/inner.rs", "use super::A; use crate::b::B; pub fn g() {}"),
            ("./b.rs", "use crate::a::A; pub struct B;"),
            ("lib.rs", "mod a; mod b;"),
        ];
        let expected = "a circle of imports: ./a.rs takes `g` from ./a/inner.rs, \
                        ./a/inner.rs takes `B` from ./b.rs, ./b.rs takes `A` from ./a.rs";
        assert_eq!(verdict(&files), [expected]);
        assert_eq!(verdict(&[files[0], ("./a/inner.rs", "use super::A;"), files[3]]), [""; 0]);
    }

    #[test]
    fn a_module_by_itself_and_tests_are_no_import() {
        let files = [
            ("./a.rs", "use super::b; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("./b.rs", "use crate::a::A; pub struct B;"),
            ("lib.rs", "mod a; mod b;"),
        ];
        assert_eq!(verdict(&files), [""; 0]);
    }

    #[test]
    fn each_group_is_told_once() {
        let files = [
            ("./a.rs", "use crate::b::B; use crate::c::C; struct A;"),
            ("./b.rs", "use crate::a::A; struct B;"),
            ("./c.rs", "use crate::a::A; struct C;"),
            ("lib.rs", "mod a; mod b; mod c;"),
        ];
        assert_eq!(verdict(&files).len(), 1);
    }
}
