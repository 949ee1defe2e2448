//! Lines with their names at their ends, on logarithmic axes or over percentiles.

use super::hue::Hue;
use super::ink::{Ink, finish, mark, room_for, text};
use crate::format::short;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

const WIDTH: i32 = 480;
const HEIGHT: i32 = 320;
const LEFT: i32 = 68;
const TOP: i32 = 12;
const BOTTOM: i32 = 274;
/// The smallest vertical distance between two names, in pixels.
const NAME: i32 = 15;

/// A line of one contestant.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) hue: Hue,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The division of the horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Powers of ten.
    Logarithmic,
    /// Percentiles, as far apart as what they leave out is rare: 90, 99, 99.9.
    Percentile,
}

/// Lines over a logarithmic vertical axis.
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: &'a [Line],
    pub(crate) x: Scale,
    pub(crate) x_label: &'a str,
    pub(crate) y_label: &'a str,
}

impl Lines<'_> {
    /// Returns the plot. Drawing into memory cannot fail; if it did, the plot would be empty.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        {
            let size = (WIDTH.unsigned_abs(), HEIGHT.unsigned_abs());
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let _ = self.draw(&area);
            let _ = area.present();
        }
        finish(&svg, self.title)
    }

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let right = WIDTH - room_for(self.lines.iter().map(|line| line.label.as_str()));
        let x = Axis::over(points().map(|point| self.along(point.0)), (LEFT, right));
        let y = Axis::over(points().map(|point| point.1.log10()), (BOTTOM, TOP));
        self.draw_axes(area, &x, &y)?;
        let mut ends = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let at = |point: &(f64, f64)| (x.at(self.along(point.0)), y.at(point.1.log10()));
            let path: Vec<_> = line.points.iter().map(at).filter_map(|(x, y)| x.zip(y)).collect();
            let Some(end) = path.last().copied() else { continue };
            let ink = mark(Ink::Series(line.hue));
            area.draw(&PathElement::new(path.clone(), ink.stroke_width(2)))?;
            if self.x == Scale::Logarithmic {
                for point in path {
                    area.draw(&Circle::new(point, 3, ink.filled()))?;
                }
            }
            ends.push((end, place));
        }
        self.draw_names(area, right, ends)
    }

    fn draw_axes<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        x: &Axis,
        y: &Axis,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let right = x.pixels.1;
        for (value, shown) in y.ticks() {
            let Some(at) = y.at(value) else { continue };
            area.draw(&PathElement::new([(LEFT, at), (right, at)], mark(Ink::Grid)))?;
            let style = text(12, Ink::Muted, HPos::Right, VPos::Center);
            area.draw(&Text::new(shown, (LEFT - 6, at), style))?;
        }
        let ticks = match self.x {
            Scale::Logarithmic => x.ticks(),
            Scale::Percentile => percentiles(),
        };
        for (value, shown) in ticks {
            let Some(at) = x.at(value) else { continue };
            area.draw(&PathElement::new([(at, TOP), (at, BOTTOM)], mark(Ink::Grid)))?;
            let style = text(12, Ink::Muted, HPos::Center, VPos::Top);
            area.draw(&Text::new(shown, (at, BOTTOM + 8), style))?;
        }
        let below = text(12, Ink::Text, HPos::Center, VPos::Top);
        area.draw(&Text::new(self.x_label, ((LEFT + right) / 2, BOTTOM + 26), below))?;
        let above = text(12, Ink::Text, HPos::Left, VPos::Center);
        area.draw(&Text::new(self.y_label, (LEFT + 6, TOP + 2), above))
    }

    /// Names stand at the ends of their lines, from top to bottom in the same order.
    fn draw_names<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        right: i32,
        mut ends: Vec<((i32, i32), usize)>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        ends.sort_by_key(|((_, y), place)| (*y, *place));
        let heights = apart(&ends.iter().map(|((_, y), _)| *y).collect::<Vec<_>>());
        for (((x, y), place), height) in ends.into_iter().zip(heights) {
            let line = &self.lines[place];
            let ink = mark(Ink::Series(line.hue));
            let style = text(12, Ink::Series(line.hue), HPos::Left, VPos::Center);
            area.draw(&PathElement::new([(x + 4, y), (right + 10, height)], ink.mix(0.6)))?;
            area.draw(&Text::new(line.label.clone(), (right + 13, height), style))?;
        }
        Ok(())
    }

    /// Returns the place of a value along the horizontal axis.
    fn along(&self, value: f64) -> f64 {
        match self.x {
            Scale::Logarithmic => value.log10(),
            Scale::Percentile => -(1.0 - value / 100.0).log10(),
        }
    }
}

