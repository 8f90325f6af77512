//! Interventions: reading, replacing and differentiating the activations of a transformer during a forward pass.
//!
//! | question | answer |
//! |---|---|
//! | which activations are there? | [`ActivationSite`]: residual stream, attention heads, outputs of linear layers |
//! | what are their values? | [`record_activations`], [`ActivationMeans`] |
//! | what if some units had other values? | [`Edit`] and [`run_edited`]: zero, mean and resample ablation, patching |
//! | how much does each one matter, to first order? | [`activation_gradients`], [`mask_gradients`] |
//!
//! All of them are [`Hooks`], functions that a forward pass calls with the value at a site. They are called at all
//! positions of a batch, padding included.

mod edit;
mod fixed_products;
mod gradients;
mod heads;
mod hooks;
mod mask_gradients;
mod means;
mod output_replacements;
mod record;
mod site;

pub use edit::{Edit, Replacement, run_edited};
pub use fixed_products::FixedProducts;
pub use gradients::{ActivationGradient, activation_gradients};
pub use heads::{HeadInput, head_inputs};
pub use hooks::Hooks;
pub use mask_gradients::{MaskGradients, TrackedMasks, mask_gradients};
pub use means::ActivationMeans;
pub use output_replacements::OutputReplacements;
pub use record::{Recorder, record_activations};
pub use site::ActivationSite;
