//! The model with its head, and the names of its checkpoint tensors.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{VitConfig, block::VitBlock, config::MODEL_TYPE, embeddings::VitEmbeddings};
use crate::attention::AttentionBias;
use crate::block_layout::{BY_INPUT, BY_OUTPUT, BlockLayout, HeadSplit, MLP};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::{Head, InitialValue, ProblemType};
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs, ModelOutput};
use crate::layers::MaskableLayer;
use crate::model::Model;
use crate::residual::{Observer, Walk, all_sites};
use crate::site::Site;
use crate::transformer::{Context, Transformer};

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
/// How each layer of a block divides into attention heads or belongs to the MLP.
const BLOCK_LAYERS: [(&str, HeadSplit); 6] = [
    ("attention.attention.query", BY_OUTPUT),
    ("attention.attention.key", BY_OUTPUT),
    ("attention.attention.value", BY_OUTPUT),
    ("attention.output", BY_INPUT),
    ("intermediate", MLP),
    ("output", MLP),
];
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
}

impl Model for Vit {
    fn model_type(&self) -> &'static str {
        MODEL_TYPE
    }

    fn head(&self) -> Head {
        self.kind
    }

    fn device(&self) -> Device {
        self.vit.embeddings.cls_token.lazy_device()
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        self.hf_names().maskable_layers(self)
    }

    fn block_layout(&self) -> BlockLayout {
        BlockLayout { n_heads: self.config.num_attention_heads, lists: &["layer"], layers: &BLOCK_LAYERS }
    }

    fn initial_value(&self, path: &str, _shape: &[usize]) -> InitialValue {
        // HF truncates the normal distribution at ±2: 100 standard deviations at the default `initializer_range`.
        InitialValue::usual(path, self.config.initializer_range)
    }

    fn dropout(&self) -> f64 {
        self.config.hidden_dropout_prob.max(self.config.attention_probs_dropout_prob)
    }

    fn problem_type(&self) -> Option<ProblemType> {
        self.config.common.problem_type
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["pixel_values"])?;
        inputs.check_pixels(self.config.num_channels, Some(self.config.image_size.height_and_width()))
    }

    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward(inputs)?.logits)
    }
}

impl Transformer for Vit {
    fn n_layers(&self) -> usize {
        self.vit.layers.len()
    }

    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn sites(&self) -> Vec<Site> {
        all_sites(self.n_layers())
    }

    fn stream_dims(&self, inputs: &ModelInputs) -> Result<[usize; 2], ModelError> {
        let [batch, ..] = inputs.pixels()?.dims();
        Ok([batch, self.config.n_positions()])
    }

    fn context(&self, _inputs: &ModelInputs) -> Result<Context, ModelError> {
        Ok(Context::new(AttentionBias::default()))
    }

    fn embed(&self, inputs: &ModelInputs) -> Result<Tensor<3>, ModelError> {
        Ok(self.vit.embeddings.forward(inputs.pixels()?.clone()))
    }

    fn block(&self, layer: usize, hidden: Tensor<3>, context: &Context, observer: &mut dyn Observer) -> Walk {
        self.vit.layers[layer].forward(layer, hidden, context, observer)
    }

    fn after_attention(&self, layer: usize, hidden: Tensor<3>, observer: &mut dyn Observer) -> Walk {
        self.vit.layers[layer].after_attention(layer, hidden, observer)
    }

    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.vit.layernorm.forward(hidden)
    }

    fn token_logits(&self, _last_hidden_state: Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    fn apply_head(&self, last_hidden_state: Tensor<3>, _inputs: &ModelInputs) -> Result<ModelOutput, ModelError> {
        let cls_token = || -> Tensor<2> { last_hidden_state.clone().slice_dim(1, 0..1).squeeze_dim(1) };
        let pooler_output = self.vit.pooler.as_ref().map(|pooler| pooler.forward(cls_token()).tanh());
        let logits = self.classifier.as_ref().map(|classifier| Logits::Sequences(classifier.forward(cls_token())));
        Ok(ModelOutput { last_hidden_state, pooler_output, logits })
    }
}
