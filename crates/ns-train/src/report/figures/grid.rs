//! The data of a circuit map: a table of cells, one row per layer of the model.

/// Number of parameters of one cell per circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CircuitCell {
    /// Parameters only in the first circuit.
    pub first: u64,
    /// Parameters in both circuits.
    pub both: u64,
    /// Parameters only in the second circuit.
    pub second: u64,
    /// Masked parameters that are not in any circuit.
    pub unused: u64,
    /// Parameters without a mask.
    pub unmasked: u64,
}

impl CircuitCell {
    /// Number of all parameters.
    pub fn total(&self) -> u64 {
        self.masked() + self.unmasked
    }

    /// Number of masked parameters.
    pub fn masked(&self) -> u64 {
        self.first + self.both + self.second + self.unused
    }

    /// Numbers of parameters in the order of a bar, from left to right.
    pub(super) fn counts(&self) -> [u64; 5] {
        [self.first, self.both, self.second, self.unused, self.unmasked]
    }

    /// Formats the percentages of the parameters in the circuits, without a percent sign; `–` if no parameter is
    /// masked.
    ///
    /// One circuit has one percentage, with a decimal if it is small. Two circuits have three percentages without
    /// decimals: only the first, both, only the second.
    pub(super) fn percents(&self, circuits: usize, separator: &str) -> String {
        let share = |count: u64| count as f64 / self.total() as f64;
        match circuits {
            _ if self.masked() == 0 => "–".to_owned(),
            1 => percent(share(self.first)),
            _ => [self.first, self.both, self.second].map(|count| whole_percent(share(count))).join(separator),
        }
    }
}

impl std::ops::AddAssign for CircuitCell {
    fn add_assign(&mut self, other: Self) {
        self.first += other.first;
        self.both += other.both;
        self.second += other.second;
        self.unused += other.unused;
        self.unmasked += other.unmasked;
    }
}

/// Formats a share as a short percentage that is `0` or `100` only if it is exactly that: `0`, `<0.1`, `4.2`, `38`,
/// `>99`.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent <= 0.0 || percent.is_nan() => "0".to_owned(),
        _ if percent < 0.1 => "<0.1".to_owned(),
        _ if percent < 9.95 => format!("{percent:.1}"),
        _ if percent < 99.5 => format!("{percent:.0}"),
        _ if percent < 100.0 => ">99".to_owned(),
        _ => "100".to_owned(),
    }
}

/// Like [`percent`], but without decimals.
fn whole_percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent > 0.0 && percent < 0.5 => "<1".to_owned(),
        _ if (99.5..100.0).contains(&percent) => ">99".to_owned(),
        _ => format!("{:.0}", percent.max(0.0)),
    }
}

/// Explains the numbers of [`CircuitCell::percents`]. `labels` are the names of the circuits.
pub(super) fn caption(labels: &[String], separator: &str) -> String {
    match labels {
        [first, second] => {
            format!("numbers: % of each part only in {first}{separator}in both{separator}only in {second}")
        }
        _ => "numbers: % of each part in the circuit".to_owned(),
    }
}

/// The cells of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cells {
    /// One cell per column; `None` if the row has no cell in a column.
    Columns(Vec<Option<CircuitCell>>),
    /// One cell that spans all columns, for a layer that does not belong to a column.
    Whole(CircuitCell),
}

impl Cells {
    /// Iterates over the cells of the row.
    pub fn iter(&self) -> impl Iterator<Item = &CircuitCell> {
        let cells: Vec<&CircuitCell> = match self {
            Self::Columns(cells) => cells.iter().flatten().collect(),
            Self::Whole(cell) => vec![cell],
        };
        cells.into_iter()
    }
}

/// One row of a [`CircuitGrid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridRow {
    /// Name of the row, such as `layer 3`.
    pub label: String,
    /// Cells of the row.
    pub cells: Cells,
}

/// Cells of one or two circuits in all parts of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CircuitGrid {
    /// Names of the columns, such as `head 3`; empty if each row has a single cell without a name.
    pub columns: Vec<String>,
    /// Rows from top to bottom.
    pub rows: Vec<GridRow>,
}

impl CircuitGrid {
    /// Returns the sum of all cells.
    pub fn sum(&self) -> CircuitCell {
        let mut sum = CircuitCell::default();
        self.rows.iter().flat_map(|row| row.cells.iter()).for_each(|cell| sum += *cell);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_percentages_differ_from_zero() {
        let found = [0.0, 0.0004, 0.042, 0.3849, 0.9999, 1.0, f64::NAN].map(percent);
        assert_eq!(found, ["0", "<0.1", "4.2", "38", ">99", "100", "0"]);
    }

    #[test]
    fn cells_add_up() {
        let cell = CircuitCell { first: 1, both: 2, second: 3, unused: 4, unmasked: 10 };
        assert_eq!((cell.total(), cell.masked()), (20, 10));
        assert_eq!(cell.percents(2, "/"), "5/10/15");
        let extreme = CircuitCell { first: 1, both: 999, ..CircuitCell::default() };
        assert_eq!(extreme.percents(2, " · "), "<1 · >99 · 0");
        assert_eq!(cell.percents(1, "/"), "5.0");
        assert_eq!(CircuitCell { unused: 1, ..CircuitCell::default() }.percents(1, "/"), "0");
        assert_eq!(CircuitCell::default().percents(1, "/"), "–");
        let rows = vec![
            GridRow { label: "a".into(), cells: Cells::Columns(vec![Some(cell), None]) },
            GridRow { label: "b".into(), cells: Cells::Whole(cell) },
        ];
        assert_eq!(CircuitGrid { columns: Vec::new(), rows }.sum().unmasked, 20);
    }
}
