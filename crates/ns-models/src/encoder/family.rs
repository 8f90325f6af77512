//! What the relatives of BERT do otherwise, as data.

use serde::{Deserialize, Serialize};

use super::EncoderConfig;
use crate::activation::Activation;
use crate::block_layout::{BY_INPUT, BY_OUTPUT, Component, HeadSplit, MLP};
use crate::config::Head;

/// A relative of BERT, by its `model_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderFamily {
    /// BERT (Devlin et al. 2019).
    #[default]
    Bert,
    /// RoBERTa (Liu et al. 2019).
    Roberta,
    /// ERNIE (Sun et al. 2020).
    Ernie,
    /// ELECTRA (Clark et al. 2020).
    Electra,
    /// MPNet (Song et al. 2020).
    MpNet,
    /// ConvBERT (Jiang et al. 2020).
    ConvBert,
}

/// Number of a token's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    /// 0, 1, 2, …
    FromZero,
    /// Counted over tokens that are not padding, from the one after the padding token's id; padding stays at that id.
    AfterPadding,
    /// The same with a padding id of 1, whatever the configuration says.
    AfterOne,
}

/// How one class a sequence is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SequenceHead {
    /// From the pooler's output.
    Pooled,
    /// From the first token through a layer with this activation; `None` is the configuration's.
    Dense(Option<Activation>),
}

/// A family's differences.
pub(super) struct Differences {
    /// `model_type`, and the prefix of the base model's keys.
    pub(super) model_type: &'static str,
    /// Classes; the first is the base model's.
    pub(super) heads: &'static [(&'static str, Head)],
    /// Classes whose base model has a pooler.
    pub(super) pooled: &'static [Head],
    pub(super) positions: Positions,
    pub(super) token_types: bool,
    pub(super) sequence_head: SequenceHead,
    /// Activation of the masked language model's head; `None` is the configuration's.
    pub(super) masked_lm_activation: Option<Activation>,
    /// Names within the base model: Burn's and HF's.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// What the layers of a block belong to, by HF's names.
    pub(super) parts: &'static [(&'static str, HeadSplit)],
    /// Names of the masked language model's head.
    pub(super) masked_lm_names: &'static [(&'static str, &'static str)],
    /// Keys of that head that the model computes otherwise if it is tied to the embedding.
    pub(super) tied: &'static [&'static str],
    /// The decoder's own name of that head's bias in PyTorch's state dict, and the bias.
    pub(super) decoder_bias: Option<(&'static str, &'static str)>,
}

const USUAL_NAMES: [(&str, &str); 3] = [("self_attention", "self"), ("span", "self"), ("layer_norm", "LayerNorm")];
const USUAL_PARTS: [(&str, HeadSplit); 6] = [
    ("attention.self.query", BY_OUTPUT),
    ("attention.self.key", BY_OUTPUT),
    ("attention.self.value", BY_OUTPUT),
    ("attention.output", BY_INPUT),
    ("intermediate", MLP),
    ("output", MLP),
];
const CLS_NAMES: [(&str, &str); 4] = [
    ("head.dense", "cls.predictions.transform.dense"),
    ("head.norm", "cls.predictions.transform.LayerNorm"),
    ("head.decoder", "cls.predictions.decoder"),
    ("head.bias", "cls.predictions.bias"),
];
const LM_HEAD_NAMES: [(&str, &str); 4] = [
    ("head.dense", "lm_head.dense"),
    ("head.norm", "lm_head.layer_norm"),
    ("head.decoder", "lm_head.decoder"),
    ("head.bias", "lm_head.bias"),
];
const GENERATOR_NAMES: [(&str, &str); 4] = [
    ("head.dense", "generator_predictions.dense"),
    ("head.norm", "generator_predictions.LayerNorm"),
    ("head.decoder", "generator_lm_head"),
    ("head.bias", "generator_lm_head.bias"),
];

const BERT: Differences = Differences {
    model_type: "bert",
    heads: &[
        ("BertModel", Head::None),
        ("BertForMaskedLM", Head::MaskedLm),
        ("BertForSequenceClassification", Head::SequenceClassification),
        ("BertForTokenClassification", Head::TokenClassification),
    ],
    pooled: &[Head::None, Head::SequenceClassification],
    positions: Positions::FromZero,
    token_types: true,
    sequence_head: SequenceHead::Pooled,
    masked_lm_activation: None,
    renamed: &USUAL_NAMES,
    parts: &USUAL_PARTS,
    masked_lm_names: &CLS_NAMES,
    tied: &["cls.predictions.decoder.weight"],
    decoder_bias: Some(("cls.predictions.decoder.bias", "cls.predictions.bias")),
};

const ROBERTA: Differences = Differences {
    model_type: "roberta",
    heads: &[
        ("RobertaModel", Head::None),
        ("RobertaForMaskedLM", Head::MaskedLm),
        ("RobertaForSequenceClassification", Head::SequenceClassification),
        ("RobertaForTokenClassification", Head::TokenClassification),
    ],
    pooled: &[Head::None],
    positions: Positions::AfterPadding,
    sequence_head: SequenceHead::Dense(Some(Activation::Tanh)),
    masked_lm_activation: Some(Activation::Gelu),
    masked_lm_names: &LM_HEAD_NAMES,
    tied: &["lm_head.decoder.weight"],
    decoder_bias: Some(("lm_head.decoder.bias", "lm_head.bias")),
    ..BERT
};

