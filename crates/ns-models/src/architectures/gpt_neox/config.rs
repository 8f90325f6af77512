//! Configuration of GPT-NeoX, HF's `GPTNeoXConfig`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_absent, check_layers, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "gpt_neox";
/// HF classes and their heads; the first is the default.
const HEADS: [(&str, Head); 4] = [
    ("GPTNeoXForCausalLM", Head::Lm),
    ("GPTNeoXModel", Head::None),
    ("GPTNeoXForSequenceClassification", Head::SequenceClassification),
    ("GPTNeoXForTokenClassification", Head::TokenClassification),
];

/// Configuration of a [`GptNeoX`](super::GptNeoX), with the fields and defaults of HF's `GPTNeoXConfig`.
///
/// The forward pass has no dropout; the dropout probabilities are kept for `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GptNeoXConfig {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Maximum sequence length.
    pub max_position_embeddings: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads per block.
    pub num_attention_heads: usize,
    /// Number of hidden units of each MLP.
    pub intermediate_size: usize,
    /// Activation function of the MLPs.
    pub hidden_act: Activation,
    /// Fraction of each head's dimensions that the rotary position embeddings rotate.
    pub rotary_pct: f64,
    /// Base of the rotary frequencies.
    pub rotary_emb_base: f64,
    /// Scaling of the rotary position embeddings. Not supported: anything but null is an error.
    pub rope_scaling: Option<Value>,
    /// Whether attention and MLP read the same input.
    pub use_parallel_residual: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Whether the LM head shares its weight with the token embedding.
    pub tie_word_embeddings: bool,
    /// Dropout probability of the attention probabilities.
    pub attention_dropout: f64,
    /// Dropout probability of the embeddings and of the sublayers' outputs.
    pub hidden_dropout: f64,
    /// Id of the padding token. Sequence classification reads the last token before the padding.
    pub pad_token_id: Option<i64>,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

impl Default for GptNeoXConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50432,
            max_position_embeddings: 2048,
            hidden_size: 6144,
            num_hidden_layers: 44,
            num_attention_heads: 64,
            intermediate_size: 24576,
            hidden_act: Activation::Gelu,
            rotary_pct: 0.25,
            rotary_emb_base: 10_000.0,
            rope_scaling: None,
            use_parallel_residual: true,
            attention_bias: true,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            tie_word_embeddings: false,
            attention_dropout: 0.0,
            hidden_dropout: 0.0,
            pad_token_id: None,
            common: CommonConfig::default(),
        }
    }
}

impl GptNeoXConfig {
    /// Returns the head of the first class in `architectures`, or [`Head::Lm`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Number of dimensions of each head that the rotary position embeddings rotate.
    pub fn rotary_size(&self) -> usize {
        ((self.hidden_size / self.num_attention_heads) as f64 * self.rotary_pct) as usize
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
            ("max_position_embeddings", self.max_position_embeddings),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_multiple(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        check_absent("rope_scaling", self.rope_scaling.is_some(), "scaled rotary positions are not supported")?;
        let (rotary, head_dim) = (self.rotary_size(), self.hidden_size / self.num_attention_heads);
        match rotary <= head_dim && rotary.is_multiple_of(2) {
            true => Ok(()),
            false => {
                let expected = format!(
                    "the number of rotated dimensions per head must be even and at most {head_dim}, but it is {rotary}"
                );
                Err(invalid_config("rotary_pct", self.rotary_pct, expected))
            }
        }
    }
}
