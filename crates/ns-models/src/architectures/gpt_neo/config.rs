//! Configuration of GPT-Neo, HF's `GPTNeoConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "gpt_neo";
/// HF classes and their heads; the first is the default.
const HEADS: [(&str, Head); 4] = [
    ("GPTNeoForCausalLM", Head::Lm),
    ("GPTNeoModel", Head::None),
    ("GPTNeoForSequenceClassification", Head::SequenceClassification),
    ("GPTNeoForTokenClassification", Head::TokenClassification),
];

/// Which tokens a block attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GptNeoAttention {
    /// The token itself and all previous tokens.
    Global,
    /// The last `window_size` tokens, including the token itself.
    Local,
}

/// Configuration of a [`GptNeo`](super::GptNeo), with the fields and defaults of HF's `GPTNeoConfig`.
///
/// The forward pass has no dropout; the dropout probabilities are kept for `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GptNeoConfig {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Maximum sequence length.
    pub max_position_embeddings: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Number of attention heads per block.
    pub num_heads: usize,
    /// Number of hidden units of each MLP; `None` means `4 · hidden_size`.
    pub intermediate_size: Option<usize>,
    /// Kinds of attention of consecutive blocks: lists of kinds, each with its number of repetitions.
    pub attention_types: Vec<(Vec<GptNeoAttention>, usize)>,
    /// Number of tokens that local attention covers, including the token itself.
    pub window_size: usize,
    /// Activation function of the MLPs.
    pub activation_function: Activation,
    /// ε of the LayerNorms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Whether the LM head shares its weight with the token embedding.
    pub tie_word_embeddings: bool,
    /// Dropout probability of the embeddings.
    pub embed_dropout: f64,
    /// Dropout probability of the attention probabilities.
    pub attention_dropout: f64,
    /// Dropout probability of the sublayers' outputs.
    pub resid_dropout: f64,
    /// Id of the padding token. Sequence classification reads the last token before the padding.
    pub pad_token_id: Option<i64>,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

impl Default for GptNeoConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            max_position_embeddings: 2048,
            hidden_size: 2048,
            num_layers: 24,
            num_heads: 16,
            intermediate_size: None,
            attention_types: vec![(vec![GptNeoAttention::Global, GptNeoAttention::Local], 12)],
            window_size: 256,
            activation_function: Activation::GeluNew,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            tie_word_embeddings: true,
            embed_dropout: 0.0,
            attention_dropout: 0.0,
            resid_dropout: 0.0,
            pad_token_id: None,
            common: CommonConfig::default(),
        }
    }
}

impl GptNeoConfig {
    /// Returns the head of the first class in `architectures`, or [`Head::Lm`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Number of hidden units of each MLP.
    pub fn inner_size(&self) -> usize {
        self.intermediate_size.unwrap_or(4 * self.hidden_size)
    }

    /// Kind of attention of each block: `attention_types` with its repetitions written out.
    pub fn attention_layers(&self) -> Vec<GptNeoAttention> {
        self.attention_types.iter().flat_map(|(kinds, times)| kinds.repeat(*times)).collect()
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
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("intermediate_size", self.inner_size()),
            ("window_size", self.window_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_multiple(("hidden_size", self.hidden_size), ("num_heads", self.num_heads))?;
        let kinds = self.attention_layers().len();
        match kinds == self.num_layers {
            true => Ok(()),
            false => {
                let expected = format!("num_layers is {}", self.num_layers);
                Err(invalid_config("attention_types", format!("a list for {kinds} blocks"), expected))
            }
        }
    }
}
