//! HF's `BertConfig`, `RobertaConfig`, `ErnieConfig`, `ElectraConfig`, `MPNetConfig` and `ConvBertConfig` in one.

use serde::{Deserialize, Serialize};

use super::{EncoderFamily, family::Positions};
use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_absent, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

/// Configuration of BERT or a relative, with the fields of HF; defaults are BERT's, those of another family come from
/// [`EncoderFamily::default_config`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderConfig {
    /// Which relative of BERT.
    pub model_type: EncoderFamily,
    /// Number of token embeddings.
    pub vocab_size: usize,
    /// Width of the embeddings (ELECTRA, ConvBERT), projected to `hidden_size` where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
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
    /// Number of position embeddings.
    pub max_position_embeddings: usize,
    /// Number of segments.
    pub type_vocab_size: usize,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// The padding token, after which RoBERTa's positions count.
    pub pad_token_id: Option<i64>,
    /// Dropout on embeddings and on what blocks add.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Whether the masked language model's decoder is the token embedding.
    pub tie_word_embeddings: bool,
    /// Only `absolute` is built.
    pub position_embedding_type: String,
    /// Decoders of this family are not built: `true` is an error.
    pub is_decoder: bool,
    /// Cross-attention is not built: `true` is an error.
    pub add_cross_attention: bool,
    /// Whether the base model has a pooler, where its class has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_pooling_layer: Option<bool>,
    /// ERNIE: number of tasks.
    pub task_type_vocab_size: usize,
    /// ERNIE: whether tasks are embedded.
    pub use_task_id: bool,
    /// MPNet: rows of the table of relative positions; HF uses the first 32.
    pub relative_attention_num_buckets: usize,
    /// ConvBERT: by how much convolution replaces attention heads.
    pub head_ratio: usize,
    /// ConvBERT: width of the convolution.
    pub conv_kernel_size: usize,
    /// ConvBERT: groups of the MLP's layers.
    pub num_groups: usize,
    /// The class, its labels, and everything else in the file.
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
    /// Head by the first of `architectures`; the base model if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn head(&self) -> Result<Head, ModelError> {
        let family = self.model_type.differences();
        self.common.head(family.model_type, family.heads)
    }

    /// Width of the embeddings before any projection.
    pub fn embedding_width(&self) -> usize {
        match self.model_type {
            EncoderFamily::Electra | EncoderFamily::ConvBert => self.embedding_size.unwrap_or(self.hidden_size),
            _ => self.hidden_size,
        }
    }

    /// Heads that attend: ConvBERT gives some up for its convolution.
    pub fn attending_heads(&self) -> usize {
        match self.model_type {
            EncoderFamily::ConvBert => (self.num_attention_heads / self.head_ratio.max(1)).max(1),
            _ => self.num_attention_heads,
        }
    }

    /// The token id that positions count after, if they do.
    pub(super) fn padding_position(&self) -> Option<i64> {
        match self.model_type.differences().positions {
            Positions::FromZero => None,
            Positions::AfterPadding => Some(self.pad_token_id.unwrap_or(1)),
            Positions::AfterOne => Some(1),
        }
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_width()),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("task_type_vocab_size", self.task_type_vocab_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        check_multiple(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        check_absent("is_decoder", self.is_decoder, "encoders are not run as decoders here")?;
        check_absent("add_cross_attention", self.add_cross_attention, "cross-attention is not supported")?;
        if self.position_embedding_type != "absolute" {
            let expected = "only absolute positions are supported";
            return Err(invalid_config("position_embedding_type", &self.position_embedding_type, expected));
        }
        match self.model_type {
            EncoderFamily::MpNet => self.validate_mpnet(),
            EncoderFamily::ConvBert => self.validate_convbert(),
            _ => Ok(()),
        }
    }

    fn validate_mpnet(&self) -> Result<(), ModelError> {
        match self.relative_attention_num_buckets >= super::relative_position::N_BUCKETS {
            true => Ok(()),
            false => {
                let expected = "HF uses 32 buckets whatever the configuration says, so the table needs as many";
                Err(invalid_config("relative_attention_num_buckets", self.relative_attention_num_buckets, expected))
            }
        }
    }

    fn validate_convbert(&self) -> Result<(), ModelError> {
        check_sizes(&[("head_ratio", self.head_ratio), ("num_groups", self.num_groups)])?;
        check_multiple(("hidden_size", self.hidden_size), ("twice the attending heads", 2 * self.attending_heads()))?;
        check_multiple(("hidden_size", self.hidden_size), ("num_groups", self.num_groups))?;
        check_multiple(("intermediate_size", self.intermediate_size), ("num_groups", self.num_groups))?;
        match self.conv_kernel_size.is_multiple_of(2) {
            true => Err(invalid_config("conv_kernel_size", self.conv_kernel_size, "it must be odd, to have a middle")),
            false => Ok(()),
        }
    }
}
