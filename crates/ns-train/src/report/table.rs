//! Markdown tables and the number formats of their cells.

use super::figures::count;

/// Returns a Markdown table with left-aligned cells. Cells are padded with spaces, so the columns also align in a
/// terminal.
pub fn markdown(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, |_| Align::Left)
}

/// Returns a Markdown table whose first column is left-aligned and whose other columns are right-aligned.
pub(super) fn numbers(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, |column| if column == 0 { Align::Left } else { Align::Right })
}

/// Formats a share from 0 to 1 with three decimals.
pub(super) fn share(value: f64) -> String {
    format!("{value:.3}")
}

/// Formats `part / whole` as a percentage with one decimal, such as `62.1%`.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.1}%", 100.0 * part / whole)
}

/// Formats the size of a circuit and its maximum, such as `40,448 / 65,536`.
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
