//! The tables as Markdown, lined up so that they read well as plain text too.

use super::document::{HOW_TO_READ, Report, Section};
use super::table::{Cell, Table};
use crate::plan::clock;
use std::fmt::Write as _;

/// Returns the whole report.
pub(crate) fn page(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in report.facts() {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let versions =
        report.conditions.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let _ = writeln!(text, "- Versions: {}", versions.collect::<Vec<_>>().join(", "));
    let _ = writeln!(text, "- Took: {} min{}", clock(report.conditions.took), report.extent());
    let _ = writeln!(text, "\n{HOW_TO_READ}\n");
    for one in &report.sections {
        text += &section(one, 2);
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Returns one suite, under a heading of this level.
pub(crate) fn section(section: &Section, level: usize) -> String {
    let mut text = format!("{} {}\n\n", "#".repeat(level), section.title);
    for paragraph in &section.intro {
        let _ = writeln!(text, "{paragraph}\n");
    }
    for one in &section.tables {
        text += &table(one, level + 1);
    }
    let _ = writeln!(text, "All of it: `{}`\n", section.command);
    text
}

fn table(table: &Table, level: usize) -> String {
    let mut text = format!("{} {}\n\n", "#".repeat(level), table.title);
    if !table.note.is_empty() {
        let _ = writeln!(text, "{}\n", table.note);
    }
    text += &lines(table);
    if !table.command.is_empty() {
        let _ = writeln!(text, "\n`{}`", table.command);
    }
    text + "\n"
}

fn lines(table: &Table) -> String {
    let remarks = table.has_remarks();
    let mut rows = vec![table.columns.clone()];
    for row in &table.rows {
        let cells = row.cells.iter().map(Cell::to_text);
        rows.push(std::iter::once(row.label.clone()).chain(cells).collect());
    }
    if remarks {
        rows[0].push("remark".to_owned());
        for (line, row) in rows[1..].iter_mut().zip(&table.rows) {
            line.push(row.remark.clone());
        }
    }
    for cell in rows.iter_mut().flatten() {
        *cell = cell.replace('|', "\\|").replace('\n', " ");
    }
    let mut widths: Vec<_> = (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    if let Some(last) = widths.last_mut().filter(|_| remarks) {
        // The only one of these that may be a long sentence.
        *last = 6;
    }
    let mut text = line(&rows[0], &widths, remarks);
    let rules = widths.iter().enumerate().map(|(at, width)| {
        let is_left = at == 0 || (remarks && at == widths.len() - 1);
        if is_left { "-".repeat(*width) } else { "-".repeat(width - 1) + ":" }
    });
    text += &line(&rules.collect::<Vec<_>>(), &widths, remarks);
    text.extend(rows[1..].iter().map(|row| line(row, &widths, remarks)));
    text
}

fn line(cells: &[String], widths: &[usize], remarks: bool) -> String {
    let mut text = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let is_left = at == 0 || (remarks && at == widths.len() - 1);
        let _ = if is_left {
            write!(text, "| {cell:<width$} ")
        } else {
            write!(text, "| {cell:>width$} ")
        };
    }
    text + "|\n"
}

impl Cell {
    fn to_text(&self) -> String {
        format!("{} {}", self.main, self.aside).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;
    use crate::results::Role;

    fn row(label: &str, main: &str, aside: &str, remark: &str) -> Row {
        Row {
            label: label.to_owned(),
            role: Role::Peer,
            cells: vec![Cell { main: main.to_owned(), aside: aside.to_owned() }],
            remark: remark.to_owned(),
        }
    }

    #[test]
    fn columns_line_up() {
        let table = Table {
            columns: vec![String::new(), "µs".to_owned()],
            rows: vec![row("floor", "1.00", "(0.90–1.10)", ""), row("a|b", "12", "", "")],
            ..Table::default()
        };
        let expected = "\
|       |               µs |
| ----- | ---------------: |
| floor | 1.00 (0.90–1.10) |
| a\\|b  |               12 |
";
        assert_eq!(lines(&table), expected);
    }

    #[test]
    fn remarks_have_a_column_if_there_are_any() {
        let table = Table {
            columns: vec![String::new(), "x".to_owned()],
            rows: vec![row("mio", "–", "", "failed: lost")],
            ..Table::default()
        };
        assert!(lines(&table).ends_with("| mio |   – | failed: lost |\n"), "{}", lines(&table));
    }
}
