//! Plots as SVG, for a page and as files of their own.

mod bars;
mod hue;
mod ink;
mod lines;
mod standalone;

pub(crate) use bars::{Bar, Bars};
pub(crate) use hue::Hue;
pub(crate) use lines::{Line, Lines, Scale};
pub(crate) use standalone::standalone;
