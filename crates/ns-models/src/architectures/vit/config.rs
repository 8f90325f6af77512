//! Configuration of ViT, HF's `ViTConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_layers, check_multiple, check_range, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "vit";
/// HF classes and their heads; the first is the default.
const HEADS: [(&str, Head); 2] = [("ViTModel", Head::None), ("ViTForImageClassification", Head::ImageClassification)];

/// The largest height and width of an image, in pixels.
const MAX_SIDE: usize = 1 << 16;

/// Size of an image or a patch in pixels, written as one number or as `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a size in pixels must be a number or [height, width]")]
pub enum ImageSize {
    /// Height and width are equal.
    Square(usize),
    /// `[height, width]`.
    Rectangle([usize; 2]),
}

impl ImageSize {
    /// Returns `[height, width]`.
    pub fn height_and_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Rectangle(sides) => sides,
        }
    }
}

/// Configuration of a [`Vit`](super::Vit), with the fields and defaults of HF's `ViTConfig`.
///
/// The forward pass has no dropout; the dropout probabilities are kept for `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VitConfig {
    /// Size of the images.
    pub image_size: ImageSize,
    /// Size of the patches. Pixels at the right and the bottom that do not fill a patch are ignored.
    pub patch_size: ImageSize,
    /// Number of channels of the images.
    pub num_channels: usize,
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
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Dropout probability of the embeddings and of the sublayers' outputs.
    pub hidden_dropout_prob: f64,
    /// Dropout probability of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Whether a model without a head has a pooler. In HF this is an argument of `ViTModel`.
    #[serde(skip_serializing_if = "is_true")]
    pub add_pooling_layer: bool,
    /// Class name, labels and all fields that are not listed here.
    #[serde(flatten)]
    pub common: CommonConfig,
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            image_size: ImageSize::Square(224),
            patch_size: ImageSize::Square(16),
            num_channels: 3,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            qkv_bias: true,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            add_pooling_layer: true,
            common: CommonConfig::default(),
        }
    }
}

impl VitConfig {
    /// Returns the head of the first class in `architectures`, or [`Head::None`] if the list is empty or missing.
    ///
    /// # Errors
    /// Returns [`ModelError::UnknownArchitecture`] for a class that the family does not have.
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Number of rows and columns of patches.
    pub fn patch_grid(&self) -> [usize; 2] {
        let ([height, width], [rows, columns]) =
            (self.image_size.height_and_width(), self.patch_size.height_and_width());
        [height / rows, width / columns]
    }

    /// Length of the sequence: the `[CLS]` token and the patches.
    pub fn n_positions(&self) -> usize {
        let [rows, columns] = self.patch_grid();
        rows * columns + 1
    }

    /// Checks that the configuration describes a model that this crate supports.
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidConfig`] for impossible sizes and [`ModelError::UnknownArchitecture`] for an
    /// unknown class.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        let (image, patch) = (self.image_size.height_and_width(), self.patch_size.height_and_width());
        check_sizes(&[
            ("image_size", image[0].min(image[1])),
            ("patch_size", patch[0].min(patch[1])),
            ("num_channels", self.num_channels),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_labels", self.common.n_labels()),
        ])?;
        for (field, [height, width]) in [("image_size", image), ("patch_size", patch)] {
            check_range(field, height.max(width), MAX_SIDE)?;
        }
        check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_multiple(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        match self.patch_grid().contains(&0) {
            true => Err(invalid_config(
                "patch_size",
                format!("{} × {}", patch[0], patch[1]),
                format!("images are only {} × {}", image[0], image[1]),
            )),
            false => Ok(()),
        }
    }
}
