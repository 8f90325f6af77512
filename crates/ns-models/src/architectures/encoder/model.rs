//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Tensor, activation::tanh};
use serde::Deserialize;
use serde_json::Value;

use super::{
    EncoderConfig, EncoderFamily, embeddings::Embeddings, head::EncoderHead, layer::EncoderLayer,
    relative_position::relative_scores,
};
use crate::attention::AttentionBias;
use crate::block::Block;
use crate::block_layout::{BlockLayout, MlpNames};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::{Head, InitialValue};
use crate::context::Context;
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::linear;
use crate::linear_hook::Hook;
use crate::model::{Architecture, Model};
use crate::transformer::{ResidualStream, Transformer};

/// Endings of checkpoint keys that no class reads: buffers of older checkpoints, the next-sentence head of BERT's
/// pretraining, and the second key of the masked-language-model head's bias.
const IGNORED_ENDINGS: [&str; 6] = [
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
    "cls.predictions.decoder.bias",
    "lm_head.decoder.bias",
];
/// Keys of a pooler, ignored by classes without one.
const POOLER_ENDINGS: [&str; 2] = [".pooler.dense.weight", ".pooler.dense.bias"];

/// A model of a BERT family with the head that its configuration names.
///
/// [`EncoderFamily`] lists the families; the HF classes are `BertModel`, `BertForMaskedLM`,
/// `BertForSequenceClassification`, `BertForTokenClassification`, their counterparts in the other families, and
/// `ElectraForPreTraining`.
#[derive(Module, Debug)]
pub struct Encoder {
    base: EncoderBase,
    head: Option<EncoderHead>,
    #[module(skip)]
    head_kind: Head,
    #[module(skip)]
    config: EncoderConfig,
}

#[derive(Module, Debug)]
struct EncoderBase {
    embeddings: Embeddings,
    /// Projects the embeddings to the width of the residual stream if the two differ (ELECTRA, ConvBERT).
    embeddings_project: Option<Linear>,
    encoder: EncoderStack,
    pooler: Option<Pooler>,
}

#[derive(Module, Debug)]
struct EncoderStack {
    layer: Vec<EncoderLayer>,
    /// MPNet's relative-position table, `[buckets, heads]`.
    relative_attention_bias: Option<Embedding>,
}

/// `tanh(dense(first token))`, HF's `BertPooler`.
#[derive(Module, Debug)]
struct Pooler {
    dense: Linear,
}

impl EncoderBase {
    fn init(config: &EncoderConfig, has_pooler: bool, device: &Device) -> Self {
        let (width, hidden) = (config.embedding_width(), config.hidden_size);
        let relative = config.model_type == EncoderFamily::MpNet;
        let relative_table =
            || init::embedding(config.relative_attention_num_buckets, config.num_attention_heads, device);
        Self {
            embeddings: Embeddings::init(config, device),
            embeddings_project: (width != hidden).then(|| init::linear(width, hidden, device)),
            encoder: EncoderStack {
                layer: (0..config.num_hidden_layers).map(|_| EncoderLayer::init(config, device)).collect(),
                relative_attention_bias: relative.then(relative_table),
            },
            pooler: has_pooler.then(|| Pooler { dense: init::linear(hidden, hidden, device) }),
        }
    }
}

impl Pretrained for Encoder {
    type Config = EncoderConfig;

    const MODEL_TYPES: &[&str] = &["bert", "roberta", "ernie", "electra", "mpnet", "convbert"];

    fn init(config: &EncoderConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let head_kind = config.head()?;
        let pooled = config.model_type.spec().pooled.contains(&head_kind);
        let has_pooler = pooled && !(head_kind == Head::None && config.add_pooling_layer == Some(false));
        Ok(Self {
            base: EncoderBase::init(config, has_pooler, device),
            head: EncoderHead::init(config, device)?,
            head_kind,
            config: config.clone(),
        })
    }

    /// Reads the configuration; missing fields take the defaults of the family.
    fn read_config(config: &Value) -> serde_json::Result<EncoderConfig> {
        let family = EncoderFamily::deserialize(&config["model_type"])?;
        let mut merged = serde_json::to_value(family.default_config())?;
        if let (Some(merged), Some(given)) = (merged.as_object_mut(), config.as_object()) {
            merged.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        EncoderConfig::deserialize(merged)
    }

    fn base_class(config: &Value) -> &'static str {
        let family = EncoderFamily::deserialize(&config["model_type"]).unwrap_or_default();
        family.spec().heads[0].0
    }

    fn config(&self) -> &EncoderConfig {
        &self.config
    }
}

