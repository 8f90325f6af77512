//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{VitConfig, block::VitBlock, config::MODEL_TYPE, embeddings::VitEmbeddings};
use crate::attention::AttentionBias;
use crate::block::Block;
use crate::block_layout::{BlockLayout, HeadSplit, MlpNames};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::{Head, InitialValue};
use crate::context::Context;
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::linear_hook::Hook;
use crate::model::{Architecture, Model};
use crate::transformer::{ResidualStream, Transformer};

/// Names that differ, Burn's and HF's: HF nests these layers more deeply.
const RENAMED: [(&str, &str); 7] = [
    ("embeddings.projection", "embeddings.patch_embeddings.projection"),
    ("layers", "encoder.layer"),
    ("attention", "attention.attention"),
    ("attention_output", "attention.output.dense"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("pooler", "pooler.dense"),
];
/// Query, key, value and output projection of a block.
const PROJECTIONS: [&str; 4] =
    ["attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output"];
/// Key of the mask token of masked image modelling, which no class here uses.
const MASK_TOKEN: &str = "embeddings.mask_token";
/// Keys of a pooler, ignored by classes without one.
const POOLER: [&str; 2] = ["pooler.dense.weight", "pooler.dense.bias"];

/// Vision Transformer ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929)) with the head that its
/// configuration names.
///
/// The HF classes are `ViTModel` and `ViTForImageClassification`.
#[derive(Module, Debug)]
pub struct Vit {
    vit: VitBase,
    classifier: Option<Linear>,
    #[module(skip)]
    kind: Head,
    #[module(skip)]
    config: VitConfig,
}

#[derive(Module, Debug)]
struct VitBase {
    embeddings: VitEmbeddings,
    layers: Vec<VitBlock>,
    layernorm: LayerNorm,
    pooler: Option<Linear>,
}

impl Pretrained for Vit {
    type Config = VitConfig;

    const MODEL_TYPES: &[&str] = &[MODEL_TYPE];

    fn init(config: &VitConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let (kind, hidden_size) = (config.head()?, config.hidden_size);
        let has_classifier = kind == Head::ImageClassification;
        let has_pooler = !has_classifier && config.add_pooling_layer;
        Ok(Self {
            vit: VitBase {
                embeddings: VitEmbeddings::init(config, device),
                layers: (0..config.num_hidden_layers).map(|_| VitBlock::init(config, device)).collect(),
                layernorm: init::layer_norm(hidden_size, config.layer_norm_eps, device),
                pooler: has_pooler.then(|| init::linear(hidden_size, hidden_size, device)),
            },
            classifier: has_classifier.then(|| init::linear(hidden_size, config.common.n_labels(), device)),
            kind,
            config: config.clone(),
        })
    }

    fn config(&self) -> &VitConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "ViTModel"
    }
}

impl Model for Vit {
    fn architecture(&self) -> Architecture {
        let config = &self.config;
        Architecture {
            model_type: MODEL_TYPE,
            head: self.kind,
            problem_type: config.common.problem_type,
            dropout: config.hidden_dropout_prob.max(config.attention_probs_dropout_prob),
            blocks: BlockLayout {
                lists: &["layer"],
                layers: HeadSplit::separate(PROJECTIONS, config.num_attention_heads),
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
        let pooler = if self.vit.pooler.is_none() { &POOLER[..] } else { &[] };
        HfNames {
            base: ("vit", "vit"),
            has_head: self.kind != Head::None,
            renamed: RENAMED.into(),
            ignored_endings: [&[MASK_TOKEN], pooler].concat(),
            ..HfNames::default()
        }
    }

    fn device(&self) -> Device {
        self.vit.embeddings.cls_token.lazy_device()
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        // HF truncates the normal distribution at ±2: 100 standard deviations at the default `initializer_range`.
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["pixel_values"])?;
        inputs.check_pixels(self.config.num_channels, Some(self.config.image_size.height_and_width()))
    }

    fn logits_with(&self, inputs: &ModelInputs, hook: Hook) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward_with(inputs, hook)?.logits)
    }
}

impl Transformer for Vit {
    fn residual_stream(&self) -> ResidualStream {
        ResidualStream::new("vit", self.config.num_hidden_layers, self.config.hidden_size)
    }

    fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
        let [batch, ..] = inputs.pixels()?.dims();
        Ok([batch, self.config.n_positions()])
    }

    fn context(&self, inputs: &ModelInputs) -> Result<Context, ModelError> {
        Ok(Context::new(self.stream_dims(inputs)?, AttentionBias::default()))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        Ok(self.vit.embeddings.forward(inputs.pixels()?.clone()))
    }

    fn block(&self, layer: usize) -> &dyn Block {
        &self.vit.layers[layer]
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.vit.layernorm.forward(hidden)
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, _inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        let cls_token = || -> Tensor<2> { last_hidden_state.clone().slice_dim(1, 0..1).squeeze_dim(1) };
        let pooler_output = self.vit.pooler.as_ref().map(|pooler| pooler.forward(cls_token()).tanh());
        let logits = self.classifier.as_ref().map(|classifier| Logits::Sequences(classifier.forward(cls_token())));
        Ok(ModelOutput { last_hidden_state, pooler_output, logits })
    }
}
