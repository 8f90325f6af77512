//! The differences between the BERT families, as data.

use serde::{Deserialize, Serialize};

use super::EncoderConfig;
use crate::activation::Activation;
use crate::block_layout::{Component, HeadSplit};
use crate::config::Head;

/// A family of models with BERT's architecture, identified by `model_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EncoderFamily {
    /// BERT ([Devlin et al. 2019](https://arxiv.org/abs/1810.04805)), HF's `BertModel`.
    #[default]
    Bert,
    /// RoBERTa ([Liu et al. 2019](https://arxiv.org/abs/1907.11692)), HF's `RobertaModel`.
    Roberta,
    /// ERNIE ([Sun et al. 2020](https://arxiv.org/abs/1907.12412)), HF's `ErnieModel`.
    Ernie,
    /// ELECTRA ([Clark et al. 2020](https://arxiv.org/abs/2003.10555)), HF's `ElectraModel`.
    Electra,
    /// MPNet ([Song et al. 2020](https://arxiv.org/abs/2004.09297)), HF's `MPNetModel`.
    MpNet,
    /// ConvBERT ([Jiang et al. 2020](https://arxiv.org/abs/2008.02496)), HF's `ConvBertModel`.
    ConvBert,
}

/// How the position ids of tokens are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PositionScheme {
    /// 0, 1, 2, …
    FromZero,
    /// Tokens that are not padding count up from `pad_token_id + 1`; padding has position `pad_token_id`.
    AfterPadding,
    /// Like [`Self::AfterPadding`], with a padding id of 1 regardless of the configuration.
    AfterOne,
}

/// How a sequence is classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SequenceHead {
    /// A linear layer on the pooler's output.
    Pooled,
    /// A dense layer with this activation and a linear layer, on the first token's hidden state. `None` means the
    /// activation of the configuration.
    Dense(Option<Activation>),
}

/// Names of layers within a block, each with how the layer divides into heads.
type AttentionLayers = Vec<(&'static str, HeadSplit)>;

/// What distinguishes a family from the others.
pub(super) struct FamilySpec {
    /// `model_type` of the configuration, and prefix of the base model's keys.
    pub(super) model_type: &'static str,
    /// HF classes and their heads; the first is the class without a head.
    pub(super) heads: &'static [(&'static str, Head)],
    /// Heads whose base model has a pooler.
    pub(super) pooled: &'static [Head],
    pub(super) positions: PositionScheme,
    /// Whether there are embeddings of token types (segments).
    pub(super) token_types: bool,
    pub(super) sequence_head: SequenceHead,
    /// Activation of the masked-language-model head; `None` means the activation of the configuration.
    pub(super) masked_lm_activation: Option<Activation>,
    /// Names in the base model that differ: Burn's and HF's.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// How each layer of attention (HF names in the block) divides into heads, for a number of heads.
    pub(super) attention_layers: fn(usize) -> AttentionLayers,
    /// Names in the masked-language-model head: Burn's and HF's.
    pub(super) masked_lm_names: &'static [(&'static str, &'static str)],
    /// Keys of the masked-language-model head that repeat the token embedding if the two are tied.
    pub(super) tied: &'static [&'static str],
    /// Second key of the masked-language-model head's bias in PyTorch's state dict, and the key that it repeats.
    pub(super) decoder_bias: Option<(&'static str, &'static str)>,
}

const BERT_NAMES: [(&str, &str); 3] = [("self_attention", "self"), ("span", "self"), ("layer_norm", "LayerNorm")];
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

fn bert_attention(n_heads: usize) -> AttentionLayers {
    let names = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output"];
    HeadSplit::separate(names, n_heads)
}

/// All heads of the convolution read all outputs of `key_conv_attn_layer`. The query counts as attention's, although
/// the convolution reads it too.
fn convbert_attention(n_heads: usize) -> AttentionLayers {
    let convolution = HeadSplit::Outputs(n_heads, &[Component::ConvolutionHead]);
    let both = HeadSplit::Inputs(n_heads, &[Component::Head, Component::ConvolutionHead]);
    let mut layers = vec![
        ("attention.self.key_conv_attn_layer", HeadSplit::Whole(Component::AllHeads)),
        ("attention.self.conv_kernel_layer", convolution),
        ("attention.self.conv_out_layer", convolution),
        ("attention.output", both),
    ];
    layers.extend(bert_attention(n_heads));
    layers
}

