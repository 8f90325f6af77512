//! The cells of one column, as one text and the end of each cell.

/// The cells of a column while it is read. A cell is complete when its end is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    /// Adds a cell.
    pub(super) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.end_cell();
    }

    /// The text of all cells. What is added to it belongs to the cell that [`Cells::end_cell`] ends.
    pub(super) fn text_mut(&mut self) -> &mut String {
        &mut self.text
    }

    /// Ends a cell: it holds what was added since the cell before it.
    pub(super) fn end_cell(&mut self) {
        self.ends.push(self.text.len());
    }

    /// Number of complete cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the memory that the last growth took in advance.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub(super) fn column(&self) -> Column<'_> {
        Column { text: &self.text, ends: &self.ends }
    }
}

/// A column of a [`Table`](super::Table): one text per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Column<'a> {
    /// The cell of a row, counted from 0; `None` if there is no such row.
    pub fn get(self, row: usize) -> Option<&'a str> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or_default());
        self.ends.get(row).map(|end| &self.text[start..*end])
    }

    /// Number of rows.
    pub fn len(self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(self) -> bool {
        self.ends.is_empty()
    }

    /// The cells, from the first row to the last.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.text[std::mem::replace(&mut start, *end)..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_by_row_and_in_order() {
        let mut cells = Cells::default();
        assert!(cells.column().is_empty() && cells.column().get(0).is_none());
        ["ünï", "", "b"].iter().for_each(|cell| cells.push(cell));
        cells.text_mut().push('c');
        cells.text_mut().push('d');
        cells.end_cell();
        let column = cells.column();
        assert_eq!(column.iter().collect::<Vec<_>>(), ["ünï", "", "b", "cd"]);
        assert_eq!((column.len(), column.is_empty(), column.iter().len()), (4, false, 4));
        assert_eq!([0, 1, 2, 3].map(|row| column.get(row)), ["ünï", "", "b", "cd"].map(Some));
        assert_eq!((column.get(4), column.get(5), column.get(usize::MAX)), (None, None, None));
    }
}
