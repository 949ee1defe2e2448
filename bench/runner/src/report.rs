//! The report: what it is made of, and the files it becomes.

mod document;
mod html;
mod markdown;
pub(crate) mod plot;
mod publish;
mod table;

pub(crate) use document::{Figure, Report, Section};
pub(crate) use markdown::section as section_text;
pub(crate) use publish::{publish, write};
pub(crate) use table::{Case, Cell, Column, Row, Table};
