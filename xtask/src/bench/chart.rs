//! The first table as a chart: SVG, with two panels of bars.

use super::{contestant::Contestant, report::Report, statistics::Summary};
use std::fmt::Write as _;

const ROW: usize = 24;
const TOP: usize = 56;
/// Where a panel's bars begin, and how long the longest is.
const LEFT: usize = 300;
const PANEL: usize = 250;
const BETWEEN: usize = 110;
const WIDTH: usize = LEFT + 2 * PANEL + BETWEEN + 70;

const OURS: &str = "#2f6f9f";
const FLOOR: &str = "#b9b9b9";
const OTHERS: &str = "#d08a3c";

/// A bar of each panel.
struct Bars<'a> {
    contestant: &'a Contestant,
    ratio: Summary,
    cpu: Summary,
}

/// The chart of the first tournament.
pub(super) fn draw(report: &Report) -> String {
    let rows = report.tournaments.first().map_or(&[][..], |t| &t.rows);
    let bars: Vec<Bars<'_>> = rows
        .iter()
        .filter_map(|row| {
            let figures = row.result.as_ref().ok()?;
            Some(Bars {
                contestant: &row.contestant,
                ratio: figures.ratio,
                cpu: figures.cpu,
            })
        })
        .collect();
    let height = TOP + ROW * bars.len() + 24;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Rate of the sender and time of the reader, by tool</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let second = LEFT + PANEL + BETWEEN;
    text(&mut svg, LEFT, 20, "start", "Sender's rate, of untraced");
    text(&mut svg, LEFT, 36, "start", "(longer is better)");
    text(&mut svg, second, 20, "start", "CPU seconds a million drops");
    text(&mut svg, second, 36, "start", "(shorter is better)");
    let longest = bars.iter().map(|bars| bars.cpu.max).fold(0.01, f64::max);
    for (n, bars) in bars.iter().enumerate() {
        let y = TOP + ROW * n;
        let colour = match bars.contestant {
            contestant if contestant.is_ours() => OURS,
            contestant if contestant.is_floor() => FLOOR,
            _ => OTHERS,
        };
        let name = bars.contestant.plain_name();
        text(&mut svg, LEFT - 8, y + 14, "end", &name);
        bar(&mut svg, (LEFT, y), bars.ratio, 1.05, colour);
        bar(&mut svg, (second, y), bars.cpu, longest, colour);
    }
    // The rate with nobody watching.
    let x = LEFT as f64 + PANEL as f64 / 1.05;
    let bottom = TOP + ROW * bars.len();
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#666666\" stroke-dasharray=\"3 3\"/>",
        TOP - 6
    );
    svg + "</svg>\n"
}

/// A median as a bar, with a line from the least to the greatest and the number.
fn bar(svg: &mut String, (x, y): (usize, usize), value: Summary, full: f64, colour: &str) {
    let length = |value: f64| (value / full).clamp(0.0, 1.0) * PANEL as f64;
    let at = |value: f64| x as f64 + length(value);
    let middle = y + ROW / 2 - 2;
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
         <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"#222222\"/>",
        length(value.median),
        ROW - 4,
        at(value.min),
        at(value.max)
    );
    let number = format!("{:.2}", value.median);
    text(svg, at(value.max) as usize + 6, y + 14, "start", &number);
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"#222222\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;

    #[test]
    fn a_bar_in_each_panel_for_whoever_has_figures() {
        let svg = super::draw(&sample());
        assert_eq!(svg.matches("#2f6f9f").count(), 2, "{svg}");
        assert!(!svg.contains("perf record"), "{svg}");
        // Every tag that is opened is closed.
        assert_eq!(
            svg.matches("<text ").count(),
            svg.matches("</text>").count()
        );
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
