//! What goes into a model and what comes out.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ModelError;

/// A batch of token sequences.
#[derive(Clone, Debug)]
pub struct ModelInputs {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Tensor<2, Int>,
    /// 1 for real tokens and 0 for padding, `[batch, seq]`; `None` means that all are real.
    pub attention_mask: Option<Tensor<2, Int>>,
}

impl ModelInputs {
    /// Ids without padding.
    ///
    /// # Shapes
    /// - input_ids: `[batch, seq]`
    pub fn new(input_ids: Tensor<2, Int>) -> Self {
        Self { input_ids, attention_mask: None }
    }

    /// A small batch written out.
    pub fn from_ids<const SEQ: usize>(ids: &[[i64; SEQ]], device: &Device) -> Self {
        let data = TensorData::new(ids.concat(), [ids.len(), SEQ]);
        Self::new(Tensor::from_data(data, device))
    }

    /// Adds an attention mask.
    ///
    /// # Shapes
    /// - attention_mask: `[batch, seq]`
    pub fn with_attention_mask(mut self, attention_mask: Tensor<2, Int>) -> Self {
        self.attention_mask = Some(attention_mask);
        self
    }

    /// The same batch on a device without autodiff.
    pub fn without_autodiff(self) -> Self {
        let inner = |tensor: Tensor<2, Int>| {
            if tensor.device().is_autodiff() { tensor.inner() } else { tensor }
        };
        Self { input_ids: inner(self.input_ids), attention_mask: self.attention_mask.map(inner) }
    }

    /// `[batch, seq]`.
    pub fn dims(&self) -> [usize; 2] {
        self.input_ids.dims()
    }

    /// Checks sizes and ids, so that a bad batch is an error here and not a panic in a kernel.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] for an empty batch, a sequence beyond `n_positions`, an id outside
    /// `vocab_size`, or an attention mask of another shape.
    pub(crate) fn check(&self, vocab_size: usize, n_positions: usize) -> Result<(), ModelError> {
        let [batch, seq] = self.dims();
        let invalid = |what, found: String, expected: String| Err(ModelError::InvalidInput { what, found, expected });
        if batch == 0 || seq == 0 {
            return invalid("input_ids", format!("[{batch}, {seq}]"), "it needs at least one token".into());
        }
        if seq > n_positions {
            return invalid("sequence length", seq.to_string(), format!("the model has {n_positions} positions"));
        }
        if let Some(mask) = &self.attention_mask
            && mask.dims() != [batch, seq]
        {
            return invalid("attention_mask", format!("{:?}", mask.dims()), format!("input_ids are [{batch}, {seq}]"));
        }
        let ids = self.input_ids.to_data();
        match ids.iter::<i64>().find(|&id| id < 0 || id >= vocab_size as i64) {
            Some(id) => invalid("token id", id.to_string(), format!("the vocabulary has {vocab_size} tokens")),
            None => Ok(()),
        }
    }
}

/// What the head of a model gives.
#[derive(Clone, Debug)]
pub struct ModelOutput {
    /// Output of the base model, after the final LayerNorm where there is one, `[batch, seq, hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// Scores of the head, none for a base model.
    pub logits: Option<Logits>,
}

/// Scores of a head.
#[derive(Clone, Debug)]
pub enum Logits {
    /// Position by position, `[batch, seq, classes]`: a language model's.
    Tokens(Tensor<3>),
    /// Once a sequence, `[batch, classes]`.
    Sequences(Tensor<2>),
}

impl Logits {
    /// The scores on the host.
    pub fn into_data(self) -> TensorData {
        match self {
            Self::Tokens(logits) => logits.into_data(),
            Self::Sequences(logits) => logits.into_data(),
        }
    }
}
