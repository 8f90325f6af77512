//! Circuits in any Burn module: learned binary masks over the weights of chosen layers, ablations, and L0.
//!
//! A circuit is the part of a network that a mask keeps. [`CircuitModel`] puts one mask on each chosen parameter as a
//! Burn reparameterization: the base weight `w` becomes the effective weight `w ⊙ m`. The wrapped module needs no
//! changes, and its forward pass, optimisers, records and device transfers work as before. In training, a mask is soft
//! and learned ([`MaskMethod`]). In evaluation, it is hard, and an [`Ablation`] can remove the circuit from the model
//! ([`ModelVariant`]). The crate works with any architecture and any Burn backend.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig, Relu};
//! use burn::module::Module;
//! use burn::tensor::{Device, Tensor};
//! use ns_circuit::{Ablation, CircuitConfig, CircuitModel, ModelVariant, discover_targets};
//!
//! #[derive(Module, Debug)]
//! struct Mlp {
//!     up: Linear,
//!     down: Linear,
//! }
//!
//! impl Mlp {
//!     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
//!         self.down.forward(Relu::new().forward(self.up.forward(x)))
//!     }
//! }
//!
//! let device = Device::default().autodiff();
//! let mlp = Mlp {
//!     up: LinearConfig::new(3, 8).init(&device),
//!     down: LinearConfig::new(8, 2).init(&device),
//! };
//! let config = CircuitConfig { target_layers: vec!["up".into()], ..CircuitConfig::default() };
//! let targets = discover_targets(&mlp);
//! let circuit = CircuitModel::new(config, mlp, &targets)?;
//!
//! // One training step: the task loss plus the L0 term. Only the mask parameters have gradients.
//! let x = Tensor::ones([4, 3], &device);
//! let loss = circuit.model()?.forward(x.clone()).powi_scalar(2).mean();
//! let gradients = circuit.with_l0(loss).total.backward();
//! assert_eq!(circuit.mask_gradients(&gradients).len(), 1);
//!
//! // Evaluation: the hard circuit, then the model without it.
//! let eval = circuit.valid();
//! assert_eq!(eval.l0().max_weights, 24);
//! let without = eval.model_as(ModelVariant::Ablated(Ablation::ZeroAblate))?.forward(x.without_autodiff());
//! assert_eq!(without.dims(), [4, 2]);
//! # Ok::<(), ns_circuit::CircuitError>(())
//! ```

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // in a test, a failed unwrap is a test failure

mod config;
mod target;

mod attach;
mod build;
mod mask_values;
mod model;
mod settings;

mod derived;
mod mask;
mod methods;

mod kernels;

mod ablation;
mod l0;
mod sample;

mod adamw;

mod hard_mask;
mod overlap;

mod layout;
mod names;
mod patterns;

mod error;
mod exchange;
mod state_dict;

pub mod rng;

#[cfg(any(test, feature = "verify"))]
mod verify;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod testing;

pub use ablation::{Ablation, ModelVariant};
pub use adamw::AdamW;
pub use config::{CircuitConfig, MagnitudeCriterion, MaskMethod, MaskUnit};
pub use error::{CircuitError, Misfit};
pub use exchange::{load_masks, save_masks, save_masks_with_prefix};
pub use hard_mask::{HardMask, HardMasks};
pub use l0::{L0Statistics, LayerL0};
pub use mask::{OutputMask, output_mask};
pub use model::{CircuitModel, Losses, MaskedLayer};
pub use overlap::{Comparison, Overlap, compare};
pub use patterns::expand_layers;
pub use state_dict::StateDict;
pub use target::{LayerKind, MaskTarget, discover_targets};
#[cfg(any(test, feature = "verify"))]
pub use verify::{MASK_CASE_INPUTS, run_mask_case};

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
