//! The report: what it is made of, and the files it becomes.

mod format;
mod html;
pub(crate) mod markdown;
pub(crate) mod plot;
mod table;

pub(crate) use format::{number, ratio, short, whole};
pub(crate) use table::{Case, Cell, Column, Kind, Row, Table, VALUE};

use crate::machine::Facts;
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that is known after a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) facts: Facts,
    /// Of the crates that took part.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) is_quick: bool,
    pub(crate) sections: Vec<Section>,
    pub(crate) took: Duration,
}

/// One suite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// The suite's name, which links point to.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// A paragraph each.
    pub(crate) intro: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    /// What measures all of it again.
    pub(crate) command: String,
}

/// A plot.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) svg: String,
}

/// What a reader has to know about every table.
const HOW_TO_READ: &str = "Where something was measured several times, the value is the median, and \
quartiles are in brackets. How often, and what ratios are of, is said with each suite.";

/// Writes `report.html` and `tables.md` into this folder.
///
/// # Errors
///
/// A file cannot be written; the message names it.
pub(crate) fn write(folder: &Path, report: &Report) -> anyhow::Result<[PathBuf; 2]> {
    let files = [
        (folder.join("report.html"), html::page(report)),
        (folder.join("tables.md"), markdown::page(report)),
    ];
    for (path, text) in &files {
        fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(files.map(|(path, _)| path))
}
