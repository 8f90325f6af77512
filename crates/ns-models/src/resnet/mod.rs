//! ResNet (He et al. 2016), HF's `ResNetModel` and its head.
//!
//! Convolutions with batch norms in stages of residual layers: `x ← act(shortcut(x) + layer(x))`. Stages differ in
//! width and resolution, so there is no residual stream that runs through the model, and no transformer's sites.
//!
//! Batch norms use their running statistics, as HF's models do in evaluation, and leave them as they are, on devices
//! with autodiff, too, so that gradients flow through a frozen model. Burn keeps a flag for this in each batch norm:
//! a model that is made or loaded here has it off, `freeze` keeps it off, and neither `valid` nor `train` turns it
//! on. To fine-tune with the statistics of each batch, which then move the running ones, call `unfreeze` (of the
//! model, or `unfreeze_group` of some layers), which turns the flag on and lets the parameters require gradients. The
//! last batch's statistics are in place only after `valid`: save what that gives.

mod config;
mod layers;
mod model;

pub use config::{ResNetConfig, ResNetLayerType};
pub use model::{ResNet, ResNetOutput};

pub(crate) use config::MODEL_TYPE;

#[cfg(test)]
mod tests;
