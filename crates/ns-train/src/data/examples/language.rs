//! Language modelling: which tokens of a text a model predicts, and how a masked language model is kept from seeing them.

use std::borrow::Cow;
use std::sync::Arc;

use ns_circuit::rng;
use rand::Rng;

use super::Examples;
use super::content::{Content, WordTypes};
use super::inputs::Input;
use super::ragged::Ragged;
use super::sequences::Sequences;
use super::tokens::Tokens;
use crate::data::{LabelledRows, RowSplit};
use crate::error::TrainError;

/// Share of the predicted tokens that the mask token replaces (Devlin et al. 2019, section 3.1).
const MASKED: f32 = 0.8;
/// Share of the predicted tokens that a random token replaces. The others stay as they are.
const RANDOM: f32 = 0.1;

/// How a masked language model is trained: which share of the tokens it predicts, and what hides them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Masking {
    /// Share of the tokens of a text that are predicted; at least one token is.
    pub(crate) probability: f64,
    /// Number of tokens of the vocabulary; `None` for those up to the largest id of the data.
    pub(crate) vocab_size: Option<usize>,
    /// Seed of the sample.
    pub(crate) seed: u64,
}

/// Hides tokens of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenMasker {
    masking: Masking,
    vocab_size: usize,
    mask_id: u32,
}

/// A text whose predicted tokens are hidden.
pub(super) struct MaskedRow {
    /// Positions of the predicted tokens, in order.
    pub(super) positions: Vec<u32>,
    /// The tokens that the model reads.
    pub(super) ids: Vec<u32>,
}

impl Examples {
    /// The texts with their next tokens as labels: each token but the first is predicted from those before it. Texts of
    /// one token are left out.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for images, and if no text of a set has two tokens.
    pub(crate) fn next_tokens(&self) -> Result<Self, TrainError> {
        let sequences = &self.tokens()?.sequences;
        let of_row = |ids: &[u32]| {
            let predicted = ids.get(1..).unwrap_or_default();
            (0..predicted.len() as u32).zip(predicted.iter().copied()).unzip()
        };
        self.with_predicted(sequences, None, |row| of_row(sequences.ids.row(row)))
    }

    /// The texts with the tokens that a masked language model predicts as labels. Training samples other tokens in each
    /// epoch; evaluation always predicts the same. Tokens that the tokenizer adds are not predicted.
    ///
    /// A share of 0.15 of the tokens is predicted, rounded, as in BERT's own `create_pretraining_data.py`.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for images, a tokenizer without a mask token, and if no text of a set has a token
    /// to predict.
    pub(crate) fn masked_tokens(&self, masking: Masking) -> Result<Self, TrainError> {
        let tokens = self.tokens()?;
        let expected = "a masked language model needs `mask_token` in tokenizer_config.json";
        let mask_id =
            tokens.mask_id().ok_or_else(|| TrainError::setting("the tokenizer", "without a mask", expected))?;
        let largest = || (0..tokens.sequences.ids.len()).flat_map(|row| tokens.sequences.ids.row(row)).max().copied();
        let vocab_size = masking.vocab_size.unwrap_or_else(|| largest().map_or(0, |id| id as usize + 1));
        let masker = TokenMasker { masking, vocab_size, mask_id };
        let of_row = |row: usize| {
            let ids = tokens.sequences.ids.row(row);
            let positions = masker.mask(tokens, row, None).positions;
            let labels = positions.iter().map(|at| ids[*at as usize]).collect();
            (positions, labels)
        };
        self.with_predicted(&tokens.sequences, Some(masker), of_row)
    }

