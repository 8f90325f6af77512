//! Configuration of GPT-2, HF's `GPT2Config`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, InitialValue, check_absent, check_layers, check_multiple, check_sizes};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "gpt2";
/// HF classes and their heads; the first is the default.
const HEADS: [(&str, Head); 4] = [
    ("GPT2LMHeadModel", Head::Lm),
    ("GPT2Model", Head::None),
    ("GPT2ForSequenceClassification", Head::SequenceClassification),
    ("GPT2ForTokenClassification", Head::TokenClassification),
];

/// Configuration of a [`Gpt2`](super::Gpt2), with the fields and defaults of HF's `GPT2Config`.
///
/// The forward pass has no dropout; the dropout probabilities are kept for `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2Config {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Maximum sequence length.
    pub n_positions: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Number of attention heads per block.
    pub n_head: usize,
    /// Number of hidden units of each MLP; `None` means `4 · n_embd`.
    pub n_inner: Option<usize>,
    /// Activation function of the MLPs.
    pub activation_function: Activation,
    /// ε of the LayerNorms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Whether attention scores are divided by `√head_dim`.
    pub scale_attn_weights: bool,
    /// Whether attention scores are also divided by the number of the block, counted from 1.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether the blocks have cross-attention. Not supported: `true` is an error.
    pub add_cross_attention: bool,
    /// Whether the LM head shares its weight with the token embedding.
    pub tie_word_embeddings: bool,
    /// Dropout probability of the embeddings.
    pub embd_pdrop: f64,
    /// Dropout probability of the attention probabilities.
    pub attn_pdrop: f64,
    /// Dropout probability of the sublayers' outputs.
    pub resid_pdrop: f64,
    /// Id of the padding token. Sequence classification reads the last token before the padding.
    pub pad_token_id: Option<i64>,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: Activation::GeluNew,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
            tie_word_embeddings: true,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            pad_token_id: None,
            common: CommonConfig::default(),
        }
    }
}

impl Gpt2Config {
    /// Returns the head of the first class in `architectures`, or [`Head::Lm`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Number of hidden units of each MLP.
    pub fn inner_size(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// Checks that the configuration describes a model that this crate supports.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidConfig`] for impossible sizes and unsupported options, and
    /// [`ModelError::UnknownArchitecture`] for an unknown class.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_head", self.n_head),
            ("n_inner", self.inner_size()),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_layers("n_layer", self.n_layer)?;
        check_multiple(("n_embd", self.n_embd), ("n_head", self.n_head))?;
        check_absent("add_cross_attention", self.add_cross_attention, "cross-attention is not supported")
    }

    /// Distribution of the parameter at a Burn path in a newly initialised model, as in HF's `_init_weights`.
    ///
    /// Weights and embeddings are `Normal(0, initializer_range)`. The standard deviation of the projections onto the
    /// residual stream (`c_proj`) is divided by `√(2 · n_layer)`. Biases are 0, and LayerNorms start as the identity.
    pub fn initial_value(&self, path: &str) -> InitialValue {
        match path.ends_with("c_proj.weight") {
            true => InitialValue::Normal { std: self.initializer_range / (2.0 * self.n_layer as f64).sqrt() },
            false => InitialValue::usual(path, self.initializer_range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_not_known_here_are_written_back() {
        let config: Gpt2Config = serde_json::from_str(r#"{"n_embd": 8, "n_head": 2, "eos_token_id": 7}"#).unwrap();
        assert_eq!(config.n_layer, 12);
        assert_eq!(serde_json::to_value(&config).unwrap()["eos_token_id"], 7);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let uneven = Gpt2Config { n_embd: 10, n_head: 4, ..Default::default() };
        assert!(uneven.validate().unwrap_err().to_string().contains("multiple of n_head = 4"));
        let empty = Gpt2Config { n_layer: 0, ..Default::default() };
        assert!(empty.validate().unwrap_err().to_string().contains("n_layer is 0"));
        let other =
            Gpt2Config { common: CommonConfig::from_architecture("GPT2DoubleHeadsModel"), ..Default::default() };
        assert!(other.validate().unwrap_err().to_string().contains("GPT2ForSequenceClassification"));
    }
}
