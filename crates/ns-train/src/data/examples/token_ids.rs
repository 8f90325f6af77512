//! Token ids that a table holds.

use ns_models::RowFormat;

use super::read::{Reader, Reading};
use super::sequences::Sequences;
use super::tables::Tables;
use super::texts::{Limit, TokenizedRows};
use super::token_row::TokenRow;
use crate::error::TrainError;

/// Reads a column of token ids: separated by spaces, or a JSON list. The tokenizer adds none.
///
/// # Errors
/// Returns [`TrainError::Data`] for an id that is no number or not in the vocabulary, a row without ids or longer than
/// the model, and for tokens that are read but not there.
pub(super) fn read_ids(
    tables: &Tables,
    cells: &[&str],
    format: RowFormat,
    limit: Limit,
    reader: Option<&Reader<'_>>,
) -> Result<TokenizedRows, TrainError> {
    // A token id of padding is never attended to, so any id will do.
    let format = RowFormat { pad_id: format.pad_id.or(Some(0)), token_types: false, ..format };
    let sequences = Sequences { format, ..Sequences::default() };
    let mut rows = TokenizedRows { sequences, ..TokenizedRows::default() };
    for (row, cell) in cells.iter().enumerate() {
        let ids = parse((tables, row), cell.trim())?;
        let tokens = TokenRow::of_ids(ids.len());
        let mut reading = reader.map(|reader| reader.read(row, &tokens)).transpose()?;
        let kept = limit.cut((tables, row), &tokens, reading.as_mut().unwrap_or(&mut Reading::default()))?;
        let ids: Vec<u32> = kept.into_iter().flatten().map(|at| ids[at]).collect();
        limit.check_ids((tables, row), &ids)?;
        rows.sequences.ids.push(ids);
        rows.readings.extend(reading);
    }
    Ok(rows)
}

fn parse((tables, row): (&Tables, usize), cell: &str) -> Result<Vec<u32>, TrainError> {
    let invalid = |found: String, expected: &str| tables.invalid(row, "a token id", found, expected);
    let list = cell.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let numbers: Vec<&str> = match list {
        Some(list) if list.trim().is_empty() => Vec::new(),
        Some(list) => list.split(',').map(str::trim).collect(),
        None => cell.split_whitespace().collect(),
    };
    let expected = "it must be an integer from 0 to 4294967295; ids are separated by spaces, or in a JSON list";
    let ids = numbers.iter().map(|id| id.parse().map_err(|_| invalid(format!("`{id}`"), expected)));
    let ids = ids.collect::<Result<Vec<u32>, _>>()?;
    match ids.is_empty() {
        true => Err(tables.invalid(row, "the list of token ids", "empty", "a model needs at least one")),
        false => Ok(ids),
    }
}
