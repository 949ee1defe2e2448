//! No two files of a crate import one another in a circle.
//!
//! A module may use those around it, as an `impl` in a file of its own does: that is no import.

use crate::modules::Modules;
use std::collections::{BTreeMap, BTreeSet};

type Names = [String];

/// Files and what each imports, with a name for that.
type Imports<'a> = BTreeMap<(&'a str, &'a str), String>;

/// More steps than any name takes from where it is used to where it is defined.
const STEPS_MAX: u32 = 32;

/// Returns the imports of one circle, if there are any.
pub(crate) fn circle(modules: &Modules) -> Vec<String> {
    let mut imports = Imports::new();
    for (path, module) in modules {
        let outer: Vec<_> =
            (0..=path.len()).map(|depth| modules[&path[..depth]].file.as_str()).collect();
        for names in module.imports.values().chain(&module.paths) {
            let file = definer(modules, path, names, STEPS_MAX).filter(|it| !outer.contains(it));
            imports.extend(file.map(|file| ((module.file.as_str(), file), names.join("::"))));
        }
    }
    let mut circle = in_circles(imports);
    for import in circle.keys().copied().collect::<Vec<_>>() {
        let mut fewer = circle.clone();
        fewer.remove(&import);
        circle = Some(in_circles(fewer)).filter(|fewer| !fewer.is_empty()).unwrap_or(circle);
    }
    let line = |((file, other), name)| format!("{file} takes {name} from {other}");
    circle.into_iter().map(line).collect()
}

/// Leaves out files that import nothing and those that nothing imports, until each does both.
fn in_circles(mut imports: Imports<'_>) -> Imports<'_> {
    loop {
        let from: BTreeSet<_> = imports.keys().map(|(file, _)| *file).collect();
        let to: BTreeSet<_> = imports.keys().map(|(_, file)| *file).collect();
        if from == to {
            return imports;
        }
        imports.retain(|(file, other), _| to.contains(file) && from.contains(other));
    }
}

/// Returns the file that defines what has these names within a module, however many modules hand it on; `None` if
/// it is a module itself, or another crate has it.
fn definer<'a>(modules: &'a Modules, within: &Names, names: &Names, steps: u32) -> Option<&'a str> {
    let path = absolute(modules, within, names, steps)?;
    let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
    let module = &modules[&path[..depth]];
    match module.imports.get(path.get(depth)?) {
        Some(import) if steps > 0 => {
            let names = [import, &path[depth + 1..]].concat();
            definer(modules, &path[..depth], &names, steps - 1)
        }
        _ => Some(&module.file),
    }
}

/// Returns the path from the crate root.
fn absolute(modules: &Modules, within: &Names, names: &Names, steps: u32) -> Option<Vec<String>> {
    let (first, rest) = names.split_first()?;
    let steps = steps.checked_sub(1)?;
    let module = modules.get(within)?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" | "super" => {
            let names = if first == "self" { rest } else { names };
            let up = names.iter().take_while(|name| *name == "super").count();
            Some([&within[..within.len().checked_sub(up)?], &names[up..]].concat())
        }
        _ => {
            let child = [within, &names[..1]].concat();
            if modules.contains_key(&child) {
                return Some([&child, rest].concat());
            }
            let import = module.imports.get(first).filter(|import| *import != names)?;
            Some([&absolute(modules, within, import, steps)?, rest].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::modules;

    /// Looks at a crate of files, each in a line that begins with its name.
    #[track_caller]
    fn verdict(files: &[&str], expected: &[&str]) {
        let text_of = |path: &str| {
            let mut files = files.iter().filter_map(|file| file.split_once(": "));
            files.find(|(known, _)| *known == path).map(|(_, text)| text.to_owned())
        };
        assert_eq!(circle(&modules("s/lib.rs", &text_of)), expected);
    }

    #[test]
    fn a_circle_is_described_with_its_names() {
        let lib = "s/lib.rs: mod a; mod b; mod c; mod d; use a::A; fn f() { b::g() }";
        let a = "s/a.rs: use {crate::{b::{self as q, B as _}}, x::Y}; pub struct A;";
        let b = "s/b/mod.rs: pub struct B(Vec<crate::c::C>, d::D);";
        let d = "s/d.rs: use crate::a::*; pub struct D;";
        verdict(&[lib, a, b, d, "s/c.rs: use super::a; pub struct C;"], &[]);
        let expected = [
            "s/a.rs takes crate::b::B from s/b/mod.rs",
            "s/b/mod.rs takes crate::c::C from s/c.rs",
            "s/c.rs takes a::A from s/a.rs",
        ];
        let c = "s/c.rs: use super::a; /* \" */ macro_rules! f { () => { a::A } }";
        verdict(&[lib, a, b, d, c], &expected);
    }

    #[test]
    fn what_a_parent_hands_on_is_its_child_s() {
        let lib = "s/lib.rs: mod a; mod b; pub use a::A; pub(crate) use b::B as C;";
        let a = "s/a.rs: use super::C; pub struct A;";
        verdict(&[lib, a, "s/b.rs: pub struct B;"], &[]);
        let expected = ["s/a.rs takes super::C from s/b.rs", "s/b.rs takes crate::A from s/a.rs"];
        verdict(&[lib, a, "s/b.rs: pub struct B(crate::A);"], &expected);
    }

    #[test]
    fn an_inner_module_uses_its_outer_one() {
        let lib = "s/lib.rs: mod a; mod b; mod c { mod d; use super::b::B; }";
        let a = "s/a.rs: mod inner; pub struct A; fn f() { inner::g() }";
        let inner = "s/a/inner.rs: use super::A; use crate::b::B; pub fn g() {}";
        let d = "s/c/d.rs: use super::super::a::A;";
        verdict(&[lib, a, inner, "s/b.rs: pub struct B;", d], &[]);
        let expected = [
            "s/a.rs takes inner::g from s/a/inner.rs",
            "s/a/inner.rs takes crate::b::B from s/b.rs",
            "s/b.rs takes crate::a::A from s/a.rs",
        ];
        verdict(&[lib, a, inner, "s/b.rs: use crate::a::A; pub struct B;", d], &expected);
    }

    #[test]
    fn a_module_by_itself_and_tests_are_no_import() {
        let (lib, b) = ("s/lib.rs: mod a; mod b;", "s/b.rs: use crate::a::A; pub struct B;");
        for a in [
            "s/a.rs: use super::b; #[cfg(test)] mod tests { use crate::b::B; } pub struct A;",
            "s/a.rs: #[cfg(test)] use crate::b::{B, C}; #[cfg(all(test, x))] #[y] fn f() { crate::b::g() }",
            "s/a.rs: #[path = \"b.rs\"] mod again; // crate::b::B",
        ] {
            verdict(&[lib, a, b], &[]);
        }
        let expected =
            ["s/a.rs takes crate::b::B from s/b.rs", "s/b.rs takes crate::a::A from s/a.rs"];
        for a in [
            "s/a.rs: #[cfg(not(test))] use crate::b::B;",
            "s/a.rs: #[cfg(test)] fn f() {} use crate::b::B;",
            "s/a.rs: /// cfg test\nuse crate::b::B;",
        ] {
            verdict(&[lib, a, b], &expected);
        }
    }
}
