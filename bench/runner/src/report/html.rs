//! The report as one HTML file: no scripts, nothing loaded from elsewhere.

use super::document::{Figure, HOW_TO_READ, Report, Section};
use super::table::{Cell, Row, Table};
use crate::plan::clock;
use crate::results::Role;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Returns the whole page.
pub(crate) fn page(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "epoll-kit: benchmarks" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "epoll-kit: benchmarks" }
                    (contents(report))
                    (facts(report))
                    p.read { (HOW_TO_READ) }
                }
                main {
                    @for one in &report.sections { (section(one)) }
                }
            }
        }
    }
    .into_string()
}

fn contents(report: &Report) -> Markup {
    html! {
        nav {
            @for one in &report.sections {
                a href={ "#" (one.id) } { (one.id) }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in report.facts() {
                div { dt { (name) } dd { (value) } }
            }
            div {
                dt { "Versions" }
                dd {
                    @for (at, (name, version)) in report.conditions.versions.iter().enumerate() {
                        @if at > 0 { ", " }
                        span.together { (name) " " (version) }
                    }
                }
            }
            div {
                dt { "Took" }
                dd {
                    (clock(report.conditions.took)) " min" (report.extent())
                }
            }
        }
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section id=(section.id) {
            h2 { (section.title) }
            @for paragraph in &section.intro { p { (paragraph) } }
            p.command { code { (section.command) } }
            @if !section.figures.is_empty() {
                div.figures {
                    @for one in &section.figures { (figure(one)) }
                }
            }
            @for one in &section.tables { (table(one)) }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure {
            figcaption {
                strong { (figure.title) }
                @if !figure.note.is_empty() { span { (figure.note) } }
            }
            // Drawn by this program, from labels that the drawing library has escaped.
            (PreEscaped(&figure.svg))
        }
    }
}

fn table(table: &Table) -> Markup {
    let remarks = table.has_remarks();
    html! {
        div.part {
            h3 { (table.title) }
            @if !table.note.is_empty() { p.note { (table.note) } }
            div.scroll tabindex="0" {
                table {
                    thead {
                        tr {
                            @for column in &table.columns { th scope="col" { (column) } }
                            @if remarks { th scope="col" { "remark" } }
                        }
                    }
                    tbody {
                        @for one in &table.rows { (row(one, remarks)) }
                    }
                }
            }
            @if !table.command.is_empty() { p.command { code { (table.command) } } }
        }
    }
}

fn row(row: &Row, remarks: bool) -> Markup {
    let class = match row.role {
        Role::Floor | Role::FloorAgain => "reference",
        Role::Ours | Role::OursAgain => "ours",
        Role::Peer => "other",
    };
    html! {
        tr class=(class) {
            th scope="row" { (row.label) }
            @for one in &row.cells { (cell(one)) }
            @if remarks { td.remark { (row.remark) } }
        }
    }
}

fn cell(cell: &Cell) -> Markup {
    html! {
        td {
            (cell.main)
            @if !cell.aside.is_empty() { " " small { (cell.aside) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Conditions;

    fn report() -> Report {
        let row = Row {
            label: "<b>".to_owned(),
            role: Role::Ours,
            cells: vec![Cell::text("1 & 2")],
            remark: "failed: \"x\" < y".to_owned(),
        };
        let table = Table {
            title: "t".to_owned(),
            columns: vec![String::new(), "µs".to_owned()],
            rows: vec![row],
            ..Table::default()
        };
        let named = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let conditions = Conditions {
            facts: named("CPU", "a < b"),
            versions: named("mio", "1.2.4"),
            ..Conditions::default()
        };
        let section = Section { tables: vec![table], ..Section::default() };
        Report { conditions, sections: vec![section] }
    }

    #[test]
    fn whatever_was_measured_is_escaped() {
        let page = page(&report());
        for escaped in ["a &lt; b", "&lt;b&gt;", "1 &amp; 2", "failed: &quot;x&quot; &lt; y"] {
            assert!(page.contains(escaped), "{escaped}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = page(&report());
        for way in ["<script", "<link", "<img", "url(", "@import", "http:", "https:"] {
            assert!(!page.contains(way), "{way}");
        }
    }
}
