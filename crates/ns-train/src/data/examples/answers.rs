//! Answers of language models: texts that are one token.

use std::collections::HashMap;

use super::inputs::Input;
use super::tables::Tables;
use super::tokens::{Tokens, Writer};
use crate::error::TrainError;
use crate::recipe::AnswerColumns;

/// The right and the wrong answer of each row, as token ids.
pub(super) struct AnswerIds {
    pub(super) right: Vec<usize>,
    pub(super) wrong: Vec<usize>,
}

/// What was found in place of a token, and what would be right.
type NoToken = (String, String);

/// Reads the columns with answers.
///
/// # Errors
/// Returns [`TrainError::DataColumn`] for a missing column, and [`TrainError::Data`] for an answer that is not one token
/// and for a right answer that is the wrong one, too.
pub(super) fn read(columns: &AnswerColumns, tables: &Tables, input: &Input) -> Result<AnswerIds, TrainError> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut ids = |column: &str| {
        let cells = tables.column(column)?.into_iter().enumerate();
        let id = |(row, cell)| {
            if let Some(id) = known.get(cell) {
                return Ok(*id);
            }
            let id = token(input, cell);
            let id = id.map_err(|(found, expected)| tables.invalid(row, "the answer", found, expected))?;
            known.insert(cell, id);
            Ok(id)
        };
        cells.map(id).collect::<Result<Vec<_>, TrainError>>()
    };
    let (right, wrong) = (ids(&columns.right)?, ids(&columns.wrong)?);
    if let Some(row) = right.iter().zip(&wrong).position(|(right, wrong)| right == wrong) {
        let expected = format!("the column `{}` must hold another one", columns.wrong);
        return Err(tables.invalid(row, "the right answer", "the wrong answer, too", expected));
    }
    Ok(AnswerIds { right, wrong })
}

/// The id of an answer: a text that is one token, or for data of token ids an id.
pub(super) fn token(input: &Input, answer: &str) -> Result<usize, NoToken> {
    let Input::Tokens(Tokens { writer, .. }) = input else {
        return Err((format!("`{answer}`"), "a model of images has no tokens".into()));
    };
    let Writer::Text(tokenizer) = writer else {
        let expected = "the data are token ids, so an answer is a token id, too";
        return answer.trim().parse().map_err(|_| (format!("`{answer}`"), expected.into()));
    };
    let ids = tokenizer.encode_plain(answer).map_err(|error| (format!("`{answer}`"), error.to_string()))?;
    let name = |id: &u32| format!("`{}`", tokenizer.token(*id).unwrap_or_default());
    match ids[..] {
        [id] if tokenizer.unknown_id() == Some(id) => {
            Err((format!("`{answer}`"), "it is not in the vocabulary of the tokenizer".into()))
        }
        [id] => Ok(id as usize),
        [] => Err((format!("`{answer}`"), "it has no token, and an answer is one token".into())),
        _ => {
            let split = ids.iter().map(name).collect::<Vec<_>>().join(" ");
            let expected = format!("an answer is one token, and this one splits into {split}");
            Err((format!("`{answer}`"), expected))
        }
    }
}
