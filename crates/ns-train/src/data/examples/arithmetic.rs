//! Modular arithmetic as examples: all pairs `a b =`, `a` first.

use super::limits::ModelLimits;
use super::read::Reading;
use super::sequences::Sequences;
use super::sets::{Shares, seeded};
use super::texts::TokenizedRows;
use crate::data::{LabelledRows, Variable};
use crate::error::TrainError;
use crate::recipe::{ArithmeticSource, DataSection, Split};

/// Number of tokens of an example: `a`, `b`, `=`.
const CONTEXT: usize = 3;

/// The largest modulus: its 100 million pairs need 3 GB of memory.
const MAX_MODULUS: usize = 10_000;

/// The examples of a task, their labels, and the numbers of the labels.
pub(super) fn read(
    source: ArithmeticSource,
    section: &DataSection,
    limits: ModelLimits,
) -> Result<(TokenizedRows, LabelledRows), TrainError> {
    let ArithmeticSource { task, modulus } = source;
    let expected = format!("it must be between 2 and {MAX_MODULUS}, because all pairs below it are examples");
    TrainError::check((2..=MAX_MODULUS).contains(&modulus), "data.arithmetic.modulus", modulus, expected)?;
    check_model(modulus, limits)?;
    let Some(Split::Seeded { train, dev, seed, group: None }) = section.split else {
        let expected = "arithmetic needs { seeded = { train = 0.6, seed = 0 } }";
        return Err(TrainError::setting("data.split", "missing or another", expected));
    };
    let variable = variable(section.label.as_deref().unwrap_or("answer"))?;
    let pairs: Vec<(usize, usize)> = (0..modulus).flat_map(|a| (0..modulus).map(move |b| (a, b))).collect();
    let split = seeded(pairs.len(), Shares { train, dev, seed });
    for (name, rows) in [("train", &split.train), ("test", &split.test)] {
        let expected = format!("it leaves none of the {} pairs in the {name} set", pairs.len());
        TrainError::check(!rows.is_empty(), "data.split.seeded", format!("train = {train}, dev = {dev}"), expected)?;
    }
    let value = |pair: &(usize, usize)| match variable {
        Some(variable) => variable.value(modulus, *pair),
        None => task.answer(modulus, *pair),
    };
    let labels = pairs.iter().map(value).collect();
    let mut sequences = Sequences::default();
    for (a, b) in &pairs {
        sequences.ids.push([a, b, &modulus].map(|token| *token as u32));
    }
    let last = Reading { positions: vec![CONTEXT - 1], words: Vec::new() };
    let tokens = TokenizedRows { sequences, readings: vec![last; pairs.len()], added: [0, 0] };
    Ok((tokens, LabelledRows { labels, n_answers: modulus, split, ..LabelledRows::default() }))
}

fn check_model(modulus: usize, limits: ModelLimits) -> Result<(), TrainError> {
    let size = limits.vocab_size.unwrap_or(usize::MAX);
    let expected = format!("the vocabulary of the model has {size} tokens, and the task needs modulus + 1");
    TrainError::check(modulus < size && modulus <= u32::MAX as usize, "data.arithmetic.modulus", modulus, expected)?;
    let longest = limits.max_length.unwrap_or(CONTEXT);
    let expected = "an example of arithmetic has 3 tokens, `a b =`";
    TrainError::check(longest >= CONTEXT, "model", format!("for at most {longest} tokens"), expected)
}

/// The variable with a name, or `None` for the answer.
fn variable(name: &str) -> Result<Option<Variable>, TrainError> {
    match (Variable::from_name(name), name) {
        (Some(variable), _) => Ok(Some(variable)),
        (None, "answer") => Ok(None),
        _ => {
            let expected = "arithmetic has `a2`, `minus_b2`, `a_plus_b`, `a_minus_b` and `answer`";
            Err(TrainError::setting("data.label", format!("`{name}`"), expected))
        }
    }
}
