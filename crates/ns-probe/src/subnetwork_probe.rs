//! The subnetwork probe (Cao et al. 2021): masks and a classifier that are trained together.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleDisplay, ParamGroup};
use burn::tensor::{Tensor, TensorData};
use ns_circuit::{CircuitModel, Losses};
use ns_models::{Transformer, cross_entropy};

use crate::batch::{ProbeBatch, SUBNETWORK_LABEL_PADDING};
use crate::classifier::{Classifier, intermediate_size};
use crate::config::{Labeling, SubnetworkProbeConfig, check_probe};
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;
use crate::probe::Probe;
use crate::targets::mask_targets;

/// Before the names of the classifier's parameters.
const PREFIX: &str = "probe.";

/// A masked model and a classifier on its vectors at one site; masks and classifier are trained together.
///
/// Without masked layers only the classifier is trained, which is plain probing. The modes of Burn select the masks:
/// soft masks and a loss with the L0 term after `train()`, hard masks and a loss without the L0 term after `valid()`.
#[derive(Module, Debug)]
pub struct SubnetworkProbe<M: Module + ModuleDisplay> {
    circuit: CircuitModel<M>,
    probe: Classifier,
    #[module(skip)]
    plan: ProbePlan,
    #[module(skip)]
    labeling: Labeling,
    #[module(skip)]
    target: Target,
}

/// What the labels of a batch stand for.
#[derive(Clone, Debug)]
enum Target {
    /// The classes `0..n`.
    Classes(usize),
    /// These numbers; a label is an index.
    Numbers(Arc<[f32]>),
}

/// Output of a subnetwork probe for one batch.
#[derive(Clone, Debug)]
pub struct SubnetworkProbeOutput {
    /// Vectors of the selected tokens at the probed site, `[selected, hidden]`.
    pub vectors: Tensor<2>,
    /// Logits of the classifier, `[selected, classes]`; for numbers the predictions, `[selected, 1]`.
    pub logits: Tensor<2>,
    /// The loss, with and without the L0 term.
    pub losses: Losses,
}

impl<M: Transformer + ModuleDisplay> SubnetworkProbe<M> {
    /// Freezes `model`, adds the masks to it, and initialises a classifier.
    ///
    /// Weights and biases of the classifier are uniform in ±1/√fan_in, like PyTorch's `nn.Linear`, and depend on
    /// `seed`.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] if `freeze_base` is false, the selection of sites is invalid or a size of the
    /// classifier is out of range, [`ProbeError::Model`] if the model lacks the site, [`ProbeError::Circuit`] if the
    /// masks cannot be built, and [`ProbeError::UnreachableSite`] for a masked layer that does not affect the vectors
    /// at the site.
    pub fn new(config: SubnetworkProbeConfig, model: M, seed: u64) -> Result<Self, ProbeError> {
        let target = Target::Classes(config.n_classes);
        Self::with_target(config, target, model, seed)
    }

    /// Like [`Self::new`], but for a regression: the probe predicts one of `numbers`, of which the labels of a batch are
    /// the indices, with one output and the mean squared error as its loss. The numbers should have mean 0 and standard
    /// deviation 1.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] unless `n_classes` is 1, and the errors of [`Self::new`].
    pub fn for_numbers(
        config: SubnetworkProbeConfig,
        numbers: Vec<f32>,
        model: M,
        seed: u64,
    ) -> Result<Self, ProbeError> {
        if config.n_classes != 1 {
            let (found, expected) = (config.n_classes.to_string(), "a regression has one output".into());
            return Err(ProbeError::Config { field: "n_classes", found, expected });
        }
        Self::with_target(config, Target::Numbers(numbers.into()), model, seed)
    }

    fn with_target(config: SubnetworkProbeConfig, target: Target, model: M, seed: u64) -> Result<Self, ProbeError> {
        let site = check_probe(&config.probe_vectors, &config.circuit_config, &config.resid_config, &model)?;
        let (hidden, device) = (model.hidden_size(), model.device());
        let intermediate_size = intermediate_size(config.intermediate_size)?;
        let probe = Classifier::new(hidden, intermediate_size, config.n_classes, seed, &device)?;
        let targets = mask_targets(&model);
        let circuit = CircuitModel::new(config.circuit_config, model, &targets)?;
        let plan = ProbePlan::for_circuit(&circuit, site)?;
        Ok(Self { circuit, probe, plan, labeling: config.labeling, target })
    }

