//! Inputs and outputs of models.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::error::ModelError;

/// A batch of model inputs. The fields are named like the keyword arguments of HF's `forward`.
///
/// Which inputs a model accepts depends on its family. An input that the model does not use is an error.
#[derive(Clone, Debug, Default)]
pub struct ModelInputs {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Option<Tensor<2, Int>>,
    /// 1 for real tokens and 0 for padding, `[batch, seq]`. `None` means that there is no padding.
    pub attention_mask: Option<Tensor<2, Int>>,
    /// Segment id of each token, `[batch, seq]`. `None` means 0 for all tokens.
    pub token_type_ids: Option<Tensor<2, Int>>,
    /// Task id of each token (ERNIE), `[batch, seq]`. `None` means 0 for all tokens.
    pub task_type_ids: Option<Tensor<2, Int>>,
    /// Images, `[batch, channels, height, width]`.
    pub pixel_values: Option<Tensor<4>>,
}

impl ModelInputs {
    /// Names of all inputs.
    pub const NAMES: [&str; 5] = ["input_ids", "attention_mask", "token_type_ids", "task_type_ids", "pixel_values"];

    /// Creates a batch of token ids without padding.
    ///
    /// # Shapes
    /// - input_ids: `[batch, seq]`
    pub fn new(input_ids: Tensor<2, Int>) -> Self {
        Self { input_ids: Some(input_ids), ..Self::default() }
    }

    /// Creates a batch from an array of token ids, one row per sequence.
    ///
    /// # Panics
    /// Panics if an id does not fit into the integers of the device, 32 bits by default.
    pub fn from_ids<const SEQ: usize>(ids: &[[i64; SEQ]], device: &Device) -> Self {
        let data = TensorData::new(ids.concat(), [ids.len(), SEQ]);
        Self::new(Tensor::from_data(data, device))
    }

    /// Creates a batch of images.
    ///
    /// # Shapes
    /// - pixel_values: `[batch, channels, height, width]`
    pub fn images(pixel_values: Tensor<4>) -> Self {
        Self { pixel_values: Some(pixel_values), ..Self::default() }
    }

    /// Creates a batch from named tensors, e.g. those of a safetensors file. Names that are not in
    /// [`NAMES`](Self::NAMES) are ignored.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if a tensor has the wrong number of dimensions or an id is not an integer of
    /// 32 bits.
    pub fn from_named(tensors: &BTreeMap<String, TensorData>, device: &Device) -> Result<Self, ModelError> {
        let matrix = |name| -> Result<Option<Tensor<2, Int>>, ModelError> {
            tensor_of_rank::<2>(tensors, name)?.map(|data| id_tensor(name, data, device)).transpose()
        };
        Ok(Self {
            input_ids: matrix("input_ids")?,
            attention_mask: matrix("attention_mask")?,
            token_type_ids: matrix("token_type_ids")?,
            task_type_ids: matrix("task_type_ids")?,
            pixel_values: tensor_of_rank::<4>(tensors, "pixel_values")?.map(|data| Tensor::from_data(data, device)),
        })
    }

    /// Adds an attention mask.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`
    pub fn with_attention_mask(self, attention_mask: Tensor<2, Int>) -> Self {
        Self { attention_mask: Some(attention_mask), ..self }
    }

    /// Adds segment ids.
    ///
    /// # Shapes
    /// - token_type_ids: `[batch, seq]`
    pub fn with_token_type_ids(self, token_type_ids: Tensor<2, Int>) -> Self {
        Self { token_type_ids: Some(token_type_ids), ..self }
    }

    /// Adds task ids (ERNIE).
    ///
    /// # Shapes
    /// - task_type_ids: `[batch, seq]`
    pub fn with_task_type_ids(self, task_type_ids: Tensor<2, Int>) -> Self {
        Self { task_type_ids: Some(task_type_ids), ..self }
    }

    /// Returns the batch with all tensors on a device without autodiff.
    pub fn without_autodiff(self) -> Self {
        let ids = |tensor: Tensor<2, Int>| if tensor.device().is_autodiff() { tensor.inner() } else { tensor };
        let images = |tensor: Tensor<4>| if tensor.device().is_autodiff() { tensor.inner() } else { tensor };
        Self {
            input_ids: self.input_ids.map(ids),
            attention_mask: self.attention_mask.map(ids),
            token_type_ids: self.token_type_ids.map(ids),
            task_type_ids: self.task_type_ids.map(ids),
            pixel_values: self.pixel_values.map(images),
        }
    }

