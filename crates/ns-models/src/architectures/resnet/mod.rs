//! ResNet (He et al. 2016), HF's `ResNetModel` and `ResNetForImageClassification`.
//!
//! Convolutions with batch norms, in stages of residual layers: `x ← act(shortcut(x) + layer(x))`. Width and resolution
//! change from stage to stage, so no residual stream runs through the whole model, and it has no residual-stream sites.

mod config;
mod layers;
mod model;

pub use config::{ResNetConfig, ResNetLayerType};
pub use model::{ResNet, ResNetOutput};

#[cfg(test)]
mod tests;