impl Encoder {
    /// The keys of a masked-language-model head that repeat another tensor.
    fn repeated_keys(&self) -> Vec<(String, String)> {
        let family = self.config.model_type.spec();
        if self.head_kind != Head::MaskedLm {
            return Vec::new();
        }
        let embedding = format!("{}.embeddings.word_embeddings.weight", family.model_type);
        let tied = if self.config.tie_word_embeddings { family.tied } else { &[] };
        let weights = tied.iter().map(|key| (key.to_string(), embedding.clone()));
        weights.chain(family.decoder_bias.map(|(key, original)| (key.into(), original.into()))).collect()
    }
}

impl Model for Encoder {
    fn architecture(&self) -> Architecture {
        let config = &self.config;
        let family = config.model_type.spec();
        Architecture {
            model_type: family.model_type,
            head: self.head_kind,
            problem_type: config.common.problem_type,
            dropout: config.hidden_dropout_prob.max(config.attention_probs_dropout_prob),
            blocks: BlockLayout {
                lists: &["layer"],
                layers: (family.attention_layers)(config.attending_heads()),
                mlp: Some(MlpNames::new(
                    &["intermediate.dense"],
                    "output.dense",
                    "intermediate_size",
                    config.hidden_act,
                )),
            },
        }
    }

    fn hf_names(&self) -> HfNames {
        let family = self.config.model_type.spec();
        let mut renamed = family.renamed.to_vec();
        renamed.extend(match &self.head {
            Some(EncoderHead::MaskedLm(_)) => family.masked_lm_names,
            Some(EncoderHead::Linear(_) | EncoderHead::Dense(_)) => &[("head", "classifier")],
            Some(EncoderHead::Discriminator(_)) => &[("head", "discriminator_predictions")],
            None => &[][..],
        });
        let mut ignored_endings = IGNORED_ENDINGS.to_vec();
        if self.base.pooler.is_none() {
            ignored_endings.extend(POOLER_ENDINGS);
        }
        HfNames {
            base: ("base", family.model_type),
            has_head: self.head.is_some(),
            renamed,
            ignored_endings,
            ignored_keys: if self.config.tie_word_embeddings { family.tied.to_vec() } else { Vec::new() },
            repeated_keys: self.repeated_keys(),
        }
    }

    fn device(&self) -> Device {
        self.base.embeddings.word_embeddings().weight.lazy_device()
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        self.base.embeddings.check(inputs)
    }

    fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward_with(inputs, hook)?.logits)
    }
}

impl Transformer for Encoder {
    fn residual_stream(&self) -> ResidualStream {
        ResidualStream::new("bert", self.config.num_hidden_layers, self.config.hidden_size)
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        let dims @ [_, seq] = inputs.tokens()?.dims();
        let padding = AttentionBias::padding(inputs.attention_mask.as_ref());
        let bias = match &self.base.encoder.relative_attention_bias {
            Some(table) => padding.and_scores(relative_scores(table, seq)),
            None => padding,
        };
        Ok(Context::new(dims, bias))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        let embedded = self.base.embeddings.forward(inputs)?;
        Ok(match &self.base.embeddings_project {
            Some(project) => linear::plain(project, embedded),
            None => embedded,
        })
    }

    fn block(&self, layer: usize) -> &dyn Block {
        &self.base.encoder.layer[layer]
    }

    fn token_logits(&self, last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        match &self.head {
            Some(EncoderHead::MaskedLm(head)) => {
                Some(head.forward(last_hidden_state, &self.base.embeddings.word_embeddings().weight))
            }
            Some(EncoderHead::Linear(classifier)) if self.head_kind == Head::TokenClassification => {
                Some(linear::plain(classifier, last_hidden_state))
            }
            _ => None,
        }
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, _inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        let [batch, _, hidden] = last_hidden_state.dims();
        let first = last_hidden_state.clone().slice_dim(1, 0..1).reshape([batch, hidden]);
        let pooler_output = self.base.pooler.as_ref().map(|pooler| tanh(pooler.dense.forward(first.clone())));
        let logits = match (&self.head, &pooler_output) {
            (Some(EncoderHead::Linear(classifier)), Some(pooled)) => {
                Some(Logits::Sequences(classifier.forward(pooled.clone())))
            }
            (Some(EncoderHead::Dense(head)), _) => Some(Logits::Sequences(head.forward(first))),
            (Some(EncoderHead::Discriminator(head)), _) => {
                Some(Logits::Replaced(head.forward(last_hidden_state.clone())))
            }
            _ => self.token_logits(last_hidden_state.clone()).map(Logits::Tokens),
        };
        Ok(ModelOutput { last_hidden_state, pooler_output, logits })
    }
}
