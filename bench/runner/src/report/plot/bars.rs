//! Horizontal bars with their quartiles, one for each contestant.

use super::hue::Hue;
use super::ink::{Ink, finish, mark, room_for, text};
use crate::format::short;
use crate::results::Contestant;
use crate::stats::Spread;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

const WIDTH: u32 = 480;
const VALUES: i32 = 62;
const ROW: i32 = 21;
const TOP: i32 = 6;
const FOOT: i32 = 26;

/// A bar, or the reason why there is none.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) hue: Hue,
    /// `true` if it has more than one thread; its colour is then a lighter shade.
    pub(crate) is_threaded: bool,
    pub(crate) value: Option<Spread>,
    /// Stands where the bar would be.
    pub(crate) remark: String,
}

impl Bar {
    /// Returns the bar of the contestant at this place among the others.
    pub(crate) fn of(contestant: &Contestant, place: usize, value: Option<Spread>) -> Self {
        Self {
            is_threaded: contestant.threads > 1,
            ..Self::named(&contestant.label(), Hue::of(contestant, place), value)
        }
    }

    /// Returns a bar for something else than a contestant.
    pub(crate) fn named(label: &str, hue: Hue, value: Option<Spread>) -> Self {
        let remark = "see the table".to_owned();
        Self { label: label.to_owned(), hue, is_threaded: false, value, remark }
    }
}

/// Bars from zero on.
pub(crate) struct Bars<'a> {
    pub(crate) title: &'a str,
    pub(crate) bars: &'a [Bar],
    /// A line at this value.
    pub(crate) reference: Option<f64>,
    /// The spread between two measurements of the same contestant.
    pub(crate) noise: Option<Spread>,
    pub(crate) show: fn(f64) -> String,
}

impl Bars<'_> {
    /// Returns the plot. Drawing into memory cannot fail; if it did, the plot would be empty.
    pub(crate) fn svg(&self) -> String {
        let rows = i32::try_from(self.bars.len()).unwrap_or(i32::MAX / ROW);
        let height = TOP + rows * ROW + FOOT;
        let mut svg = String::new();
        {
            let size = (WIDTH, height.unsigned_abs());
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let _ = self.draw(&area, TOP + rows * ROW);
            let _ = area.present();
        }
        finish(&svg, self.title)
    }

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        bottom: i32,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let scale = self.scale();
        if let Some(noise) = self.noise {
            let corners = [(scale.x(noise.low), TOP), (scale.x(noise.high), bottom)];
            area.draw(&Rectangle::new(corners, mark(Ink::Noise).filled()))?;
        }
        for tick in scale.ticks() {
            let x = scale.x(tick);
            area.draw(&PathElement::new([(x, TOP), (x, bottom)], mark(Ink::Grid)))?;
            let style = text(12, Ink::Muted, HPos::Center, VPos::Top);
            area.draw(&Text::new(short(tick), (x, bottom + 7), style))?;
        }
        for (place, bar) in self.bars.iter().enumerate() {
            let y = TOP + i32::try_from(place).unwrap_or(0) * ROW + ROW / 2;
            self.draw_bar(area, &scale, bar, y)?;
        }
        if let Some(reference) = self.reference {
            let x = scale.x(reference);
            area.draw(&PathElement::new([(x, TOP), (x, bottom)], mark(Ink::Muted)))?;
        }
        Ok(())
    }

    fn draw_bar<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
        scale: &Linear,
        bar: &Bar,
        y: i32,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let style = text(13, Ink::Text, HPos::Right, VPos::Center);
        area.draw(&Text::new(bar.label.clone(), (scale.start - 8, y), style))?;
        let Some(Spread { low, median, high }) = bar.value else {
            let style = text(12, Ink::Muted, HPos::Left, VPos::Center);
            return area.draw(&Text::new(bar.remark.clone(), (scale.start + 6, y), style));
        };
        let corners = [(scale.start, y - 7), (scale.x(median), y + 7)];
        let shade = if bar.is_threaded { 0.55 } else { 1.0 };
        let fill = mark(Ink::Series(bar.hue)).mix(shade).filled();
        area.draw(&Rectangle::new(corners, fill))?;
        let (low, high) = (scale.x(low), scale.x(high));
        if low < high {
            area.draw(&PathElement::new([(low, y), (high, y)], mark(Ink::Text)))?;
            for x in [low, high] {
                area.draw(&PathElement::new([(x, y - 4), (x, y + 4)], mark(Ink::Text)))?;
            }
        }
        let style = text(13, Ink::Text, HPos::Left, VPos::Center);
        let x = scale.x(median).max(high) + 6;
        area.draw(&Text::new((self.show)(median), (x, y), style))
    }

    fn scale(&self) -> Linear {
        let ends = self.bars.iter().filter_map(|bar| bar.value).map(|value| value.high);
        let end = ends.chain(self.reference).fold(0.0, f64::max);
        Linear {
            start: room_for(self.bars.iter().map(|bar| bar.label.as_str())),
            end: if end > 0.0 { end * 1.02 } else { 1.0 },
        }
    }
}

/// The horizontal axis, from zero to the longest bar.
struct Linear {
    /// The place of zero, in pixels.
    start: i32,
    end: f64,
}

impl Linear {
    #[allow(clippy::cast_possible_truncation, reason = "a part of the width, in pixels")]
    fn x(&self, value: f64) -> i32 {
        let width = f64::from(i32::try_from(WIDTH).unwrap_or(0) - self.start - VALUES);
        self.start + (value.clamp(0.0, self.end) / self.end * width).round() as i32
    }

    /// Returns two to five round numbers.
    fn ticks(&self) -> Vec<f64> {
        let decade = 10_f64.powf(self.end.log10().floor());
        let steps = [0.2, 0.5, 1.0, 2.0].map(|part| part * decade);
        let step = steps.into_iter().find(|step| self.end / step <= 5.0).unwrap_or(decade);
        (0..=5).map(|count| f64::from(count) * step).filter(|tick| *tick <= self.end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(Linear { start: 0, end: 1.1 }.ticks(), [0.0, 0.5, 1.0]);
        assert_eq!(Linear { start: 0, end: 0.9 }.ticks().len(), 5);
        for end in [0.003, 1.0, 7.7, 123.0, 9.9e9] {
            let ticks = Linear { start: 0, end }.ticks();
            assert!((2..=6).contains(&ticks.len()), "{end}: {ticks:?}");
        }
    }

    #[test]
    fn every_contestant_is_in_the_plot() {
        let value = Spread::of([0.9, 1.0, 1.1]);
        let bars = [
            Bar::named("edge", Hue::OURS_EDGE, value),
            Bar { remark: "failed".to_owned(), ..Bar::named("a<b", Hue::OURS, None) },
        ];
        let svg = Bars {
            title: "t",
            bars: &bars,
            reference: Some(1.0),
            noise: value,
            show: crate::format::ratio,
        }
        .svg();
        assert!(svg.contains("edge") && svg.contains("a&lt;b") && svg.contains("failed"), "{svg}");
        assert!(svg.contains("var(--c2)") && !svg.contains("#FA"), "{svg}");
    }
}
