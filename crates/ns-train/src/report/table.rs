//! Markdown tables and the number formats of their cells.

use super::figures::count;

/// A column of a table: its header, and the text of its cell for a row of results.
pub(super) type Column<R> = (&'static str, fn(&R) -> String);

/// Returns a Markdown table with one line per row of results. All cells are left-aligned.
pub(super) fn table_of<R>(columns: &[Column<R>], rows: &[R]) -> String {
    let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let cells = |row| columns.iter().map(|(_, cell)| cell(row)).collect();
    markdown(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Returns a Markdown table with left-aligned cells. Cells are padded with spaces, so the columns also align in a
/// terminal.
pub fn markdown(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, header.len())
}

/// Returns a Markdown table whose first column is left-aligned and whose other columns are right-aligned.
pub(super) fn numbers(header: &[&str], lines: &[Vec<String>]) -> String {
    aligned(header, lines, 1)
}

/// Formats a share from 0 to 1 with three decimals.
pub(super) fn share(value: f64) -> String {
    format!("{value:.3}")
}

/// Formats `part / whole` as a percentage with one decimal, such as `62.1%`.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.1}%", 100.0 * part / whole)
}

/// Formats a mean and a standard deviation with three decimals.
pub(super) fn mean_sd((mean, sd): (f64, f64)) -> String {
    format!("{mean:.3} ± {sd:.3}")
}

/// Formats a value that may be missing. A missing value is `n/a`.
pub(super) fn or_na<T>(value: Option<T>, format: impl FnOnce(T) -> String) -> String {
    value.map_or("n/a".to_owned(), format)
}

/// Formats the size of a circuit and its maximum, such as `40,448 / 65,536`.
pub(super) fn size(l0: f64, max: f64) -> String {
    format!("{} / {}", count(l0), count(max))
}

/// Returns a Markdown table whose first `left` columns are left-aligned and whose other columns are right-aligned.
fn aligned(header: &[&str], lines: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| Some(line.get(column)?.chars().count()));
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rule = widths.iter().enumerate().map(|(column, width)| {
        if column < left { "-".repeat(*width) } else { format!("{}:", "-".repeat(width.saturating_sub(1))) }
    });
    let rule: Vec<String> = rule.collect();
    let body: String = lines.iter().map(|cells| line(cells)).collect();
    line(&header) + &line(&rule) + &body
}
