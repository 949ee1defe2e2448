//! The colours and the text that bars and lines share.
//!
//! A plot is read on a light and on a dark page, so its colours are the page's: they are drawn with
//! marks in their place, which become CSS variables at the end.

use super::hue::Hue;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A colour of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Text,
    Muted,
    Grid,
    Noise,
    Series(Hue),
}

impl Ink {
    fn all() -> impl Iterator<Item = (u8, String)> {
        let page = [Self::Text, Self::Muted, Self::Grid, Self::Noise];
        let names = ["--ink", "--muted", "--grid", "--noise"].map(str::to_owned);
        let series = (0..Hue::COUNT).map(|place| (place, format!("--c{place}")));
        page.map(Self::place).into_iter().zip(names).chain(series)
    }

    /// Returns the place in the table of colours: those of contestants come first.
    fn place(self) -> u8 {
        match self {
            Self::Series(hue) => hue.place(),
            Self::Text => Hue::COUNT,
            Self::Muted => Hue::COUNT + 1,
            Self::Grid => Hue::COUNT + 2,
            Self::Noise => Hue::COUNT + 3,
        }
    }
}

/// Returns the mark that stands for a colour while a plot is drawn.
pub(crate) fn mark(ink: Ink) -> RGBColor {
    RGBColor(0xFA, ink.place(), 0x07)
}

/// Replaces the marks of a drawing by the page's colours, and names it for those who cannot see it.
pub(crate) fn finish(svg: &str, label: &str) -> String {
    let mut svg = svg.to_owned();
    for (place, variable) in Ink::all() {
        svg = svg.replace(&format!("\"#FA{place:02X}07\""), &format!("\"var({variable})\""));
    }
    let label = escape(label);
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1)
}

/// Escapes text for an attribute or the content of an element.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

pub(crate) fn text(size: u32, ink: Ink, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&mark(ink)).pos(Pos::new(h, v))
}

/// Returns the room for the longest of these names, in pixels.
pub(crate) fn room_for<'a>(names: impl Iterator<Item = &'a str>) -> i32 {
    let chars = names.map(|name| name.chars().count()).max().unwrap_or(0);
    // Wide enough for what most fonts make of 12 and 13 pixels.
    i32::try_from(chars * 13 / 2 + 14).unwrap_or(i32::MAX).clamp(64, 210)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_variables() {
        let svg = "<svg a=\"1\"><path stroke=\"#FA0107\" fill=\"#FA1007\"/></svg>";
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
}
