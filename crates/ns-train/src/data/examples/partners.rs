//! Partners: the counterfactual input of each row.

use std::path::Path;

use burn::tensor::Device;
use ns_circuit::rng;
use ns_models::ModelInputs;

use super::inputs::{Input, read_inputs};
use super::limits::ModelLimits;
use super::tables::Tables;
use crate::data::RowSplit;
use crate::error::TrainError;
use crate::recipe::{DataSection, Partner};

/// The partner of each row.
pub(super) enum Partners {
    /// Inputs of their own, one per row.
    Inputs(Box<Input>),
    /// Other rows of the same set, by row.
    Rows(Vec<usize>),
}

impl Partners {
    /// Reads the partners of the rows of tables; `None` if the section has none.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a column of partners next to columns of pixels, the errors of
    /// [`Self::deranged`], and for a partner what [`read_inputs`] returns for an input.
    pub(super) fn read(
        section: &DataSection,
        tables: &Tables,
        split: &RowSplit,
        model_folder: Option<&Path>,
        limits: ModelLimits,
    ) -> Result<Option<Self>, TrainError> {
        match &section.partner {
            None => Ok(None),
            Some(Partner::Derange { derange }) => Ok(Some(Self::deranged(split, tables.len(), derange.seed)?)),
            Some(Partner::Column(column)) => {
                let expected = "`pixels` are in one column each, so no single column holds an image; \
                                use { derange = { seed = 0 } }, or image files";
                TrainError::check(section.pixels.is_none(), "data.partner", format!("`{column}`"), expected)?;
                Ok(Some(Self::Inputs(Box::new(read_column(section, column, tables, model_folder, limits)?))))
            }
        }
    }

    /// Gives each row another row of its set, by a uniformly random permutation without fixed points.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a set of one row.
    pub(super) fn deranged(split: &RowSplit, n_rows: usize, seed: u64) -> Result<Self, TrainError> {
        let mut partners: Vec<usize> = (0..n_rows).collect();
        for (set, rows) in split.sets() {
            let expected = "a partner is another row of the same set, so a set needs at least two";
            TrainError::check(rows.len() != 1, "data.partner.derange", format!("on a {set} set of one row"), expected)?;
            for (row, partner) in rows.iter().zip(derangement(rows.len(), seed, set)) {
                partners[*row] = rows[partner];
            }
        }
        Ok(Self::Rows(partners))
    }

    /// The partners of some rows of `input` as model inputs, padded to the longest of them.
    ///
    /// # Errors
    /// Returns the errors of [`Input::batch`].
    pub(super) fn batch(&self, input: &Input, rows: &[usize], device: &Device) -> Result<ModelInputs, TrainError> {
        let batch = match self {
            Self::Inputs(partners) => partners.batch(rows, device),
            Self::Rows(partners) => input.batch(&rows.iter().map(|row| partners[*row]).collect::<Vec<_>>(), device),
        };
        Ok(batch?.inputs)
    }

    /// Where the partner of a row of `input` is: in which inputs, and which row of them.
    pub(super) fn of<'a>(&'a self, input: &'a Input, row: usize) -> (&'a Input, usize) {
        match self {
            Self::Inputs(partners) => (partners, row),
            Self::Rows(partners) => (input, partners[row]),
        }
    }

    /// Whether the partner of a row of `input` has another number of tokens than the row.
    pub(super) fn differs(&self, input: &Input, row: usize) -> bool {
        let (partners, partner) = self.of(input, row);
        partners.n_tokens(partner) != input.n_tokens(row)
    }

    /// What to warn of if the partners of some rows have another number of tokens than their row: the first of them, and
    /// how many there are.
    pub(super) fn unequal(&self, input: &Input, tables: &Tables, rows: &[usize]) -> Option<TrainError> {
        let lengths = |row: usize| {
            let (partners, partner) = self.of(input, row);
            (partners.n_tokens(partner), input.n_tokens(row))
        };
        let differing: Vec<usize> = rows.iter().copied().filter(|row| self.differs(input, *row)).collect();
        let (first, count) = (*differing.first()?, differing.len());
        let (partner, row) = lengths(first);
        let expected = format!(
            "its row has {row}; {count} partners have another length than their row, and ablations that take \
             activations from the partner need equal lengths"
        );
        Some(tables.invalid(first, "the partner", format!("{partner} tokens long"), expected))
    }
}

/// Reads a column of partners as the inputs are read: texts, token ids or image files.
fn read_column(
    section: &DataSection,
    column: &str,
    tables: &Tables,
    model_folder: Option<&Path>,
    limits: ModelLimits,
) -> Result<Input, TrainError> {
    let cells = tables.column(column)?;
    if let Some(row) = cells.iter().position(|cell| cell.trim().is_empty()) {
        return Err(tables.invalid(row, "the partner", "empty", "each row needs one"));
    }
    let instead = |given: &Option<String>| given.is_some().then(|| column.to_string());
    let (text, tokens, image) = (instead(&section.text), instead(&section.tokens), instead(&section.image));
    let section = DataSection { text, tokens, image, ..section.clone() };
    read_inputs(&section, tables, None, model_folder, limits).map(|(input, _)| input).map_err(of_partner)
}

/// Says that the error of an input is that of a partner.
fn of_partner(error: TrainError) -> TrainError {
    match error {
        TrainError::Data { path, line, what: "a token id", found, expected } => {
            TrainError::Data { path, line, what: "a token id of the partner", found, expected }
        }
        TrainError::Data { path, line, found, expected, .. } => {
            TrainError::Data { path, line, what: "the partner", found, expected }
        }
        other => other,
    }
}

/// A uniformly random permutation of `0..n` without fixed points. There is none for `n = 1`.
fn derangement(n: usize, seed: u64, set: &str) -> Vec<usize> {
    // The label fixes the partners, so it must not change.
    let mut stream = rng::stream(seed, &format!("derange/{set}"), 0, 0);
    loop {
        // About every third permutation has no fixed point.
        let order = rng::permutation(&mut stream, n);
        if order.iter().enumerate().all(|(row, partner)| row != *partner) {
            return order;
        }
    }
}