    /// The texts with predicted tokens. `of_row` returns the positions and the labels of a row.
    fn with_predicted(
        &self,
        sequences: &Sequences,
        masker: Option<TokenMasker>,
        of_row: impl Fn(usize) -> (Vec<u32>, Vec<u32>),
    ) -> Result<Self, TrainError> {
        let (mut reads, mut labels, mut ends) = (Ragged::default(), Vec::new(), Vec::new());
        for row in 0..sequences.ids.len() {
            let (positions, of_row) = of_row(row);
            reads.push(positions);
            labels.extend(of_row.into_iter().map(|id| id as usize));
            ends.push(labels.len());
        }
        let split = self.with_labels_only(&ends)?;
        let n_answers = labels.iter().max().map_or(0, |largest| largest + 1);
        let rows = LabelledRows { labels, ends, n_answers, split, classes: Vec::new() };
        let content = Content {
            input: self.content.input.clone(),
            reads: Some(reads),
            partners: None,
            unequal_partner: None,
            averages: false,
            numbers: Vec::new(),
            types: WordTypes::None,
            labels_words: false,
            sets_are_given: self.content.sets_are_given,
            answers: None,
            predicts_tokens: true,
            masker,
        };
        Ok(Self { content: Arc::new(content), rows })
    }

    /// The sets without the rows that have no label. `ends` are those of the labels of each row.
    fn with_labels_only(&self, ends: &[usize]) -> Result<RowSplit, TrainError> {
        let has_label = |row: &usize| ends[*row] > row.checked_sub(1).map_or(0, |before| ends[before]);
        let split = &self.rows.split;
        let kept = |rows: &[usize]| rows.iter().copied().filter(has_label).collect::<Vec<_>>();
        let [train, dev, test, ood] = [&split.train, &split.dev, &split.test, &split.ood].map(|rows| kept(rows));
        for (set, before, after) in [("train", &split.train, &train), ("test", &split.test, &test)] {
            let found = format!("{} texts without a token to predict in the {set} set", before.len());
            let expected = "a language model predicts each token from those before it, so a text needs two";
            TrainError::check(!after.is_empty() || before.is_empty(), "data", found, expected)?;
        }
        let count = |split: &RowSplit| split.sets().iter().map(|(_, rows)| rows.len()).sum::<usize>();
        let kept = RowSplit { train, dev, test, ood };
        let lost = count(split) - count(&kept);
        if lost > 0 {
            tracing::warn!("{lost} texts have no token to predict and are left out");
        }
        Ok(kept)
    }

    fn tokens(&self) -> Result<&Tokens, TrainError> {
        match &*self.content.input {
            Input::Tokens(tokens) => Ok(tokens),
            Input::Images { .. } => {
                let expected = "a language model is trained on `text` or `tokens`; name the `label` of the images";
                Err(TrainError::setting("data.label", "missing", expected))
            }
        }
    }
}

impl TokenMasker {
    /// Samples the predicted tokens of a row and hides them, for an epoch of training, or for evaluation.
    pub(super) fn mask(&self, tokens: &Tokens, row: usize, epoch: Option<usize>) -> MaskedRow {
        let Masking { probability, seed, .. } = self.masking;
        let (ids, own) = (tokens.sequences.ids.row(row), tokens.own(row));
        let label = if epoch.is_some() { "mask tokens" } else { "mask tokens/evaluation" };
        let mut stream = rng::stream(seed, label, epoch.unwrap_or_default() as u64, row as u64);
        let count = ((own.len() as f64 * probability).round() as usize).clamp(own.len().min(1), own.len());
        let mut positions = rng::sample_without_replacement(&mut stream, own.len(), count);
        positions.sort_unstable();
        let mut hidden = ids.to_vec();
        for position in &mut positions {
            *position += own.start;
            hidden[*position] = self.instead_of(hidden[*position], &mut stream);
        }
        MaskedRow { positions: positions.into_iter().map(|at| at as u32).collect(), ids: hidden }
    }

    /// What the model reads in place of a token.
    fn instead_of(&self, id: u32, stream: &mut impl Rng) -> u32 {
        match rng::uniform01(stream) {
            share if share < MASKED => self.mask_id,
            share if share < MASKED + RANDOM => rng::below(stream, self.vocab_size) as u32,
            _ => id,
        }
    }
}

/// The tokens that a model reads of some rows, and the positions of those that it predicts.
pub(super) fn masked_rows<'a>(
    masker: &TokenMasker,
    tokens: &'a Tokens,
    rows: &[usize],
    epoch: Option<usize>,
) -> (Vec<Cow<'a, [u32]>>, Vec<Vec<u32>>) {
    rows.iter()
        .map(|row| masker.mask(tokens, *row, epoch))
        .map(|masked| (Cow::Owned(masked.ids), masked.positions))
        .unzip()
}
