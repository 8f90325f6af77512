//! Embeddings of tokens, positions, token types and task types, HF's `BertEmbeddings`.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::EncoderConfig;
use crate::error::ModelError;
use crate::init;
use crate::inputs::{ModelInputs, invalid};

#[derive(Module, Debug)]
pub(super) struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Option<Embedding>,
    task_type_embeddings: Option<Embedding>,
    layer_norm: LayerNorm,
    /// Id of the padding token, if the position ids start after it.
    #[module(skip)]
    padding: Option<i64>,
}

impl Embeddings {
    pub(super) fn init(config: &EncoderConfig, device: &Device) -> Self {
        let table = |rows| init::embedding(rows, config.embedding_width(), device);
        let token_types = config.model_type.spec().token_types;
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: token_types.then(|| table(config.type_vocab_size)),
            task_type_embeddings: config.use_task_id.then(|| table(config.task_type_vocab_size)),
            layer_norm: init::layer_norm(config.embedding_width(), config.layer_norm_eps, device),
            padding: config.padding_position(),
        }
    }

    /// Adds up all embeddings of each token and normalises the sum.
    ///
    /// # Shapes
    /// - output: `[batch, seq, embedding]`
    pub(super) fn forward(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        let input_ids = inputs.tokens()?;
        let mut sum = self.word_embeddings.forward(input_ids.clone())
            + self.position_embeddings.forward(self.position_ids(input_ids));
        if let Some(table) = &self.token_type_embeddings {
            sum = sum + lookup(table, inputs.token_type_ids.as_ref());
        }
        if let Some(table) = &self.task_type_embeddings {
            sum = sum + lookup(table, inputs.task_type_ids.as_ref());
        }
        Ok(self.layer_norm.forward(sum))
    }

    pub(super) fn word_embeddings(&self) -> &Embedding {
        &self.word_embeddings
    }

    /// Checks that all ids are rows of their embedding tables and that the sequences fit the position embeddings.
    pub(super) fn check(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        let mut known = vec!["input_ids", "attention_mask"];
        known.extend(self.token_type_embeddings.as_ref().map(|_| "token_type_ids"));
        known.extend(self.task_type_embeddings.as_ref().map(|_| "task_type_ids"));
        inputs.check_only(&known)?;
        let n_rows = |table: &Embedding| table.weight.lazy_shape().dims::<2>()[0];
        let (vocab_size, n_positions) = (n_rows(&self.word_embeddings), n_rows(&self.position_embeddings));
        inputs.check_tokens(vocab_size, if self.padding.is_some() { usize::MAX } else { n_positions })?;
        if let Some(padding) = self.padding {
            let longest = padded_positions(inputs.tokens()?, padding).into_iter().max().unwrap_or_default() - padding;
            let usable = n_positions as i64 - padding - 1;
            if longest > usable {
                return Err(invalid(
                    "sequence length",
                    longest,
                    format!("the model has {usable} positions for tokens"),
                ));
            }
        }
        let tables = [
            ("token_type_ids", &self.token_type_embeddings, &inputs.token_type_ids),
            ("task_type_ids", &self.task_type_embeddings, &inputs.task_type_ids),
        ];
        tables.into_iter().try_for_each(|(name, table, ids)| {
            table.as_ref().map_or(Ok(()), |table| inputs.check_types(name, ids.as_ref(), n_rows(table)))
        })
    }

    /// Position ids of the tokens.
    ///
    /// # Shapes
    /// - input_ids: `[batch, seq]`
    /// - output: `[1 or batch, seq]`
    fn position_ids(&self, input_ids: &Tensor<2, Int>) -> Tensor<2, Int> {
        let ([batch, seq], device) = (input_ids.dims(), input_ids.device());
        match self.padding {
            None => Tensor::<1, Int>::arange(0..seq as i64, &device).unsqueeze(),
            Some(padding) => {
                Tensor::from_data(TensorData::new(padded_positions(input_ids, padding), [batch, seq]), &device)
            }
        }
    }
}

/// Embeddings of `ids`; without ids, the first row of the table for every token.
///
/// # Shapes
/// - ids: `[batch, seq]`
/// - output: `[batch, seq, embedding]`, or `[1, 1, embedding]` without ids
fn lookup(table: &Embedding, ids: Option<&Tensor<2, Int>>) -> Tensor<3> {
    match ids {
        Some(ids) => table.forward(ids.clone()),
        None => table.weight.val().slice_dim(0, 0..1).unsqueeze(),
    }
}

/// Position ids that start after the padding id, HF's `create_position_ids_from_input_ids`: a token that is not padding
/// has position `padding + n` if it is the n-th of its sequence, and padding has position `padding`.
fn padded_positions(input_ids: &Tensor<2, Int>, padding: i64) -> Vec<i64> {
    let [_, seq] = input_ids.dims();
    let ids = input_ids.to_data();
    let ids: Vec<i64> = ids.iter().collect();
    let positions_of_row = |row: &[i64]| -> Vec<i64> {
        let mut count = 0;
        let position = |id: &i64| match *id == padding {
            true => padding,
            false => {
                count += 1;
                padding + count
            }
        };
        row.iter().map(position).collect()
    };
    ids.chunks(seq.max(1)).flat_map(positions_of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_over_tokens_that_are_not_padding() {
        let ids = Tensor::from_ints([[1, 5, 1, 7], [4, 4, 1, 1]], &Device::default());
        assert_eq!(padded_positions(&ids, 1), [1, 2, 1, 3, 2, 3, 1, 1]);
    }
}