    /// Selects sequences or images of the batch by index. Indices may repeat.
    ///
    /// # Panics
    /// Panics if an index is out of range.
    pub fn select(&self, sequences: &[usize]) -> Self {
        let rows = |device: &Device| -> Tensor<1, Int> {
            let rows: Vec<i64> = sequences.iter().map(|row| *row as i64).collect();
            Tensor::from_data(TensorData::new(rows, [sequences.len()]), device)
        };
        let ids = |ids: &Tensor<2, Int>| ids.clone().select(0, rows(&ids.device()));
        let images = |images: &Tensor<4>| images.clone().select(0, rows(&images.device()));
        Self {
            input_ids: self.input_ids.as_ref().map(ids),
            attention_mask: self.attention_mask.as_ref().map(ids),
            token_type_ids: self.token_type_ids.as_ref().map(ids),
            task_type_ids: self.task_type_ids.as_ref().map(ids),
            pixel_values: self.pixel_values.as_ref().map(images),
        }
    }

    /// Returns the number of sequences or images.
    pub fn batch_size(&self) -> usize {
        let rows = self.input_ids.as_ref().map(|ids| ids.dims()[0]);
        rows.or_else(|| self.pixel_values.as_ref().map(|images| images.dims()[0])).unwrap_or_default()
    }

    /// Returns the token ids, `[batch, seq]`.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if there are no token ids.
    pub fn tokens(&self) -> Result<&Tensor<2, Int>, ModelError> {
        self.input_ids.as_ref().ok_or_else(|| invalid("input_ids", "missing", "the model needs token ids"))
    }

    /// Returns the images, `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if there are no images.
    pub fn pixels(&self) -> Result<&Tensor<4>, ModelError> {
        self.pixel_values.as_ref().ok_or_else(|| invalid("pixel_values", "missing", "the model needs images"))
    }

