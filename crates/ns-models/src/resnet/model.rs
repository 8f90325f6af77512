//! The base model, its head, and its checkpoint's keys.

use burn::module::Module;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::{
    ResNetConfig,
    config::MODEL_TYPE,
    layers::{ConvNorm, ResNetStage},
};
use crate::activation::Activation;
use crate::block_layout::{BlockLayout, Component, HeadSplit};
use crate::checkpoint::{HfNames, Pretrained};
use crate::config::{Head, InitialValue, ProblemType};
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::MaskableLayer;
use crate::model::Model;

/// HF's names of what lies flat here; its classifier is the second part of a sequence.
const RENAMED: [(&str, &str); 3] =
    [("embedder", "embedder.embedder"), ("stages", "encoder.stages"), ("classifier", "classifier.1")];
/// What the layers of a block belong to.
const PARTS: [(&str, HeadSplit); 2] =
    [("layer", HeadSplit::Whole(Component::Convolutions)), ("shortcut", HeadSplit::Whole(Component::Shortcut))];
/// PyTorch's count of batches, which only a cumulative average would read.
const BATCH_COUNTS: &str = ".num_batches_tracked";

/// ResNet with the head that its configuration names.
#[derive(Module, Debug)]
pub struct ResNet {
    resnet: ResNetBase,
    classifier: Option<Linear>,
    #[module(skip)]
    kind: Head,
    #[module(skip)]
    config: ResNetConfig,
}

#[derive(Module, Debug)]
struct ResNetBase {
    embedder: ConvNorm,
    #[module(skip)]
    activation: Activation,
    max_pool: MaxPool2d,
    stages: Vec<ResNetStage>,
    pooler: AdaptiveAvgPool2d,
}

/// What a [`ResNet`] gives.
#[derive(Clone, Debug)]
pub struct ResNetOutput {
    /// Output of the stem, then of each stage, `[batch, channels, height, width]`.
    pub hidden_states: Vec<Tensor<4>>,
    /// Mean of the last over all pixels, `[batch, channels, 1, 1]`.
    pub pooler_output: Tensor<4>,
    /// Scores of the head, none for a base model.
    pub logits: Option<Logits>,
}

impl ResNet {
    /// The forward pass.
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`].
    pub fn forward(&self, inputs: &ModelInputs) -> Result<ResNetOutput, ModelError> {
        self.check_inputs(inputs)?;
        let hidden_states = self.resnet.forward(inputs.pixels()?.clone());
        let last = hidden_states[hidden_states.len() - 1].clone();
        let pooler_output = self.resnet.pooler.forward(last);
        let scores = |classifier: &Linear| classifier.forward(pooler_output.clone().flatten::<2>(1, 3));
        let logits = self.classifier.as_ref().map(|classifier| Logits::Sequences(scores(classifier)));
        Ok(ResNetOutput { hidden_states, pooler_output, logits })
    }
}

impl ResNetBase {
    /// Output of the stem, then of each stage.
    fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let stem = self.max_pool.forward(self.activation.forward(self.embedder.forward(images)));
        let mut hidden_states = vec![stem.clone()];
        self.stages.iter().fold(stem, |hidden, stage| {
            let hidden = stage.forward(hidden);
            hidden_states.push(hidden.clone());
            hidden
        });
        hidden_states
    }
}

impl Pretrained for ResNet {
    type Config = ResNetConfig;

    fn init(config: &ResNetConfig, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        let kind = config.head()?;
        let classifier = || init::linear(config.output_size(), config.common.n_labels(), device);
        let max_pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]);
        Ok(Self {
            resnet: ResNetBase {
                embedder: ConvNorm::init(config.num_channels, config.embedding_size, 7, 2, device),
                activation: config.hidden_act,
                max_pool: max_pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(),
                stages: (0..config.depths.len()).map(|stage| ResNetStage::init(config, stage, device)).collect(),
                pooler: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            },
            classifier: (kind == Head::ImageClassification).then(classifier),
            kind,
            config: config.clone(),
        })
    }

    fn config(&self) -> &ResNetConfig {
        &self.config
    }

    fn base_class(_config: &Value) -> &'static str {
        "ResNetModel"
    }

    fn hf_names(&self) -> HfNames {
        HfNames {
            base: ("resnet", "resnet"),
            has_head: self.kind != Head::None,
            renamed: RENAMED.into(),
            ignored_endings: vec![BATCH_COUNTS],
            ..HfNames::default()
        }
    }
}

impl Model for ResNet {
    fn model_type(&self) -> &'static str {
        MODEL_TYPE
    }

    fn head(&self) -> Head {
        self.kind
    }

    fn device(&self) -> Device {
        self.resnet.embedder.convolution.weight.lazy_device()
    }

    fn maskable_layers(&self) -> Vec<MaskableLayer> {
        self.hf_names().maskable_layers(self)
    }

    fn block_layout(&self) -> BlockLayout {
        BlockLayout { n_heads: 0, lists: &["stages", "layers"], layers: &PARTS }
    }

    /// HF's `_init_weights`: convolutions by He et al. (2015, equation 14, over what goes out), the classifier as
    /// PyTorch makes linear layers, and batch norms that change nothing.
    fn initial_value(&self, path: &str, shape: &[usize]) -> InitialValue {
        let leaf = path.rsplit_once('.').map_or(path, |(_, leaf)| leaf);
        match (leaf, shape) {
            ("gamma" | "running_var", _) => InitialValue::Constant(1.0),
            ("beta" | "running_mean", _) => InitialValue::Constant(0.0),
            ("weight", [output, _, height, width]) => {
                InitialValue::Normal { std: (2.0 / (output * height * width) as f64).sqrt() }
            }
            _ => InitialValue::Uniform { bound: (self.config.output_size() as f64).powf(-0.5) },
        }
    }

    fn dropout(&self) -> f64 {
        0.0
    }

    fn problem_type(&self) -> Option<ProblemType> {
        self.config.common.problem_type
    }

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["pixel_values"])?;
        inputs.check_pixels(self.config.num_channels, None)
    }

    fn logits(&self, inputs: &ModelInputs) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward(inputs)?.logits)
    }
}
