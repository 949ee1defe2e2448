//! The plots of a group of cases.

use super::cases::{Group, MicroCase};
use crate::report::plot::{Bar, Bars, Line, Lines, Scale};
use crate::report::{Figure, VALUE, number};

/// Lines, where the cases of a group are points of some, or bars; `x_label` says what grows.
pub(super) fn figures(x_label: &str, group: &Group) -> Vec<Figure> {
    if group.is_growth() {
        return vec![growth(x_label, group)];
    }
    group.cases.iter().map(bars).collect()
}

fn growth(x_label: &str, group: &Group) -> Figure {
    let mut lines: Vec<Line> = Vec::new();
    let unit = &group.cases[0].unit;
    for case in &group.cases {
        for one in case.series.iter().filter(|one| !one.contestant.ends_with(" again")) {
            let Some(spread) = one.spread(VALUE) else { continue };
            let point = (case.x, spread.median);
            match lines.iter_mut().find(|line| line.label == one.contestant) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { label: one.contestant.clone(), points: vec![point] }),
            }
        }
    }
    let plot =
        Lines { title: &group.title, lines: &lines, x: Scale::Logarithmic, x_label, y_label: unit };
    Figure {
        title: group.title.clone(),
        note: format!("{}; both axes are logarithmic", better(unit)),
        svg: plot.svg(),
    }
}

fn bars(case: &MicroCase) -> Figure {
    let bars: Vec<_> = case
        .series
        .iter()
        .map(|one| Bar {
            label: one.contestant.clone(),
            value: one.spread(VALUE),
            remark: String::new(),
        })
        .collect();
    let plot = Bars {
        title: &case.name,
        bars: &bars,
        reference: None,
        noise: None,
        show: number,
        tint: None,
    };
    let note = format!("{}, {}", case.unit, better(&case.unit));
    Figure { title: case.name.clone(), note, svg: plot.svg() }
}

fn better(unit: &str) -> &'static str {
    if unit == "a second" { "more is better" } else { "less is better" }
}
