//! HF's `GPTNeoConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "gpt_neo";
const HEADS: [(&str, Head); 4] = [
    ("GPTNeoForCausalLM", Head::Lm),
    ("GPTNeoModel", Head::None),
    ("GPTNeoForSequenceClassification", Head::SequenceClassification),
    ("GPTNeoForTokenClassification", Head::TokenClassification),
];

/// What a block's attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GptNeoAttention {
    /// The whole past.
    Global,
    /// The last `window_size` tokens.
    Local,
}

/// Configuration of a GPT-Neo, with the fields and defaults of HF's `GPTNeoConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GptNeoConfig {
    /// Number of token embeddings.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Attention heads a block.
    pub num_heads: usize,
    /// Width of the MLP; four times `hidden_size` if none is given.
    pub intermediate_size: Option<usize>,
    /// Kinds of attention, each list with how often it is repeated.
    pub attention_types: Vec<(Vec<GptNeoAttention>, usize)>,
    /// How many tokens local attention sees.
    pub window_size: usize,
    /// Non-linearity of the MLP.
    pub activation_function: Activation,
    /// ε of the LayerNorms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Whether the LM head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Dropout after the embeddings.
    pub embed_dropout: f64,
    /// Dropout on attention probabilities.
    pub attention_dropout: f64,
    /// Dropout on what blocks add.
    pub resid_dropout: f64,
    /// Token that ends the text of a padded sequence, for classification.
    pub pad_token_id: Option<i64>,
    /// The class, its labels, and everything else in the file.
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
    /// Head by the first of `architectures`; a language model if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Width of the MLP.
    pub fn inner_size(&self) -> usize {
        self.intermediate_size.unwrap_or(4 * self.hidden_size)
    }

    /// Kind of attention of each block.
    pub fn attention_layers(&self) -> Vec<GptNeoAttention> {
        self.attention_types.iter().flat_map(|(kinds, times)| kinds.repeat(*times)).collect()
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
                Err(invalid_config("attention_types", format!("for {kinds} blocks"), expected))
            }
        }
    }
}
