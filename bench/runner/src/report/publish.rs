//! The files of a report. Each takes the place of the old one when it is complete.

use super::document::Report;
use super::plot::standalone;
use super::{html, markdown};
use anyhow::Context;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file with the tables of the last whole run, in the repository.
const TABLES: &str = "bench/RESULTS.md";
/// The folder of its plots.
const PLOTS: &str = "bench/plots";

const TABLES_HEAD: &str = "\
# Results of the last whole run

`cargo xtask bench` writes this file and the plots in [plots](plots) at the end of a run of all suites.
[PERFORMANCE.md](../PERFORMANCE.md) says what the figures mean.

";

/// Writes `report.html` and `tables.md` into this folder, and returns their paths.
///
/// # Errors
///
/// A file cannot be written; the message names it.
pub(crate) fn write(folder: &Path, report: &Report) -> anyhow::Result<Vec<PathBuf>> {
    let files = [
        (folder.join("report.html"), html::page(report)),
        (folder.join("tables.md"), markdown::page(report)),
    ];
    replace_all(files)
}

/// Writes the tables and the plots of a whole run into the repository, and returns their paths.
///
/// # Errors
///
/// A file cannot be written; the message names it.
pub(crate) fn publish(root: &Path, report: &Report) -> anyhow::Result<Vec<PathBuf>> {
    let plots = root.join(PLOTS);
    fs::create_dir_all(&plots).with_context(|| format!("failed to create {}", plots.display()))?;
    let figures = report.sections.iter().flat_map(|section| &section.figures);
    let figures = figures.filter_map(|figure| Some((figure.file?, standalone(figure))));
    let plots = figures.map(|(name, svg)| (plots.join(name).with_extension("svg"), svg));
    let tables = (root.join(TABLES), TABLES_HEAD.to_owned() + &markdown::page(report));
    replace_all(std::iter::once(tables).chain(plots))
}

fn replace_all(files: impl IntoIterator<Item = (PathBuf, String)>) -> anyhow::Result<Vec<PathBuf>> {
    let write = |(path, text): (PathBuf, String)| {
        replace(&path, &text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    };
    files.into_iter().map(write).collect()
}

fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut builder = tempfile::Builder::new();
    // As any other file, less what the umask takes away.
    builder.prefix(".bench-").permissions(Permissions::from_mode(0o666));
    let mut beside = builder.tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    beside.write_all(text.as_bytes())?;
    beside.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::{Figure, Section};
    use super::*;

    #[test]
    fn only_plots_with_a_file_are_published() {
        let figure = |file| Figure {
            title: "a title".to_owned(),
            note: String::new(),
            svg: "<svg width=\"480\" height=\"9\"></svg>".to_owned(),
            file,
        };
        let section =
            Section { figures: vec![figure(None), figure(Some("echo"))], ..Section::default() };
        let report = Report { conditions: Default::default(), sections: vec![section] };
        let root = tempfile::tempdir().unwrap();
        let written = publish(root.path(), &report).unwrap();
        let names = ["bench/RESULTS.md", "bench/plots/echo.svg"].map(|name| root.path().join(name));
        assert_eq!(written, names);
        assert_eq!(fs::read_dir(root.path().join(PLOTS)).unwrap().count(), 1);
        assert!(fs::read_to_string(&names[1]).unwrap().contains("a title"));
        assert!(fs::read_to_string(&names[0]).unwrap().starts_with("# Results"));
    }
}
