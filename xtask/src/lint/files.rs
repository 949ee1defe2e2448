//! Rules for single files: how long they are, and that none names somebody's home.

use super::sources::SourceFile;

/// From here on a file deserves a second thought.
const LINES_NOTED: usize = 400;
const LINES_MAX: usize = 800;

/// Where homes are. The slashes are left to the code, or this file would break its own rule.
const HOMES: &[&str] = &["root", "home", "Users"];

pub(crate) fn length_errors(sources: &[SourceFile]) -> Vec<String> {
    lengths(sources)
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, {LINES_MAX} are the limit"))
        .collect()
}

pub(crate) fn length_notes(sources: &[SourceFile]) -> Vec<String> {
    lengths(sources)
        .filter(|(_, lines)| (LINES_NOTED + 1..=LINES_MAX).contains(lines))
        .map(|(path, lines)| format!("{path}: {lines} lines, think again at {LINES_NOTED}"))
        .collect()
}

fn lengths(sources: &[SourceFile]) -> impl Iterator<Item = (&str, usize)> {
    let rust = sources.iter().filter(|source| source.is_rust());
    rust.map(|source| (source.path.as_str(), source.text.lines().count()))
}

pub(crate) fn home_errors(sources: &[SourceFile]) -> Vec<String> {
    let mut errors = Vec::new();
    for source in sources {
        for (line, number) in source.text.lines().zip(1..) {
            if HOMES.iter().any(|home| names_home(line, home)) {
                errors.push(format!("{}:{number}: a path in somebody's home", source.path));
            }
        }
    }
    errors
}

/// Whether an absolute path in `line` starts with this folder. Inside a longer path or an address
/// on the web, the folder is something else.
fn names_home(line: &str, home: &str) -> bool {
    let folder = format!("/{home}/");
    line.match_indices(&folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~)}]".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::sources::source;

    fn lines(path: &str, count: usize) -> [SourceFile; 1] {
        [source(path, &"x\n".repeat(count))]
    }

    #[test]
    fn a_file_is_noted_above_400_lines_and_refused_above_800() {
        for (count, noted, refused) in
            [(400, 0, 0), (401, 1, 0), (800, 1, 0), (801, 0, 1), (2000, 0, 1)]
        {
            let sources = lines("src/a.rs", count);
            assert_eq!(length_notes(&sources).len(), noted, "{count}");
            assert_eq!(length_errors(&sources).len(), refused, "{count}");
        }
    }

    #[test]
    fn only_rust_is_counted() {
        assert!(length_errors(&lines("Cargo.lock", 2000)).is_empty());
    }

    #[test]
    fn a_home_is_found_with_its_line() {
        for home in HOMES {
            for before in ["", " ", "\"", "=", "file://", "-I "] {
                let sources = [source("a.md", &format!("fine\n{before}/{home}/me/a\n"))];
                let expected = "a.md:2: a path in somebody's home";
                assert_eq!(home_errors(&sources), [expected], "{before}/{home}/");
            }
        }
    }

    #[test]
    fn a_folder_of_that_name_elsewhere_is_no_home() {
        for before in ["https://example.org", "src", "..", "~", "$(pwd)", "${dir}"] {
            let sources = [source("a.md", &format!("{before}/{}/a\n", HOMES[0]))];
            assert!(home_errors(&sources).is_empty(), "{before}");
        }
    }
}