    /// Checks that only inputs in `known` are given.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for the first other input.
    pub(crate) fn check_only(&self, known: &[&'static str]) -> Result<(), ModelError> {
        let given = [
            self.input_ids.is_some(),
            self.attention_mask.is_some(),
            self.token_type_ids.is_some(),
            self.task_type_ids.is_some(),
            self.pixel_values.is_some(),
        ];
        match Self::NAMES.into_iter().zip(given).find(|(name, given)| *given && !known.contains(name)) {
            Some((name, _)) => Err(invalid(name, "given", format!("the model only uses {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// Checks the token ids and the attention mask, so that an invalid batch returns an error instead of panicking in a
    /// kernel.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for an empty batch, sequences longer than `n_positions`, an id outside
    /// `0..vocab_size`, or an attention mask whose shape differs from that of the ids.
    pub(crate) fn check_tokens(&self, vocab_size: usize, n_positions: usize) -> Result<(), ModelError> {
        let input_ids = self.tokens()?;
        let [batch, seq] = input_ids.dims();
        if batch == 0 || seq == 0 {
            return Err(invalid("input_ids", format!("[{batch}, {seq}]"), "it must contain at least one token"));
        }
        if seq > n_positions {
            return Err(invalid("sequence length", seq, format!("the model has {n_positions} positions")));
        }
        self.check_same_shape("attention_mask", self.attention_mask.as_ref())?;
        check_ids("token id", input_ids, vocab_size, "the vocabulary has")
    }

    /// Checks segment or task ids, which select one of `rows` embeddings per token.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if their shape differs from that of the token ids, or if an id is outside
    /// `0..rows`.
    pub(crate) fn check_types(
        &self,
        what: &'static str,
        types: Option<&Tensor<2, Int>>,
        rows: usize,
    ) -> Result<(), ModelError> {
        self.check_same_shape(what, types)?;
        types.map_or(Ok(()), |types| check_ids(what, types, rows, "the embedding table has"))
    }

    fn check_same_shape(&self, what: &'static str, tensor: Option<&Tensor<2, Int>>) -> Result<(), ModelError> {
        let expected = self.tokens()?.dims();
        match tensor.map(Tensor::dims).filter(|found| *found != expected) {
            Some(found) => Err(invalid(what, format!("{found:?}"), format!("input_ids is {expected:?}"))),
            None => Ok(()),
        }
    }

    /// Checks the number of channels of the images and, if the model has a fixed image size, their height and width.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for an empty batch or a wrong size.
    pub(crate) fn check_pixels(&self, channels: usize, size: Option<[usize; 2]>) -> Result<(), ModelError> {
        let [batch, found_channels, height, width] = self.pixels()?.dims();
        if batch == 0 || height == 0 || width == 0 {
            let found = format!("[{batch}, {found_channels}, {height}, {width}]");
            return Err(invalid("pixel_values", found, "it must contain at least one image"));
        }
        if found_channels != channels {
            return Err(invalid("number of channels", found_channels, format!("the model expects {channels}")));
        }
        match size.filter(|size| *size != [height, width]) {
            Some([rows, columns]) => {
                let expected = format!("the model expects {rows} × {columns}");
                Err(invalid("image size", format!("{height} × {width}"), expected))
            }
            None => Ok(()),
        }
    }
}

/// Converts ids from a file or a tokenizer to a tensor. A larger id than the integers of a device would panic there.
///
/// # Errors
/// Returns [`ModelError::InvalidInput`] if an id is not an integer of 32 bits.
pub(crate) fn id_tensor(what: &'static str, ids: TensorData, device: &Device) -> Result<Tensor<2, Int>, ModelError> {
    let is_id = |id: &f64| id.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(id);
    // f64 holds every integer of 32 bits exactly, and any larger one approximately.
    let other = ids.iter::<f64>().find(|id| !is_id(id));
    match other {
        Some(id) => {
            let found = if id.fract() == 0.0 { format!("{id:.0}") } else { id.to_string() };
            Err(invalid(what, found, format!("no vocabulary has more than {} entries", 1_u32 << 31)))
        }
        None => Ok(Tensor::from_data(ids, device)),
    }
}

fn tensor_of_rank<const D: usize>(
    tensors: &BTreeMap<String, TensorData>,
    name: &'static str,
) -> Result<Option<TensorData>, ModelError> {
    match tensors.get(name) {
        Some(data) if data.shape().num_dims() != D => {
            Err(invalid(name, format!("{:?}", data.shape().to_vec()), format!("it must have {D} dimensions")))
        }
        data => Ok(data.cloned()),
    }
}

fn check_ids(what: &'static str, ids: &Tensor<2, Int>, rows: usize, has: &str) -> Result<(), ModelError> {
    let ids = ids.to_data();
    match ids.iter::<i64>().find(|&id| id < 0 || id >= rows as i64) {
        Some(id) => Err(invalid(what, id, format!("{has} {rows} entries, counted from 0"))),
        None => Ok(()),
    }
}

/// Creates a [`ModelError::InvalidInput`].
pub(crate) fn invalid(what: &'static str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::InvalidInput { what, found: found.to_string(), expected: expected.into() }
}

/// The output of a transformer.
#[derive(Clone, Debug)]
pub struct ModelOutput {
    /// Output of the base model, after the final LayerNorm if there is one, `[batch, seq, hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// Output of the pooler, if the base model has one, `[batch, hidden]`.
    pub pooler_output: Option<Tensor<2>>,
    /// Logits of the head, `None` for a base model.
    pub logits: Option<Logits>,
}

/// The logits of a head.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Logits {
    /// Logits of each position, `[batch, seq, classes]`: language models and token classification.
    Tokens(Tensor<3>),
    /// Logits of each sequence or image, `[batch, classes]`.
    Sequences(Tensor<2>),
    /// One logit per position, `[batch, seq]`: ELECTRA's discriminator. A positive logit predicts a replaced token.
    Replaced(Tensor<2>),
}

impl Logits {
    /// Copies the logits to the host.
    pub fn into_data(self) -> TensorData {
        match self {
            Self::Tokens(logits) => logits.into_data(),
            Self::Sequences(logits) | Self::Replaced(logits) => logits.into_data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_integers_of_32_bits_are_refused() {
        let inputs = |ids: TensorData| {
            ModelInputs::from_named(&BTreeMap::from([("input_ids".to_string(), ids)]), &Device::default())
        };
        for (ids, found) in [
            (TensorData::from([[1_i64, 1 << 31]]), "input_ids is 2147483648,"),
            (TensorData::from([[i64::MIN, 1]]), "input_ids is -9223372036854775808,"),
            (TensorData::from([[1_u64, u64::MAX]]), "input_ids is 18446744073709551616,"),
            (TensorData::from([[1_u32, u32::MAX]]), "input_ids is 4294967295,"),
            (TensorData::from([[1_f32, 0.5]]), "input_ids is 0.5,"),
            (TensorData::from([[f32::NAN, 1.0]]), "input_ids is NaN,"),
        ] {
            let error = inputs(ids).unwrap_err().to_string();
            assert!(error.contains(found) && error.contains("more than 2147483648 entries"), "{error}");
        }
        let error = inputs(TensorData::from([[1_i64, i64::from(i32::MAX)]])).unwrap().check_tokens(8, 4).unwrap_err();
        assert!(error.to_string().contains("token id is 2147483647, but the vocabulary has 8 entries"), "{error}");
    }
}
