//! `unsafe` stands in epoll-sys alone, and every other crate forbids it from its first file on.
//!
//! Not seen here: examples in doc comments, and what other people's macros expand to. The attribute
//! makes the compiler refuse the latter.

use super::rust_code;
use super::sources::SourceFile;
use crate::workspace::Package;

/// The folder in which `unsafe` is at home.
const HOME: &str = "crates/epoll-sys/";

/// A file of tests that cannot do without, such as one that counts allocations.
pub(crate) struct Exception {
    pub(crate) path: &'static str,
    pub(crate) reason: &'static str,
}

pub(crate) const EXCEPTIONS: &[Exception] = &[];

pub(crate) fn errors(
    packages: &[&Package],
    sources: &[SourceFile],
    exceptions: &[Exception],
) -> Vec<String> {
    let rust = sources.iter().filter(|source| source.is_rust() && !is_home(&source.path));
    let files: Vec<File<'_>> =
        rust.map(|source| (source.path.as_str(), rust_code::code(&source.text))).collect();
    let (excused, strict): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, _)| is_excused(path, exceptions));
    let roots: Vec<_> = crate_roots(packages)
        .filter(|root| !is_home(root) && !is_excused(root, exceptions))
        .collect();
    [keyword_errors(&strict), root_errors(&roots, &strict), stale_errors(exceptions, &excused)]
        .concat()
}

/// A path and the code there, comments and literals blanked out.
type File<'a> = (&'a str, String);

fn keyword_errors(files: &[File<'_>]) -> Vec<String> {
    let places = files.iter().flat_map(|(path, code)| lines(code).map(move |line| (path, line)));
    places.map(|(path, line)| format!("{path}:{line}: `unsafe` outside {HOME}")).collect()
}

fn root_errors(roots: &[&str], files: &[File<'_>]) -> Vec<String> {
    let forbids = |root| files.iter().any(|(path, code)| *path == root && forbids_unsafe(code));
    let open = roots.iter().filter(|root| !forbids(**root));
    open.map(|root| format!("{root}: a crate root without #![forbid(unsafe_code)]")).collect()
}

/// An exception that nobody needs would excuse whatever comes into that file later.
fn stale_errors(exceptions: &[Exception], files: &[File<'_>]) -> Vec<String> {
    let uses = |path| files.iter().any(|(p, code)| *p == path && lines(code).next().is_some());
    let stale = exceptions.iter().filter(|exception| !uses(exception.path));
    stale.map(|e| format!("{}: an exception for `unsafe`, but has none", e.path)).collect()
}

fn is_home(path: &str) -> bool {
    path.starts_with(HOME)
}

fn is_excused(path: &str, exceptions: &[Exception]) -> bool {
    exceptions.iter().any(|exception| exception.path == path)
}

/// Exceptions stay in sight.
pub(crate) fn notes(exceptions: &[Exception]) -> Vec<String> {
    exceptions.iter().map(|e| format!("{}: may use `unsafe`: {}", e.path, e.reason)).collect()
}

fn crate_roots<'a>(packages: &[&'a Package]) -> impl Iterator<Item = &'a str> {
    packages.iter().flat_map(|package| &package.targets).map(|target| target.crate_root.as_str())
}

/// The numbers of the lines with the keyword in them.
fn lines(code: &str) -> impl Iterator<Item = usize> {
    let has_keyword =
        |line: &str| line.split(|c| !rust_code::is_word(c)).any(|word| word == "unsafe");
    code.lines().zip(1..).filter(move |(line, _)| has_keyword(line)).map(|(_, number)| number)
}

/// The attribute has to start its line: rustfmt indents the one of an inner module.
fn forbids_unsafe(code: &str) -> bool {
    code.lines().any(|line| line.trim_end() == "#![forbid(unsafe_code)]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::sources::source;
    use crate::workspace::Target;

    const FORBID: &str = "#![forbid(unsafe_code)]\n";

    fn with_root(path: &str) -> [Package; 1] {
        let target =
            Target { name: "a".to_owned(), is_program: false, crate_root: path.to_owned() };
        [Package { targets: vec![target], ..Package::default() }]
    }

    #[test]
    fn the_keyword_is_an_error_outside_epoll_sys() {
        let text = "fn a() {}\nfn b() { unsafe { c() } }\nunsafe impl Send for D {}\n";
        let sources = [source("crates/reactor/src/a.rs", text)];
        let expected = [
            "crates/reactor/src/a.rs:2: `unsafe` outside crates/epoll-sys/",
            "crates/reactor/src/a.rs:3: `unsafe` outside crates/epoll-sys/",
        ];
        assert_eq!(errors(&[], &sources, &[]), expected);
        assert!(errors(&[], &[source("crates/epoll-sys/src/a.rs", text)], &[]).is_empty());
        assert_eq!(errors(&[], &[source("crates/epoll-sys-2/src/a.rs", text)], &[]).len(), 2);
    }

    #[test]
    fn the_word_elsewhere_is_none() {
        let text = "// unsafe\n/* unsafe */ let unsafe_code = \"unsafe\"; r#unsafe();\n";
        assert!(errors(&[], &[source("a.rs", text)], &[]).is_empty());
        assert!(errors(&[], &[source("a.md", "unsafe")], &[]).is_empty());
    }

    #[test]
    fn a_crate_root_has_to_forbid() {
        let root = "crates/echo/tests/a.rs";
        let says = |text: &str| errors(&[&with_root(root)[0]], &[source(root, text)], &[]);
        assert!(says(&format!("//! A.\n\n{FORBID}mod a;\n")).is_empty());
        for text in [
            "mod a;\n",
            "// #![forbid(unsafe_code)]\n",
            "#![deny(unsafe_code)]\n",
            "#![cfg_attr(test, forbid(unsafe_code))]\n",
            "mod a {\n    #![forbid(unsafe_code)]\n}\n",
        ] {
            let expected = "crates/echo/tests/a.rs: a crate root without #![forbid(unsafe_code)]";
            assert_eq!(says(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_crate_root_that_git_does_not_know_is_an_error() {
        assert_eq!(errors(&[&with_root("a/src/lib.rs")[0]], &[], &[]).len(), 1);
    }

    #[test]
    fn epoll_sys_does_not_forbid() {
        let root = "crates/epoll-sys/src/lib.rs";
        assert!(errors(&[&with_root(root)[0]], &[source(root, "mod a;\n")], &[]).is_empty());
    }

    #[test]
    fn an_exception_excuses_its_file_only() {
        let counting = Exception { path: "tests/a.rs", reason: "counts allocations" };
        let sources = [source("tests/a.rs", "unsafe {}"), source("tests/b.rs", "unsafe {}")];
        let errors = errors(&[&with_root("tests/a.rs")[0]], &sources, &[counting]);
        assert_eq!(errors, ["tests/b.rs:1: `unsafe` outside crates/epoll-sys/"]);
    }

    #[test]
    fn an_exception_is_noted_with_its_reason() {
        let counting = Exception { path: "tests/a.rs", reason: "counts allocations" };
        assert_eq!(notes(&[counting]), ["tests/a.rs: may use `unsafe`: counts allocations"]);
    }

    #[test]
    fn an_exception_that_nobody_needs_is_an_error() {
        for sources in [vec![], vec![source("tests/a.rs", FORBID)]] {
            let stale = Exception { path: "tests/a.rs", reason: "counted allocations" };
            let expected = ["tests/a.rs: an exception for `unsafe`, but has none"];
            assert_eq!(errors(&[], &sources, &[stale]), expected);
        }
    }
}
