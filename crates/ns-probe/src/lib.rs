//! Probes on the residual stream of a transformer: which weights compute a variable, and at which site?
//!
//! - A [`CircuitProbe`] (Lepori et al. 2024) trains a mask over the weights of chosen layers. The masked model should
//!   map inputs with the same label to vectors with the same direction at the probed site.
//! - A [`SubnetworkProbe`] (Cao et al. 2021) trains the mask together with a classifier on these vectors.
//!
//! Vectors that were computed before have linear methods of their own: [`train_classifier`], [`logistic_regression`] (the
//! exact minimum) and [`counterfactual_embedding`].
//!
//! A trained probe is evaluated by the 1-nearest-neighbour accuracy of its vectors ([`evaluate_knn`]) and by the
//! accuracy of the model without the circuit ([`ns_circuit::Ablation`]). The base model is frozen, so everything below
//! the first masked layer is the same in every epoch. An [`ActivationCache`] computes it once.
//!
//! ```
//! use burn::module::Module;
//! use burn::tensor::Device;
//! use ns_models::{Gpt2, Gpt2Config, ModelInputs, Pretrained};
//! use ns_probe::{CircuitProbe, CircuitProbeConfig, ProbeBatch};
//!
//! let device = Device::default().autodiff();
//! let config = Gpt2Config { vocab_size: 10, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 2, ..Default::default() };
//! let model = Gpt2::init(&config, &device)?;
//! let probe = CircuitProbe::new(
//!     CircuitProbeConfig::new("attn_update_0".parse()?, vec!["transformer.h.0.attn.c_attn".into()])?,
//!     model,
//! )?;
//! let batch = ProbeBatch {
//!     inputs: ModelInputs::from_ids(&[[1, 9], [2, 9], [1, 9]], &device),
//!     token_mask: vec![false, true, false, true, false, true],
//!     labels: vec![1, 2, 1],
//!     means: vec![],
//! };
//! let output = probe.forward(&batch)?;
//! assert_eq!(output.vectors.dims(), [3, 8]);
//! # Ok::<(), ns_probe::ProbeError>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;

mod config;
mod targets;

mod residual_model;
mod site_reader;

mod batch;
mod frozen_activations;
mod output_masks;
mod plan;
mod products;

mod activation_cache;
mod cache_store;

mod contrastive;

mod classifier;
mod classifier_training;
mod counterfactual;
mod logistic_regression;

mod circuit_probe;
mod probe;
mod subnetwork_probe;

mod knn;

mod interventions;

#[cfg(feature = "verify")]
mod verify;

pub use activation_cache::ActivationCache;
pub use batch::{CIRCUIT_LABEL_PADDING, ProbeBatch, SUBNETWORK_LABEL_PADDING};
pub use circuit_probe::{CircuitProbe, CircuitProbeOutput};
pub use classifier::Classifier;
pub use classifier_training::train_classifier;
pub use config::{CircuitProbeConfig, Labeling, ProbeLoss, ResidualUpdateModelConfig, SubnetworkProbeConfig};
pub use contrastive::contrastive_loss;
pub use counterfactual::{CounterfactualEmbedding, counterfactual_embedding};
pub use error::ProbeError;
pub use frozen_activations::{FrozenActivations, FrozenTokens};
pub use interventions::{
    ActivationGradient, ActivationMeans, ActivationSite, Edit, FixedProducts, HeadInput, Hooks, MaskGradients,
    OutputReplacements, Recorder, Replacement, TrackedMasks, activation_gradients, head_inputs, mask_gradients,
    record_activations, run_edited,
};
pub use knn::{KnnConfig, KnnReport, Support, evaluate_knn, nearest_neighbours};
pub use logistic_regression::{LogisticRegression, logistic_regression};
pub use output_masks::output_masks;
pub use plan::ProbePlan;
pub use probe::Probe;
pub use residual_model::ResidualUpdateModel;
pub use subnetwork_probe::{SubnetworkProbe, SubnetworkProbeOutput};
pub use targets::mask_targets;
#[cfg(feature = "verify")]
pub use verify::{PROBE_CASE_INPUTS, run_probe_case};

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
