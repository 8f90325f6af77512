//! The model with its head, and the names of its checkpoint tensors.

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
use crate::config::{Head, InitialValue};
use crate::error::ModelError;
use crate::init;
use crate::inputs::{Logits, ModelInputs};
use crate::linear_hook::Hook;
use crate::model::{Architecture, Model};

/// Names that differ, Burn's and HF's: HF nests these layers more deeply, and its classifier is the second module of an
/// `nn.Sequential`.
const RENAMED: [(&str, &str); 3] =
    [("embedder", "embedder.embedder"), ("stages", "encoder.stages"), ("classifier", "classifier.1")];
/// Keys of PyTorch's batch counters, ignored here. PyTorch reads them only for cumulative averages (`momentum=None`).
const BATCH_COUNTS: &str = ".num_batches_tracked";

/// ResNet ([He et al. 2016](https://arxiv.org/abs/1512.03385)) with the head that its configuration names.
///
/// The HF classes are `ResNetModel` and `ResNetForImageClassification`. A ResNet has no residual stream that runs
/// through the whole model, so it is a [`Model`], but not a [`Transformer`](crate::Transformer).
///
/// # Batch norms
/// Batch norms use their running statistics and do not update them, as HF's models do in evaluation mode. This holds on
/// devices with autodiff too, so gradients can flow through a frozen model.
///
/// Burn stores a training flag in each batch norm. It is off in a model that was initialised or loaded here. `freeze`
/// keeps it off, and neither `valid` nor `train` turns it on. To fine-tune with batch statistics, which also update the
/// running statistics, call `unfreeze` on the model, or `unfreeze_group` for some layers. This turns the flag on and
/// makes the parameters require gradients. The update of the last batch is applied only by `valid`, so save the model
/// that `valid` returns.
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

/// Output of a [`ResNet`].
#[derive(Clone, Debug)]
pub struct ResNetOutput {
    /// Outputs of the stem and of each stage, `[batch, channels, height, width]`.
    pub hidden_states: Vec<Tensor<4>>,
    /// Mean of the last hidden state over all pixels, `[batch, channels, 1, 1]`.
    pub pooler_output: Tensor<4>,
    /// Logits of the head; `None` for a model without a head.
    pub logits: Option<Logits>,
}

impl ResNet {
    /// Runs the forward pass.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] for inputs that are not images with the model's number of channels.
    pub fn forward(&self, inputs: &ModelInputs) -> Result<ResNetOutput, ModelError> {
        self.check_inputs(inputs)?;
        let hidden_states = self.resnet.forward(inputs.pixels()?.clone());
        let last = hidden_states[hidden_states.len() - 1].clone();
        let pooler_output = self.resnet.pooler.forward(last);
        let classify = |classifier: &Linear| classifier.forward(pooler_output.clone().flatten::<2>(1, 3));
        let logits = self.classifier.as_ref().map(|classifier| Logits::Sequences(classify(classifier)));
        Ok(ResNetOutput { hidden_states, pooler_output, logits })
    }
}

impl ResNetBase {
    /// Computes the outputs of the stem and of each stage.
    ///
    /// # Shapes
    /// - images: `[batch, channels, height, width]`
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

    const MODEL_TYPES: &[&str] = &[MODEL_TYPE];

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
}

impl Model for ResNet {
    fn architecture(&self) -> Architecture {
        let convolutions = |name, component| (name, HeadSplit::Whole(component));
        Architecture {
            model_type: MODEL_TYPE,
            head: self.kind,
            problem_type: self.config.common.problem_type,
            dropout: 0.0,
            blocks: BlockLayout {
                lists: &["stages", "layers"],
                layers: vec![
                    convolutions("layer", Component::Convolutions),
                    convolutions("shortcut", Component::Shortcut),
                ],
                mlp: None,
            },
        }
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

    fn device(&self) -> Device {
        self.resnet.embedder.convolution.weight.lazy_device()
    }

    /// As in HF's `_init_weights`: Kaiming initialisation with `mode="fan_out"` for the convolutions
    /// ([He et al. 2015](https://arxiv.org/abs/1502.01852), equation 14), PyTorch's default for the classifier, and
    /// batch norms that start as the identity.
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

    fn check_inputs(&self, inputs: &ModelInputs) -> Result<(), ModelError> {
        inputs.check_only(&["pixel_values"])?;
        inputs.check_pixels(self.config.num_channels, None)
    }

    fn logits_with(&self, inputs: &ModelInputs, _hook: Hook) -> Result<Option<Logits>, ModelError> {
        Ok(self.forward(inputs)?.logits)
    }
}
