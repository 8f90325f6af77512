//! What a circuit map shows: a table of cells, one row a layer of the model.

/// How many parameters of one cell are in which circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CircuitCell {
    /// In the first circuit only.
    pub first: u64,
    /// In both.
    pub both: u64,
    /// In the second circuit only.
    pub second: u64,
    /// Masked, and in neither.
    pub unused: u64,
    /// Masked in no circuit.
    pub unmasked: u64,
}

impl CircuitCell {
    /// All parameters.
    pub fn total(&self) -> u64 {
        self.masked() + self.unmasked
    }

    /// Those that could be in a circuit.
    pub fn masked(&self) -> u64 {
        self.first + self.both + self.second + self.unused
    }

    /// Numbers of parameters, from left to right of a bar.
    pub(super) fn counts(&self) -> [u64; 5] {
        [self.first, self.both, self.second, self.unused, self.unmasked]
    }

    /// Shares in percent of the cell: of one circuit with a decimal where it is small; of two, shorter, those of the
    /// first alone, both, and the second alone.
    pub(super) fn percents(&self, circuits: usize) -> Vec<String> {
        let share = |count: u64| count as f64 / self.total().max(1) as f64;
        match circuits {
            1 => vec![percent(share(self.first))],
            _ => [self.first, self.both, self.second].map(|count| whole_percent(share(count))).to_vec(),
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

/// A share in percent, as short as tells it from 0 and 100: `0`, `<0.1`, `4.2`, `38`, `>99`.
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

/// The same without decimals.
fn whole_percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent > 0.0 && percent < 0.5 => "<1".to_owned(),
        _ if (99.5..100.0).contains(&percent) => ">99".to_owned(),
        _ => format!("{:.0}", percent.max(0.0)),
    }
}

/// The cells of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cells {
    /// One cell a column; `None` where the row has none.
    Columns(Vec<Option<CircuitCell>>),
    /// One cell across all columns, for what none of them names.
    Whole(CircuitCell),
}

impl Cells {
    /// All that are there.
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
    /// Its name, such as `layer 3`.
    pub label: String,
    /// Its cells.
    pub cells: Cells,
}

/// One or two circuits over the parts of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CircuitGrid {
    /// Names of the columns, such as `head 3`; none for rows of a single nameless cell.
    pub columns: Vec<String>,
    /// The rows, from top to bottom.
    pub rows: Vec<GridRow>,
}

impl CircuitGrid {
    /// All cells added up.
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
    fn percentages_tell_little_from_nothing() {
        let found = [0.0, 0.0004, 0.042, 0.3849, 0.9999, 1.0, f64::NAN].map(percent);
        assert_eq!(found, ["0", "<0.1", "4.2", "38", ">99", "100", "0"]);
    }

    #[test]
    fn cells_add_up() {
        let cell = CircuitCell { first: 1, both: 2, second: 3, unused: 4, unmasked: 10 };
        assert_eq!((cell.total(), cell.masked()), (20, 10));
        assert_eq!(cell.percents(2), ["5", "10", "15"]);
        let extreme = CircuitCell { first: 1, both: 999, ..CircuitCell::default() };
        assert_eq!(extreme.percents(2), ["<1", ">99", "0"]);
        assert_eq!(cell.percents(1), ["5.0"]);
        assert_eq!(CircuitCell::default().percents(1), ["0"]);
        let rows = vec![
            GridRow { label: "a".into(), cells: Cells::Columns(vec![Some(cell), None]) },
            GridRow { label: "b".into(), cells: Cells::Whole(cell) },
        ];
        assert_eq!(CircuitGrid { columns: Vec::new(), rows }.sum().unmasked, 20);
    }
}