const ERNIE: Differences = Differences {
    model_type: "ernie",
    heads: &[
        ("ErnieModel", Head::None),
        ("ErnieForMaskedLM", Head::MaskedLm),
        ("ErnieForSequenceClassification", Head::SequenceClassification),
        ("ErnieForTokenClassification", Head::TokenClassification),
    ],
    ..BERT
};

const ELECTRA: Differences = Differences {
    model_type: "electra",
    heads: &[
        ("ElectraModel", Head::None),
        ("ElectraForPreTraining", Head::ReplacedTokenDetection),
        ("ElectraForMaskedLM", Head::MaskedLm),
        ("ElectraForSequenceClassification", Head::SequenceClassification),
        ("ElectraForTokenClassification", Head::TokenClassification),
    ],
    pooled: &[],
    sequence_head: SequenceHead::Dense(Some(Activation::Gelu)),
    masked_lm_activation: Some(Activation::Gelu),
    masked_lm_names: &GENERATOR_NAMES,
    tied: &["generator_lm_head.weight"],
    decoder_bias: None,
    ..BERT
};

const MPNET: Differences = Differences {
    model_type: "mpnet",
    heads: &[
        ("MPNetModel", Head::None),
        ("MPNetForMaskedLM", Head::MaskedLm),
        ("MPNetForSequenceClassification", Head::SequenceClassification),
        ("MPNetForTokenClassification", Head::TokenClassification),
    ],
    positions: Positions::AfterOne,
    token_types: false,
    renamed: &[
        ("attention.self_attention.query", "attention.attn.q"),
        ("attention.self_attention.key", "attention.attn.k"),
        ("attention.self_attention.value", "attention.attn.v"),
        ("attention.output.dense", "attention.attn.o"),
        ("attention.output.layer_norm", "attention.LayerNorm"),
        ("layer_norm", "LayerNorm"),
    ],
    parts: &[
        ("attention.attn.q", BY_OUTPUT),
        ("attention.attn.k", BY_OUTPUT),
        ("attention.attn.v", BY_OUTPUT),
        ("attention.attn.o", BY_INPUT),
        ("intermediate", MLP),
        ("output", MLP),
    ],
    ..ROBERTA
};

const CONVBERT: Differences = Differences {
    model_type: "convbert",
    heads: &[
        ("ConvBertModel", Head::None),
        ("ConvBertForMaskedLM", Head::MaskedLm),
        ("ConvBertForSequenceClassification", Head::SequenceClassification),
        ("ConvBertForTokenClassification", Head::TokenClassification),
    ],
    sequence_head: SequenceHead::Dense(None),
    // The convolution's own keys mix all its heads; the query is the attention's, though the convolution reads it, too.
    parts: &[
        ("attention.self.query", BY_OUTPUT),
        ("attention.self.key", BY_OUTPUT),
        ("attention.self.value", BY_OUTPUT),
        ("attention.self.key_conv_attn_layer", HeadSplit::Whole(Component::AllHeads)),
        ("attention.self.conv_kernel_layer", HeadSplit::Outputs(&[Component::ConvolutionHead])),
        ("attention.self.conv_out_layer", HeadSplit::Outputs(&[Component::ConvolutionHead])),
        ("attention.output", HeadSplit::Inputs(&[Component::Head, Component::ConvolutionHead])),
        ("intermediate", MLP),
        ("output", MLP),
    ],
    ..ELECTRA
};

impl EncoderFamily {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Bert, Self::Roberta, Self::Ernie, Self::Electra, Self::MpNet, Self::ConvBert];

    /// `model_type` of its configurations.
    pub fn model_type(self) -> &'static str {
        self.differences().model_type
    }

    pub(super) fn differences(self) -> &'static Differences {
        match self {
            Self::Bert => &BERT,
            Self::Roberta => &ROBERTA,
            Self::Ernie => &ERNIE,
            Self::Electra => &ELECTRA,
            Self::MpNet => &MPNET,
            Self::ConvBert => &CONVBERT,
        }
    }

    /// The defaults of HF's configuration of this family.
    pub fn default_config(self) -> EncoderConfig {
        let usual = EncoderConfig { model_type: self, ..EncoderConfig::default() };
        match self {
            Self::Bert | Self::Ernie => usual,
            Self::Roberta => EncoderConfig { vocab_size: 50265, pad_token_id: Some(1), ..usual },
            Self::Electra => EncoderConfig {
                embedding_size: Some(128),
                hidden_size: 256,
                num_attention_heads: 4,
                intermediate_size: 1024,
                ..usual
            },
            Self::MpNet => EncoderConfig { vocab_size: 30527, pad_token_id: Some(1), ..usual },
            Self::ConvBert => EncoderConfig { embedding_size: Some(768), pad_token_id: Some(1), ..usual },
        }
    }
}