fn percentiles() -> Vec<(f64, String)> {
    let shown =
        [("0", 1.0), ("50", 0.5), ("90", 0.1), ("99", 0.01), ("99.9", 1e-3), ("99.99", 1e-4)];
    shown.map(|(text, rest): (&str, f64)| (-rest.log10(), text.to_owned())).to_vec()
}

/// Heights in ascending order, moved as little as keeps names apart, inside of the plot if they fit.
fn apart(heights: &[i32]) -> Vec<i32> {
    let mut moved: Vec<i32> = Vec::new();
    for height in heights {
        let least = moved.last().map_or(TOP, |above| above + NAME);
        moved.push((*height).max(least));
    }
    let mut most = BOTTOM + 4;
    for height in moved.iter_mut().rev() {
        *height = (*height).min(most);
        most = *height - NAME;
    }
    moved
}

/// Values, already logarithms, on pixels.
struct Axis {
    start: f64,
    end: f64,
    pixels: (i32, i32),
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, pixels: (i32, i32)) -> Self {
        let (mut start, mut end) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (start, end) = (start.min(value), end.max(value));
        }
        if start > end {
            (start, end) = (0.0, 1.0);
        }
        // Lines that start on an edge are hard to see, and a flat one needs some room.
        let room = ((end - start) * 0.04).max(0.02);
        Self { start: start - room, end: end + room, pixels }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a part of the width, in pixels")]
    fn at(&self, value: f64) -> Option<i32> {
        let part = (value - self.start) / (self.end - self.start);
        let (from, to) = (f64::from(self.pixels.0), f64::from(self.pixels.1));
        (0.0..=1.0).contains(&part).then(|| (from + part * (to - from)).round() as i32)
    }

    /// Powers of ten; where there are few, some of what is between them as well.
    fn ticks(&self) -> Vec<(f64, String)> {
        let steps: &[f64] = match self.end - self.start {
            decades if decades > 2.2 => &[1.0],
            decades if decades > 1.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        };
        let decades = (-12..=15).map(|power| 10_f64.powi(power));
        let values = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        let shown = values.map(|value| (value.log10(), short(value)));
        shown.filter(|(at, _)| (self.start..=self.end).contains(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_apart_and_inside() {
        assert_eq!(apart(&[20, 100]), [20, 100]);
        assert_eq!(apart(&[50, 50, 50]), [50, 65, 80]);
        assert_eq!(apart(&[BOTTOM, BOTTOM]), [BOTTOM + 4 - NAME, BOTTOM + 4]);
    }

    #[test]
    fn ticks_are_powers_of_ten_and_more_where_there_is_room() {
        let shown = |start, end| {
            let axis = Axis { start, end, pixels: (0, 100) };
            axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(shown(1.0, 4.3), ["10", "100", "1 000", "10 000"]);
        assert_eq!(shown(-0.4, 0.7), ["0.5", "1", "2", "5"]);
        assert_eq!(shown(3.1, 3.4), ["1 500", "2 000"]);
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        let line = |label: &str, points: &[(f64, f64)]| Line {
            label: label.to_owned(),
            hue: Hue::OURS,
            points: points.to_vec(),
        };
        let lines = [
            line("edge", &[(50.0, 3.0), (100.0, 9.0)]),
            line("mio", &[]),
            line("x", &[(50.0, 0.0)]),
        ];
        let svg = Lines {
            title: "t",
            lines: &lines,
            x: Scale::Percentile,
            x_label: "percentile",
            y_label: "µs",
        }
        .svg();
        assert!(svg.contains("edge") && !svg.contains("mio") && !svg.contains("NaN"), "{svg}");
    }
}
