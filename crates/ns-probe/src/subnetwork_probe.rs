//! The subnetwork probe (Cao et al. 2021): masks and a classifier that are trained together.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleDisplay, Param, ParamGroup};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use ns_circuit::{CircuitModel, Losses, rng};
use ns_models::{Transformer, cross_entropy};

use crate::batch::{ProbeBatch, SUBNETWORK_LABEL_PADDING};
use crate::config::{Labeling, SubnetworkProbeConfig, check_probe};
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;
use crate::probe::Probe;
use crate::targets::mask_targets;

/// The largest width of the classifier's hidden layer.
const MAX_INTERMEDIATE_SIZE: i64 = 1 << 20;

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

/// The classifier: `linear`, or `linear → ReLU → linear`.
#[derive(Module, Debug)]
struct Classifier {
    input: Linear,
    output: Option<Linear>,
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
        let invalid =
            |field, found: String, expected: &str| Err(ProbeError::Config { field, found, expected: expected.into() });
        if config.n_classes == 0 {
            return invalid("n_classes", "0".into(), "it must be at least 1");
        }
        let intermediate_size = match config.intermediate_size {
            -1 => None,
            size if (1..=MAX_INTERMEDIATE_SIZE).contains(&size) => Some(size as usize),
            size => {
                let expected = format!("it must be between 1 and {MAX_INTERMEDIATE_SIZE}, or −1 for a linear probe");
                return invalid("intermediate_size", size.to_string(), &expected);
            }
        };
        let (hidden, device) = (model.hidden_size(), model.device());
        let probe = Classifier::init(hidden, intermediate_size, config.n_classes, seed, &device);
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
        let layers = self.probe.layers().into_iter();
        let params = layers.flat_map(|(name, layer)| {
            let weight = (format!("{name}.weight"), layer.weight.val().transpose().into_data());
            let bias = layer.bias.as_ref().map(|bias| (format!("{name}.bias"), bias.val().into_data()));
            [Some(weight), bias].into_iter().flatten()
        });
        params.collect()
    }

    /// Gradients of the classifier's parameters, with the names and shapes of [`Self::probe_params`].
    pub fn probe_gradients(&self, gradients: &burn::tensor::Gradients) -> BTreeMap<String, TensorData> {
        let layers = self.probe.layers().into_iter();
        let named_gradients = layers.flat_map(|(name, layer)| {
            let weight = layer.weight.val().grad(gradients);
            let weight = weight.map(|grad| (format!("{name}.weight"), grad.transpose().into_data()));
            let bias = layer.bias.as_ref().and_then(|bias| bias.val().grad(gradients));
            [weight, bias.map(|grad| (format!("{name}.bias"), grad.into_data()))].into_iter().flatten()
        });
        named_gradients.collect()
    }

    /// Replaces the parameters of the classifier. `params` has the names and shapes of [`Self::probe_params`].
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] for a tensor that is missing or has another shape.
    pub fn load_probe_params(&mut self, params: &BTreeMap<String, TensorData>) -> Result<(), ProbeError> {
        let expected = self.probe_params();
        for (name, current) in &expected {
            let found = params.get(name).map(|data| data.shape().to_vec());
            if found.as_deref() != Some(&current.shape().to_vec()[..]) {
                let shape = found.map_or_else(|| "missing".into(), |shape| format!("of shape {shape:?}"));
                return Err(ProbeError::Config {
                    field: "a parameter of the classifier",
                    found: format!("{shape} (`{name}`)"),
                    expected: format!("it must have shape {:?}", current.shape().to_vec()),
                });
            }
        }
        let load = |name: &str, layer: &mut Linear| {
            let device = layer.weight.lazy_device();
            let weight = Tensor::<2>::from_data(params[&format!("{name}.weight")].clone(), &device).transpose();
            let bias = Tensor::<1>::from_data(params[&format!("{name}.bias")].clone(), &device);
            *layer = trainable_linear(weight, bias);
        };
        load("probe.0", &mut self.probe.input);
        self.probe.output.iter_mut().for_each(|layer| load("probe.2", layer));
        Ok(())
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
        self.circuit.mask_parameters().fuse(&ParamGroup::from_predicate("probe."))
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

impl Classifier {
    fn init(hidden: usize, intermediate: Option<usize>, classes: usize, seed: u64, device: &Device) -> Self {
        let linear = |name: &str, input, output| random_linear(name, input, output, seed, device);
        match intermediate {
            None => Self { input: linear("probe.0", hidden, classes), output: None },
            Some(size) => {
                let output = Some(linear("probe.2", size, classes));
                Self { input: linear("probe.0", hidden, size), output }
            }
        }
    }

    /// # Shapes
    /// - vectors: `[selected, hidden]`
    /// - output: `[selected, classes]`
    fn forward(&self, vectors: Tensor<2>) -> Tensor<2> {
        let hidden = self.input.forward(vectors);
        match &self.output {
            None => hidden,
            Some(output) => output.forward(activation::relu(hidden)),
        }
    }

    /// The linear layers with their PyTorch names.
    fn layers(&self) -> Vec<(&'static str, &Linear)> {
        let output = self.output.as_ref().map(|layer| ("probe.2", layer));
        [Some(("probe.0", &self.input)), output].into_iter().flatten().collect()
    }
}

/// A linear layer whose weight and bias are uniform in ±1/√input.
fn random_linear(name: &str, input: usize, output: usize, seed: u64, device: &Device) -> Linear {
    let bound = (input as f32).powf(-0.5);
    let mut stream = rng::stream(seed, name, 0, 0);
    let mut sample = |n: usize| (0..n).map(|_| (2.0 * rng::uniform01(&mut stream) - 1.0) * bound).collect::<Vec<f32>>();
    let weight = Tensor::from_data(TensorData::new(sample(input * output), [input, output]), device);
    let bias = Tensor::from_data(TensorData::new(sample(output), [output]), device);
    trainable_linear(weight, bias)
}

fn trainable_linear(weight: Tensor<2>, bias: Tensor<1>) -> Linear {
    let [input, output] = weight.dims();
    let mut linear = LinearConfig::new(input, output).with_initializer(Initializer::Zeros).init(&weight.device());
    linear.weight = Param::from_tensor(weight.detach());
    linear.bias = Some(Param::from_tensor(bias.detach()));
    linear
}
