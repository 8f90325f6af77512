//! HF's `GPTNeoXConfig`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_absent, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "gpt_neox";
const HEADS: [(&str, Head); 4] = [
    ("GPTNeoXForCausalLM", Head::Lm),
    ("GPTNeoXModel", Head::None),
    ("GPTNeoXForSequenceClassification", Head::SequenceClassification),
    ("GPTNeoXForTokenClassification", Head::TokenClassification),
];

/// Configuration of a GPT-NeoX, with the fields and defaults of HF's `GPTNeoXConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GptNeoXConfig {
    /// Number of token embeddings.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads a block.
    pub num_attention_heads: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Non-linearity of the MLP.
    pub hidden_act: Activation,
    /// Part of each head that is turned by position.
    pub rotary_pct: f64,
    /// Base of the rotation's frequencies.
    pub rotary_emb_base: f64,
    /// Stretched rotations are not built: anything but null is an error.
    pub rope_scaling: Option<Value>,
    /// Whether attention and MLP read the same input.
    pub use_parallel_residual: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Whether the LM head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Dropout on attention probabilities.
    pub attention_dropout: f64,
    /// Dropout on embeddings and on what blocks add.
    pub hidden_dropout: f64,
    /// Token that ends the text of a padded sequence, for classification.
    pub pad_token_id: Option<i64>,
    /// The class, its labels, and everything else in the file.
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
    /// Head by the first of `architectures`; a language model if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Entries of each head that are turned by position.
    pub fn rotary_size(&self) -> usize {
        ((self.hidden_size / self.num_attention_heads) as f64 * self.rotary_pct) as usize
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_multiple(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        check_absent("rope_scaling", self.rope_scaling.is_some(), "stretched rotary positions are not supported")?;
        let (rotary, head_dim) = (self.rotary_size(), self.hidden_size / self.num_attention_heads);
        match rotary <= head_dim && rotary.is_multiple_of(2) {
            true => Ok(()),
            false => {
                let expected =
                    format!("of the {head_dim} entries of a head an even number must be turned, not {rotary}");
                Err(invalid_config("rotary_pct", self.rotary_pct, expected))
            }
        }
    }
}
