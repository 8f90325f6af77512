//! Tables in Markdown.

use super::figures::count;

/// A table whose columns are as wide as their widest cell. All cells are aligned to the left.
pub fn markdown(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, |_| Align::Left)
}

/// A table of names and numbers: the first column is aligned to the left, the others to the right.
pub(super) fn numbers(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, |column| if column == 0 { Align::Left } else { Align::Right })
}

/// A share with three decimals.
pub(super) fn share(value: f64) -> String {
    format!("{value:.3}")
}

/// A percentage with one decimal.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.1}%", 100.0 * part / whole)
}

/// `40,448 / 65,536`.
pub(super) fn size(l0: f64, max: f64) -> String {
    format!("{} / {}", count(l0), count(max))
}

#[derive(Clone, Copy, PartialEq)]
enum Align {
    Left,
    Right,
}

fn aligned(header: &[&str], lines: &[Vec<String>], align: impl Fn(usize) -> Align) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| Some(line.get(column)?.chars().count()));
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match align(column) {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rule = widths.iter().enumerate().map(|(column, width)| match align(column) {
        Align::Left => "-".repeat(*width),
        Align::Right => format!("{}:", "-".repeat(width.saturating_sub(1))),
    });
    let rule: Vec<String> = rule.collect();
    let body: String = lines.iter().map(|cells| line(cells)).collect();
    line(&header) + &line(&rule) + &body
}
