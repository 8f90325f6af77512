//! HF's `ViTConfig`.

use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::config::{CommonConfig, Head, check_multiple, check_sizes, invalid_config};
use crate::error::ModelError;

pub(super) const MODEL_TYPE: &str = "vit";
const HEADS: [(&str, Head); 2] = [("ViTModel", Head::None), ("ViTForImageClassification", Head::ImageClassification)];

/// Size of an image or a patch in pixels, written as one number or as `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a size in pixels must be a number or [height, width]")]
pub enum ImageSize {
    /// As high as wide.
    Square(usize),
    /// `[height, width]`.
    Rectangle([usize; 2]),
}

impl ImageSize {
    /// `[height, width]`.
    pub fn height_and_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Rectangle(sides) => sides,
        }
    }
}

/// Configuration of a ViT, with the fields and defaults of HF's `ViTConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VitConfig {
    /// Size of the images.
    pub image_size: ImageSize,
    /// Size of the patches; what is left over at the right and at the bottom is not seen.
    pub patch_size: ImageSize,
    /// Channels of the images.
    pub num_channels: usize,
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
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// ε of the LayerNorms.
    pub layer_norm_eps: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Dropout on embeddings and on what blocks add.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Whether the base model has a pooler: in HF an argument of the class.
    #[serde(skip_serializing_if = "is_true")]
    pub add_pooling_layer: bool,
    /// The class, its labels, and everything else in the file.
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
    /// Head by the first of `architectures`; the base model if there is none.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn head(&self) -> Result<Head, ModelError> {
        self.common.head(MODEL_TYPE, &HEADS)
    }

    /// Rows and columns of patches.
    pub fn patch_grid(&self) -> [usize; 2] {
        let ([height, width], [rows, columns]) =
            (self.image_size.height_and_width(), self.patch_size.height_and_width());
        [height / rows, width / columns]
    }

    /// Length of the sequence: `[CLS]` and the patches.
    pub fn n_positions(&self) -> usize {
        let [rows, columns] = self.patch_grid();
        rows * columns + 1
    }

    /// Checks that the sizes describe a model.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`], [`ModelError::UnknownArchitecture`].
    pub fn validate(&self) -> Result<(), ModelError> {
        self.head()?;
        let (image, patch) = (self.image_size.height_and_width(), self.patch_size.height_and_width());
        check_sizes(&[
            ("image_size", image[0].min(image[1])),
            ("patch_size", patch[0].min(patch[1])),
            ("num_channels", self.num_channels),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_labels", self.common.n_labels()),
        ])?;
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
