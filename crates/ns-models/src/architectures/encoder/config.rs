//! Configuration of the BERT families: HF's `BertConfig`, `RobertaConfig`, `ErnieConfig`, `ElectraConfig`,
//! `MPNetConfig` and `ConvBertConfig` in one struct.

use serde::{Deserialize, Serialize};

use super::{EncoderFamily, family::PositionScheme};
use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_absent, check_layers, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

/// Configuration of an [`Encoder`](super::Encoder), with the field names of HF's configuration classes.
///
/// [`Default`] returns the defaults of HF's `BertConfig`, [`EncoderFamily::default_config`] those of any family. The
/// forward pass has no dropout; the dropout probabilities are kept for `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderConfig {
    /// The model family.
    pub model_type: EncoderFamily,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// ELECTRA, ConvBERT: width of the embeddings. A linear layer projects them to `hidden_size` if the two differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
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
    /// Number of position embeddings.
    pub max_position_embeddings: usize,
    /// Number of token types (segments).
    pub type_vocab_size: usize,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Id of the padding token. RoBERTa numbers its positions from `pad_token_id + 1`.
    pub pad_token_id: Option<i64>,
    /// Dropout probability of the embeddings and of the sublayers' outputs.
    pub hidden_dropout_prob: f64,
    /// Dropout probability of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Whether the decoder of the masked language model shares its weight with the token embedding.
    pub tie_word_embeddings: bool,
    /// Kind of position embeddings. Only `absolute` is supported.
    pub position_embedding_type: String,
    /// Whether the model is a decoder. Not supported: `true` is an error.
    pub is_decoder: bool,
    /// Whether the blocks have cross-attention. Not supported: `true` is an error.
    pub add_cross_attention: bool,
    /// Whether a model without a head has a pooler, in families whose base class has one. `None` means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_pooling_layer: Option<bool>,
    /// ERNIE: number of task types.
    pub task_type_vocab_size: usize,
    /// ERNIE: whether the model has task embeddings.
    pub use_task_id: bool,
    /// MPNet: number of rows of the relative-position table. HF uses the first 32.
    pub relative_attention_num_buckets: usize,
    /// ConvBERT: ratio by which the number of attention heads is reduced in favour of the span convolution.
    pub head_ratio: usize,
    /// ConvBERT: kernel size of the span convolution, in tokens.
    pub conv_kernel_size: usize,
    /// ConvBERT: number of groups of the MLP's linear layers.
    pub num_groups: usize,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            model_type: EncoderFamily::Bert,
            vocab_size: 30522,
            embedding_size: None,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            pad_token_id: Some(0),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            tie_word_embeddings: true,
            position_embedding_type: "absolute".into(),
            is_decoder: false,
            add_cross_attention: false,
            add_pooling_layer: None,
            task_type_vocab_size: 3,
            use_task_id: false,
            relative_attention_num_buckets: 32,
            head_ratio: 2,
            conv_kernel_size: 9,
            num_groups: 1,
            common: CommonConfig::default(),
        }
    }
}

impl EncoderConfig {
    /// Returns the head of the first class in `architectures`, or [`Head::None`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        let family = self.model_type.spec();
        self.common.head(family.model_type, family.heads)
    }

    /// Width of the embeddings, before they are projected to `hidden_size`.
    pub fn embedding_width(&self) -> usize {
        match self.model_type {
            EncoderFamily::Electra | EncoderFamily::ConvBert => self.embedding_size.unwrap_or(self.hidden_size),
            _ => self.hidden_size,
        }
    }

    /// Number of attention heads per block. In ConvBERT the span convolution replaces some of the
    /// `num_attention_heads`.
    pub fn attending_heads(&self) -> usize {
        match self.model_type {
            EncoderFamily::ConvBert => (self.num_attention_heads / self.head_ratio.max(1)).max(1),
            _ => self.num_attention_heads,
        }
    }

    /// Id of the padding token, if the position ids start after it.
    pub(super) fn padding_position(&self) -> Option<i64> {
        match self.model_type.spec().positions {
            PositionScheme::FromZero => None,
            PositionScheme::AfterPadding => Some(self.pad_token_id.unwrap_or(1)),
            PositionScheme::AfterOne => Some(1),
        }
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
            ("embedding_size", self.embedding_width()),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("task_type_vocab_size", self.task_type_vocab_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_multiple(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        check_absent("is_decoder", self.is_decoder, "running an encoder as a decoder is not supported")?;
        check_absent("add_cross_attention", self.add_cross_attention, "cross-attention is not supported")?;
        if self.position_embedding_type != "absolute" {
            let expected = "only absolute positions are supported";
            return Err(invalid_config("position_embedding_type", &self.position_embedding_type, expected));
        }
        self.validate_padding()?;
        match self.model_type {
            EncoderFamily::MpNet => self.validate_mpnet(),
            EncoderFamily::ConvBert => self.validate_convbert(),
            _ => Ok(()),
        }
    }

    /// Checks that there are positions after the padding.
    fn validate_padding(&self) -> Result<(), ModelError> {
        let Some(padding) = self.padding_position() else { return Ok(()) };
        match usize::try_from(padding).is_ok_and(|padding| padding < self.max_position_embeddings) {
            true => Ok(()),
            false => {
                let positions = self.max_position_embeddings;
                let expected = format!("positions start after it, so it must be between 0 and {}", positions - 1);
                Err(invalid_config("pad_token_id", padding, expected))
            }
        }
    }

    fn validate_mpnet(&self) -> Result<(), ModelError> {
        check_sizes(&[("relative_attention_num_buckets", self.relative_attention_num_buckets)])?;
        match self.relative_attention_num_buckets >= super::relative_position::N_BUCKETS {
            true => Ok(()),
            false => {
                let expected = "HF always uses 32 buckets, so the table needs at least 32 rows";
                Err(invalid_config("relative_attention_num_buckets", self.relative_attention_num_buckets, expected))
            }
        }
    }

    fn validate_convbert(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("head_ratio", self.head_ratio),
            ("num_groups", self.num_groups),
            ("conv_kernel_size", self.conv_kernel_size),
        ])?;
        let heads_of_both_kinds = ("2 × (num_attention_heads / head_ratio)", 2 * self.attending_heads());
        check_multiple(("hidden_size", self.hidden_size), heads_of_both_kinds)?;
        check_multiple(("hidden_size", self.hidden_size), ("num_groups", self.num_groups))?;
        check_multiple(("intermediate_size", self.intermediate_size), ("num_groups", self.num_groups))?;
        match self.conv_kernel_size.is_multiple_of(2) {
            true => Err(invalid_config("conv_kernel_size", self.conv_kernel_size, "it must be odd")),
            false => Ok(()),
        }
    }
}
