//! Plots as SVG: what bars and lines share.
//!
//! A plot is read on a light and on a dark page, so its colours are the page's: they are drawn with
//! marks in their place, which become CSS variables at the end.

mod bars;
mod lines;

pub(crate) use bars::{Bar, Bars};
pub(crate) use lines::{Line, Lines, Scale};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours of contestants; the first is the reference's.
const SERIES: u8 = 11;

/// Places in the table of colours.
const INK: u8 = 11;
const MUTED: u8 = 12;
const GRID: u8 = 13;
const NOISE: u8 = 14;
const COLOURS: u8 = 15;

/// Names of the CSS variables, by place.
fn variable(colour: u8) -> String {
    match colour {
        INK => "--ink".to_owned(),
        MUTED => "--muted".to_owned(),
        GRID => "--grid".to_owned(),
        NOISE => "--noise".to_owned(),
        series => format!("--c{series}"),
    }
}

/// The mark that stands for a colour while a plot is drawn.
fn mark(colour: u8) -> RGBColor {
    RGBColor(0xFA, colour, 0x07)
}

/// The drawing with the page's colours in the place of the marks, in the page's font.
fn finish(svg: &str, label: &str) -> String {
    let mut svg = svg.to_owned();
    for colour in 0..COLOURS {
        svg = svg
            .replace(&format!("\"#FA{colour:02X}07\""), &format!("\"var({})\"", variable(colour)));
    }
    let label = label.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1)
}

fn text(size: u32, colour: u8, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&mark(colour)).pos(Pos::new(h, v))
}

/// Room for the longest of these names, in pixels.
fn room_for<'a>(names: impl Iterator<Item = &'a str>) -> i32 {
    let chars = names.map(|name| name.chars().count()).max().unwrap_or(0);
    // Wide enough for what most fonts make of 12 and 13 pixels.
    i32::try_from(chars * 13 / 2 + 14).unwrap_or(i32::MAX).clamp(64, 210)
}

/// The colour of a contestant: the same in every plot if it is one of the known, otherwise by its
/// place among the others. What follows a comma is a variant, and has the colour of the whole.
fn colour(label: &str, place: usize) -> u8 {
    let by_place = || u8::try_from(place % usize::from(SERIES - 1)).unwrap_or(0) + 1;
    known(label).unwrap_or_else(by_place)
}

/// The colour of one of the known.
fn known(label: &str) -> Option<u8> {
    let name = label.trim_end_matches(" again");
    Some(match (name, name.split(',').next().unwrap_or_default()) {
        (_, "floor") => 0,
        ("epoll, edge" | "epoll-kit, edge", _) | (_, "edge") => 2,
        (_, "level" | "epoll-kit" | "epoll-timers" | "epoll") => 1,
        (_, "one-shot") => 3,
        (_, "mio") => 4,
        (_, "polling" | "poll") => 5,
        (_, "calloop" | "select" | "BinaryHeap") => 6,
        (_, "tokio" | "DelayQueue") => 7,
        (_, "async-io") => 8,
        (_, "std threads") => 9,
        (_, "edge-shared") => 10,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Paths;
    use crate::contestants;

    #[test]
    fn marks_become_variables() {
        let svg = "<svg a=\"1\"><path stroke=\"#FA0107\" fill=\"#FA0B07\"/></svg>";
        assert_eq!(
            finish(svg, "a \"b\""),
            "<svg role=\"img\" aria-label=\"a &quot;b&quot;\" a=\"1\">\
             <path stroke=\"var(--c1)\" fill=\"var(--ink)\"/></svg>"
        );
    }

    #[test]
    fn names_have_as_much_room_as_the_longest_needs() {
        assert_eq!(room_for(["mio"].into_iter()), 64);
        assert!(room_for(["mio", "one-shot, 2 threads"].into_iter()) > 19 * 6);
        assert_eq!(room_for(["x".repeat(99).as_str()].into_iter()), 210);
    }

    #[test]
    fn every_server_has_a_colour_of_its_own() {
        let mut names = std::collections::BTreeMap::new();
        for one in contestants::all(&Paths::default()) {
            let label = one.label.trim_end_matches(" again");
            let name = label.split(',').next().unwrap_or_default().to_owned();
            let colour = known(&one.label);
            assert!(colour.is_some(), "{} has none", one.label);
            names.insert(name, colour);
        }
        let colours: std::collections::BTreeSet<_> = names.values().collect();
        assert_eq!(colours.len(), names.len(), "{names:?}");
    }

    #[test]
    fn threads_and_repetitions_have_the_colour_of_their_kind() {
        assert_eq!(colour("tokio, 2 threads", 0), colour("tokio", 5));
        assert_eq!(colour("floor again", 3), 0);
        assert_ne!(colour("something new", 0), 0);
    }
}
