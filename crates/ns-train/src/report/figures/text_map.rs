//! Circuit maps and heat maps as text for a terminal.

use super::grid::{Cells, CircuitCell, CircuitGrid, caption, percent};
use super::heat_map::HeatPanel;

/// Target width of a page, in characters.
const PAGE: usize = 128;
/// Distance between two cells, in characters.
const GAP: usize = 2;
/// Smallest width of a bar, in characters.
const MIN_BAR_WIDTH: usize = 4;
/// Largest width of a bar, in characters.
const MAX_BAR_WIDTH: usize = 60;
/// Symbols of a bar of two circuits: only in the first, in both, only in the second, unused, not masked.
const TWO_CIRCUITS: [char; 5] = ['1', '#', '2', '·', ' '];
/// Symbols of a bar of one circuit, in the order of [`TWO_CIRCUITS`].
const ONE_CIRCUIT: [char; 5] = ['#', '#', '#', '·', ' '];

/// Returns a circuit map as text.
///
/// `labels` are the names of one or two circuits. Each cell is a bar of symbols. If the page has room, the
/// percentages of its parameters that are in the circuits are below the bar.
pub fn text_map(title: &str, labels: &[String], grid: &CircuitGrid) -> String {
    let symbols = if labels.len() > 1 { TWO_CIRCUITS } else { ONE_CIRCUIT };
    let page = Page::new(labels.len(), grid);
    let mut text = format!("{title}\n\n{}", legend(labels, symbols, grid.sum().unmasked > 0));
    if page.numbers {
        text += &(caption(labels, " / ") + "\n");
    }
    text += "\n";
    if !grid.columns.is_empty() {
        text += &page.line("", grid.columns.clone(), page.cell);
    }
    for row in &grid.rows {
        let (cells, width) = match &row.cells {
            Cells::Columns(cells) => (cells.clone(), page.cell),
            Cells::Whole(cell) => (vec![Some(*cell)], page.whole()),
        };
        let render = |text: &dyn Fn(&CircuitCell) -> String| -> Vec<String> {
            cells.iter().map(|cell| cell.as_ref().map_or(String::new(), text)).collect()
        };
        text += &page.line(&row.label, render(&|cell| bar_text(cell, symbols, width)), width);
        if page.numbers {
            text += &page.line("", render(&|cell| cell.percents(labels.len(), "/")), width);
        }
    }
    text
}

/// Layout of a page, in characters.
struct Page {
    /// Width of the row names.
    names: usize,
    /// Number of columns.
    columns: usize,
    /// Width of a cell.
    cell: usize,
    /// Whether cells have room for numbers.
    numbers: bool,
}

impl Page {
    fn new(circuits: usize, grid: &CircuitGrid) -> Self {
        let names = grid.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let columns = grid.columns.len().max(1);
        let room = (PAGE.saturating_sub(names) / columns).saturating_sub(GAP).clamp(MIN_BAR_WIDTH, MAX_BAR_WIDTH);
        let cells = grid.rows.iter().flat_map(|row| row.cells.iter());
        let longest = cells.map(|cell| cell.percents(circuits, "/").chars().count()).max().unwrap_or(0);
        Self { names, columns, cell: room, numbers: longest <= room }
    }

    /// Width of a cell that spans all columns.
    fn whole(&self) -> usize {
        (self.columns * (self.cell + GAP) - GAP).min(MAX_BAR_WIDTH)
    }

    fn line(&self, label: &str, cells: Vec<String>, width: usize) -> String {
        let gap = " ".repeat(GAP);
        let cells: String = cells.iter().map(|cell| format!("{gap}{}", fixed(cell, width))).collect();
        format!("{}{cells}", fixed(label, self.names)).trim_end().to_owned() + "\n"
    }
}