    /// Computes the vectors of the selected tokens, their logits and the loss.
    ///
    /// # Errors
    /// Returns [`ProbeError::LabelCount`] unless each selected token has a label, [`ProbeError::Batch`] for an invalid
    /// token mask or label, [`ProbeError::Circuit`] if an ablation is set in training mode, and [`ProbeError::Model`]
    /// for invalid model inputs.
    pub fn forward(&self, batch: &ProbeBatch) -> Result<SubnetworkProbeOutput, ProbeError> {
        self.check_labels(batch)?;
        self.forward_from(&self.frozen_activations(batch)?, batch)
    }

    /// Like [`Self::forward`], but continues from the frozen activations of the batch.
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`].
    pub fn forward_from(
        &self,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<SubnetworkProbeOutput, ProbeError> {
        let labels = self.check_labels(batch)?;
        let vectors = self.plan.vectors(&self.circuit.model()?, frozen, batch)?;
        let logits = self.probe.forward(vectors.clone());
        let losses = self.circuit.with_l0(self.target.loss(logits.clone(), labels));
        Ok(SubnetworkProbeOutput { vectors, logits, losses })
    }

    /// The labels without padding, one per selected token, after checking them.
    fn check_labels(&self, batch: &ProbeBatch) -> Result<Vec<i64>, ProbeError> {
        if self.labeling == Labeling::Sequence {
            batch.check_one_token_a_sequence()?;
        }
        let labels = batch.selected_labels(SUBNETWORK_LABEL_PADDING)?;
        let n_labels = self.target.n_labels();
        if let Some(label) = labels.iter().find(|label| !(0..n_labels as i64).contains(label)) {
            return Err(ProbeError::Batch {
                what: "label",
                found: label.to_string(),
                expected: format!("there are {n_labels} classes, numbered from 0"),
            });
        }
        if labels.is_empty() {
            return Err(ProbeError::Batch {
                what: "token_mask",
                found: "false for every token".into(),
                expected: "the loss needs at least one selected token".into(),
            });
        }
        Ok(labels)
    }

    /// Parameters of the classifier, with the names and shapes of PyTorch: `probe.0.weight` `[out, in]`, `probe.0.bias`
    /// `[out]`, and with a hidden layer `probe.2.weight` and `probe.2.bias`.
    pub fn probe_params(&self) -> BTreeMap<String, TensorData> {
        self.probe.prefixed_params(PREFIX)
    }

    /// Gradients of the classifier's parameters, with the names and shapes of [`Self::probe_params`].
    pub fn probe_gradients(&self, gradients: &burn::tensor::Gradients) -> BTreeMap<String, TensorData> {
        self.probe.prefixed_gradients(PREFIX, gradients)
    }

    /// Replaces the parameters of the classifier. `params` has the names and shapes of [`Self::probe_params`].
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] for a tensor that is missing or has another shape.
    pub fn load_probe_params(&mut self, params: &BTreeMap<String, TensorData>) -> Result<(), ProbeError> {
        self.probe.load_prefixed(PREFIX, params)
    }
}

impl<M: Transformer + ModuleDisplay> Probe for SubnetworkProbe<M> {
    type Base = M;

    fn circuit(&self) -> &CircuitModel<M> {
        &self.circuit
    }

    fn circuit_mut(&mut self) -> &mut CircuitModel<M> {
        &mut self.circuit
    }

    fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    fn losses_from(&self, frozen: &FrozenActivations, batch: &ProbeBatch) -> Result<Losses, ProbeError> {
        Ok(self.forward_from(frozen, batch)?.losses)
    }

    /// Mask parameters and classifier.
    fn trained_parameters(&self) -> ParamGroup {
        self.circuit.mask_parameters().fuse(&ParamGroup::from_predicate(PREFIX))
    }
}

impl Target {
    /// Number of different labels.
    fn n_labels(&self) -> usize {
        match self {
            Self::Classes(n) => *n,
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// The loss of some predictions, whose labels must be below [`Self::n_labels`].
    ///
    /// # Shapes
    /// - logits: `[selected, classes]`, or `[selected, 1]` for numbers
    /// - output: `[1]`
    fn loss(&self, logits: Tensor<2>, labels: Vec<i64>) -> Tensor<1> {
        let (n, device) = (labels.len(), logits.device());
        match self {
            Self::Classes(_) => cross_entropy(logits, Tensor::from_data(TensorData::new(labels, [n]), &device)),
            Self::Numbers(numbers) => {
                let numbers: Vec<f32> = labels.into_iter().map(|label| numbers[label as usize]).collect();
                (logits - Tensor::from_data(TensorData::new(numbers, [n, 1]), &device)).square().mean()
            }
        }
    }
}
