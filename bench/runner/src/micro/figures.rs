//! The plots of a group of cases.

use super::cases::{Group, metric_of};
use crate::format::number;
use crate::metric::Metric;
use crate::report::Figure;
use crate::report::plot::{Bar, Bars, Hue, Line, Lines, Scale};
use crate::results::{Part, Series};

/// The labels and file names of a suite's plots.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// The label of the number that grows from case to case.
    pub(super) x_label: &'static str,
    /// Titles of the plots that are published, with the names of their files.
    pub(super) published: &'static [(&'static str, &'static str)],
}

impl Look {
    /// Returns the name of the file that the plot with this title is published as.
    fn file(self, title: &str) -> Option<&'static str> {
        self.published.iter().find(|(known, _)| *known == title).map(|(_, file)| *file)
    }
}

/// Returns lines, if the cases of a group are points of some, or bars.
pub(super) fn figures(look: Look, group: &Group<'_>) -> Vec<Figure> {
    if group.is_growth {
        return vec![growth(look, group)];
    }
    group.parts.iter().map(|part| bars(look, part)).collect()
}

fn growth(look: Look, group: &Group<'_>) -> Figure {
    let metric = metric_of(group.parts[0]).unwrap_or(Metric::Nanoseconds);
    let mut lines: Vec<Line> = Vec::new();
    for part in &group.parts {
        for one in part.series.iter().filter(|one| !one.contestant.role.is_again()) {
            let Some(spread) = one.spread(metric) else { continue };
            let (label, point) = (one.contestant.label(), (part.x.unwrap_or(0.0), spread.median));
            match lines.iter_mut().find(|line| line.label == label) {
                Some(line) => line.points.push(point),
                None => {
                    let hue = Hue::of(&one.contestant, lines.len());
                    lines.push(Line { label, hue, points: vec![point] });
                }
            }
        }
    }
    let plot = Lines {
        title: &group.title,
        lines: &lines,
        x: Scale::Logarithmic,
        x_label: look.x_label,
        y_label: metric.unit(),
    };
    Figure {
        title: group.title.clone(),
        note: format!("{}; both axes are logarithmic", metric.better().words()),
        svg: plot.svg(),
        file: look.file(&group.title),
    }
}

fn bars(look: Look, part: &Part) -> Figure {
    let metric = metric_of(part).unwrap_or(Metric::Nanoseconds);
    let bar = |(place, one): (usize, &Series)| Bar::of(&one.contestant, place, one.spread(metric));
    let bars: Vec<_> = part.series.iter().enumerate().map(bar).collect();
    let plot = Bars { title: &part.title, bars: &bars, reference: None, noise: None, show: number };
    Figure {
        title: part.title.clone(),
        note: format!("{}, {}", metric.unit(), metric.better().words()),
        svg: plot.svg(),
        file: look.file(&part.title),
    }
}