/// Returns heat maps as text: a table of percentages per panel.
///
/// `labels` are the names of the panels.
pub fn text_heat_map(title: &str, labels: &[String], panels: &[HeatPanel]) -> String {
    let mut page = format!("{title}\n\n% of the masked parameters in the circuit; – if no parameter is masked\n");
    for (index, panel) in panels.iter().enumerate() {
        let names = panel.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let width = panel.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(4);
        let line = |label: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("  {cell:>width$}")).collect();
            format!("{label:<names$}{cells}\n")
        };
        page += &format!("\n{}\n", labels.get(index).map_or("", String::as_str));
        page += &line("", panel.columns.clone());
        for (label, shares) in &panel.rows {
            page += &line(label, shares.iter().map(|share| share.map_or("–".into(), percent)).collect());
        }
    }
    page
}

fn legend(labels: &[String], symbols: [char; 5], unmasked: bool) -> String {
    let names = match labels {
        [first, second] => {
            format!("{}  only {first}   {}  both   {}  only {second}", symbols[0], symbols[1], symbols[2])
        }
        _ => format!("{}  {}", symbols[0], labels.first().map_or("", String::as_str)),
    };
    format!("{names}   {}  unused{}\n", symbols[3], if unmasked { "   blank  not masked" } else { "" })
}

/// Returns a bar of `width` symbols.
fn bar_text(cell: &CircuitCell, symbols: [char; 5], width: usize) -> String {
    let (total, mut before) = (cell.total().max(1) as f64, 0);
    let position = |count: u64| (width as f64 * count as f64 / total).round() as usize;
    let mut bar = String::new();
    for (count, symbol) in cell.counts().into_iter().zip(symbols) {
        bar.extend(std::iter::repeat_n(symbol, position(before + count) - position(before)));
        before += count;
    }
    bar
}

/// Pads or shortens `text` to exactly `width` characters. A text that is too long keeps its end, because the ends of
/// names differ.
fn fixed(text: &str, width: usize) -> String {
    let len = text.chars().count();
    if len <= width {
        return format!("{text:<width$}");
    }
    let end: String = text.chars().skip(len + 1 - width.max(1)).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::grid::GridRow;

    fn grid() -> CircuitGrid {
        let cell = CircuitCell { first: 1, both: 1, second: 1, unused: 1, unmasked: 0 };
        let unmasked = CircuitCell { unmasked: 7, ..CircuitCell::default() };
        let rows = vec![
            GridRow { label: "layer 0".into(), cells: Cells::Columns(vec![Some(cell), Some(unmasked), None]) },
            GridRow { label: "score".into(), cells: Cells::Whole(cell) },
        ];
        CircuitGrid { columns: vec!["head 0".into(), "head 1".into(), "mlp".into()], rows }
    }

    #[test]
    fn two_circuits_have_their_numbers_as_signs() {
        let labels = ["squares".to_string(), "sums".to_string()];
        let page = text_map("A title", &labels, &grid());
        for text in ["A title", "1  only squares", "2  only sums", "head 1", "25/25/25", "–", "score"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let layer = page.lines().find(|line| line.starts_with("layer 0")).unwrap();
        let (first, both) = (layer.matches('1').count(), layer.matches('#').count());
        assert!(first.abs_diff(both) < 2 && first.abs_diff(layer.matches('2').count()) < 2 && first > 3, "{layer}");
        assert!(page.lines().all(|line| line.chars().count() <= PAGE), "{page}");
    }

    #[test]
    fn one_circuit_has_one_number() {
        let page = text_map("A title", &["squares".to_string()], &grid());
        assert!(page.contains("#  squares") && page.contains("25\n") && !page.contains("25/25"), "{page}");
        let empty = text_map("", &["squares".to_string()], &CircuitGrid::default());
        assert!(empty.contains("squares"), "{empty}");
    }

    #[test]
    fn a_heat_map_is_a_table() {
        let rows = vec![("layer 0".to_string(), vec![Some(0.382), None])];
        let panel = HeatPanel { columns: vec!["head 0".into(), "mlp".into()], rows };
        let page = text_heat_map("A title", &["squares".to_string()], &[panel]);
        assert!(page.contains("squares\n") && page.contains("layer 0      38       –"), "{page}");
    }

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(fixed("attention.self.query", 8), "…f.query");
        assert_eq!(fixed("mlp", 5), "mlp  ");
    }
}