const BERT: FamilySpec = FamilySpec {
    model_type: "bert",
    heads: &[
        ("BertModel", Head::None),
        ("BertForMaskedLM", Head::MaskedLm),
        ("BertForSequenceClassification", Head::SequenceClassification),
        ("BertForTokenClassification", Head::TokenClassification),
    ],
    pooled: &[Head::None, Head::SequenceClassification],
    positions: PositionScheme::FromZero,
    token_types: true,
    sequence_head: SequenceHead::Pooled,
    masked_lm_activation: None,
    renamed: &BERT_NAMES,
    attention_layers: bert_attention,
    masked_lm_names: &CLS_NAMES,
    tied: &["cls.predictions.decoder.weight"],
    decoder_bias: Some(("cls.predictions.decoder.bias", "cls.predictions.bias")),
};

const ROBERTA: FamilySpec = FamilySpec {
    model_type: "roberta",
    heads: &[
        ("RobertaModel", Head::None),
        ("RobertaForMaskedLM", Head::MaskedLm),
        ("RobertaForSequenceClassification", Head::SequenceClassification),
        ("RobertaForTokenClassification", Head::TokenClassification),
    ],
    pooled: &[Head::None],
    positions: PositionScheme::AfterPadding,
    sequence_head: SequenceHead::Dense(Some(Activation::Tanh)),
    masked_lm_activation: Some(Activation::Gelu),
    masked_lm_names: &LM_HEAD_NAMES,
    tied: &["lm_head.decoder.weight"],
    decoder_bias: Some(("lm_head.decoder.bias", "lm_head.bias")),
    ..BERT
};

const ERNIE: FamilySpec = FamilySpec {
    model_type: "ernie",
    heads: &[
        ("ErnieModel", Head::None),
        ("ErnieForMaskedLM", Head::MaskedLm),
        ("ErnieForSequenceClassification", Head::SequenceClassification),
        ("ErnieForTokenClassification", Head::TokenClassification),
    ],
    ..BERT
};

const ELECTRA: FamilySpec = FamilySpec {
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

const MPNET: FamilySpec = FamilySpec {
    model_type: "mpnet",
    heads: &[
        ("MPNetModel", Head::None),
        ("MPNetForMaskedLM", Head::MaskedLm),
        ("MPNetForSequenceClassification", Head::SequenceClassification),
        ("MPNetForTokenClassification", Head::TokenClassification),
    ],
    positions: PositionScheme::AfterOne,
    token_types: false,
    renamed: &[
        ("attention.self_attention.query", "attention.attn.q"),
        ("attention.self_attention.key", "attention.attn.k"),
        ("attention.self_attention.value", "attention.attn.v"),
        ("attention.output.dense", "attention.attn.o"),
        ("attention.output.layer_norm", "attention.LayerNorm"),
        ("layer_norm", "LayerNorm"),
    ],
    attention_layers: |n_heads| {
        HeadSplit::separate(["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"], n_heads)
    },
    ..ROBERTA
};

const CONVBERT: FamilySpec = FamilySpec {
    model_type: "convbert",
    heads: &[
        ("ConvBertModel", Head::None),
        ("ConvBertForMaskedLM", Head::MaskedLm),
        ("ConvBertForSequenceClassification", Head::SequenceClassification),
        ("ConvBertForTokenClassification", Head::TokenClassification),
    ],
    sequence_head: SequenceHead::Dense(None),
    attention_layers: convbert_attention,
    ..ELECTRA
};

impl EncoderFamily {
    /// All families.
    pub const ALL: [Self; 6] = [Self::Bert, Self::Roberta, Self::Ernie, Self::Electra, Self::MpNet, Self::ConvBert];

    /// `model_type` of the family's configurations.
    pub fn model_type(self) -> &'static str {
        self.spec().model_type
    }

    pub(super) fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Bert => &BERT,
            Self::Roberta => &ROBERTA,
            Self::Ernie => &ERNIE,
            Self::Electra => &ELECTRA,
            Self::MpNet => &MPNET,
            Self::ConvBert => &CONVBERT,
        }
    }

    /// Returns the defaults of HF's configuration class of this family.
    pub fn default_config(self) -> EncoderConfig {
        let bert = EncoderConfig { model_type: self, ..EncoderConfig::default() };
        match self {
            Self::Bert | Self::Ernie => bert,
            Self::Roberta => EncoderConfig { vocab_size: 50265, pad_token_id: Some(1), ..bert },
            Self::Electra => EncoderConfig {
                embedding_size: Some(128),
                hidden_size: 256,
                num_attention_heads: 4,
                intermediate_size: 1024,
                ..bert
            },
            Self::MpNet => EncoderConfig { vocab_size: 30527, pad_token_id: Some(1), ..bert },
            Self::ConvBert => EncoderConfig { embedding_size: Some(768), pad_token_id: Some(1), ..bert },
        }
    }
}
