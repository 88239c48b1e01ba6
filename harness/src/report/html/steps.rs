//! A timeline of the steps: a bar from the start to the end of each.

use super::duration;
use crate::report::document::{Document, StepRecord};
use maud::{Markup, html};

const LABEL: usize = 280;
const BARS: usize = 820;
const ROW: usize = 22;
const HEAD: usize = 26;

/// Draws the steps, sorted by start.
pub(super) fn drawing(document: &Document) -> Markup {
    let mut steps: Vec<_> = document.steps.iter().collect();
    steps.sort_by_key(|step| step.begin);
    let whole = steps.iter().map(|step| step.begin + step.time).max().unwrap_or_default().max(1);
    let (width, height) = (LABEL + BARS + 120, HEAD + steps.len() * ROW + 6);
    html! {
        div.drawing {
            svg width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img"
                aria-label="the steps and their times" {
                @for tick in (0..=whole).step_by(usize::try_from(interval(whole)).unwrap_or(usize::MAX)) {
                    @let x = at(tick, whole);
                    line.grid x1=(x) y1=(HEAD - 6) x2=(x) y2=(height) {}
                    text.mono.faint x=(x) y="14" text-anchor="middle" { (duration(tick)) }
                }
                @for (row, step) in steps.iter().enumerate() {
                    (bar(step, HEAD + row * ROW, whole))
                }
            }
        }
    }
}

fn bar(step: &StepRecord, y: usize, whole: u64) -> Markup {
    let (begin, end) = (at(step.begin, whole), at(step.begin + step.time, whole));
    html! {
        g.wrong[step.failed] {
            text x=(LABEL - 12) y=(y + 15) text-anchor="end" { (step.name) }
            rect.bar x=(begin) y=(y + 5) width=((end - begin).max(2)) height="12" rx="2" {}
            text.mono.on.faint x=(end.max(begin + 2) + 6) y=(y + 15) {
                (duration(step.time))
                @if step.failed { ", failed" }
            }
        }
    }
}

fn at(time: u64, whole: u64) -> u64 {
    LABEL as u64 + time * BARS as u64 / whole
}

/// A round interval that divides the total time into four to ten parts.
fn interval(whole: u64) -> u64 {
    let mut step = 1;
    loop {
        for factor in [1, 2, 5] {
            if whole / (step * factor) < 10 {
                return step * factor;
            }
        }
        step *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (whole, expected) in [(1, 1), (9, 1), (10, 2), (490, 50), (600, 100), (4_100, 500), (60_000, 10_000)] {
            assert_eq!(interval(whole), expected, "{whole}");
        }
        assert!((0..=u64::MAX).step_by(1).next().is_some() && interval(u64::MAX / 1000) > 0);
    }
}
