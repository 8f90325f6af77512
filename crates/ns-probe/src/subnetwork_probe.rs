//! The subnetwork probe (Cao et al. 2021): masks and a classifier, trained together.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleDisplay, Param, ParamGroup};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use ns_circuit::{CircuitError, CircuitModel, rng};
use ns_models::{Transformer, cross_entropy};

use crate::activation_cache::ActivationCache;
use crate::batch::{ProbeBatch, SUBNETWORK_LABEL_PADDING};
use crate::config::{Labeling, SubnetworkProbeConfig, check_probe};
use crate::error::ProbeError;
use crate::frozen_activations::FrozenActivations;
use crate::plan::ProbePlan;
use crate::targets::mask_targets;

/// A circuit and a classifier on its vectors at one site; without masked layers, plain probing.
#[derive(Module, Debug)]
pub struct SubnetworkProbe<M: Module + ModuleDisplay> {
    circuit: CircuitModel<M>,
    probe: Classifier,
    #[module(skip)]
    plan: ProbePlan,
    #[module(skip)]
    labeling: Labeling,
    n_classes: usize,
}

/// `linear`, or `linear → ReLU → linear`.
#[derive(Module, Debug)]
struct Classifier {
    input: Linear,
    output: Option<Linear>,
}

/// What a subnetwork probe makes of a batch.
#[derive(Clone, Debug)]
pub struct SubnetworkProbeOutput {
    /// The selected vectors at the probed site, `[selected, hidden]`.
    pub vectors: Tensor<2>,
    /// Scores, `[selected, classes]`.
    pub logits: Tensor<2>,
    /// Cross-entropy, with `l0_lambda · L0` in training where `add_l0` is set, `[1]`.
    pub loss: Tensor<1>,
}

impl<M: Transformer + ModuleDisplay> SubnetworkProbe<M> {
    /// Puts the masks on `model`, freezes it, and draws a classifier from `seed` as PyTorch's `nn.Linear` does
    /// (uniform in ±1/√fan_in).
    ///
    /// # Errors
    /// [`ProbeError::Config`] unless the base is frozen activations, exactly one site is read, and the sizes are positive; errors
    /// of the masks.
    pub fn new(config: SubnetworkProbeConfig, model: M, seed: u64) -> Result<Self, ProbeError> {
        let site = check_probe(&config.probe_vectors, &config.circuit_config, &config.resid_config, &model)?;
        let invalid =
            |field, found: String, expected: &str| Err(ProbeError::Config { field, found, expected: expected.into() });
        if config.n_classes == 0 {
            return invalid("n_classes", "0".into(), "there must be at least one");
        }
        let intermediate_size = match config.intermediate_size {
            -1 => None,
            size if size > 0 => Some(size as usize),
            size => {
                return invalid("intermediate_size", size.to_string(), "it is positive, or −1 for a linear probe");
            }
        };
        let (hidden, device) = (model.hidden_size(), model.device());
        let probe = Classifier::init(hidden, intermediate_size, config.n_classes, seed, &device);
        let targets = mask_targets(&model);
        let base = model.clone();
        let circuit = CircuitModel::new(config.circuit_config, model, &targets)?;
        let plan = ProbePlan::for_circuit(&circuit, &base, site);
        Ok(Self { circuit, probe, plan, labeling: config.labeling, n_classes: config.n_classes })
    }

    /// The circuit: masks, temperature, ablations, L0.
    pub fn circuit(&self) -> &CircuitModel<M> {
        &self.circuit
    }

    /// The parameters that are trained, without the base that they lie on: what a checkpoint needs to hold.
    pub fn trained_parameters(&self) -> ParamGroup {
        self.circuit.mask_parameters().fuse(&ParamGroup::from_predicate("probe."))
    }

    /// The same probe with another circuit, e.g. one with loaded masks.
    ///
    /// # Errors
    /// Whatever `change` gives.
    pub fn try_with_circuit(
        self,
        change: impl FnOnce(CircuitModel<M>) -> Result<CircuitModel<M>, CircuitError>,
    ) -> Result<Self, ProbeError> {
        Ok(Self { circuit: change(self.circuit)?, ..self })
    }

    /// From where on masks change the vectors.
    pub fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    /// What no mask changes of the way to the vectors of a batch of these examples, from a cache as far as it goes.
    ///
    /// # Errors
    /// Those of the cache, of the circuit and of the model's inputs.
    pub fn cached_activations(
        &self,
        cache: &mut ActivationCache,
        examples: &[usize],
        batch: &ProbeBatch,
    ) -> Result<FrozenActivations, ProbeError> {
        cache.frozen_activations(&self.plan, self.circuit.model()?, examples, batch)
    }

    /// Vectors, scores and loss.
    ///
    /// # Errors
    /// [`ProbeError::LabelCount`], [`ProbeError::Batch`], and those of the circuit and of the model's inputs.
    pub fn forward(&self, batch: &ProbeBatch) -> Result<SubnetworkProbeOutput, ProbeError> {
        self.check_labels(batch)?;
        self.forward_from(&self.plan.frozen_activations(self.circuit.model()?, batch)?, batch)
    }

    /// The same from the frozen activations of the batch.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_from(
        &self,
        frozen: &FrozenActivations,
        batch: &ProbeBatch,
    ) -> Result<SubnetworkProbeOutput, ProbeError> {
        let labels = self.check_labels(batch)?;
        let vectors = self.plan.vectors(self.circuit.model()?, frozen, batch)?;
        let logits = self.probe.forward(vectors.clone());
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [labels.len()]), &logits.device());
        let cross_entropy = cross_entropy(logits.clone(), labels);
        let loss = match self.circuit.l0_loss() {
            Some(l0) => cross_entropy + l0,
            None => cross_entropy,
        };
        Ok(SubnetworkProbeOutput { vectors, logits, loss })
    }

    /// The labels, one for each token that is read.
    fn check_labels(&self, batch: &ProbeBatch) -> Result<Vec<i64>, ProbeError> {
        if self.labeling == Labeling::Sequence {
            batch.check_one_token_a_sequence()?;
        }
        let labels = batch.selected_labels(SUBNETWORK_LABEL_PADDING)?;
        if let Some(label) = labels.iter().find(|label| !(0..self.n_classes as i64).contains(label)) {
            return Err(ProbeError::Batch {
                what: "label",
                found: label.to_string(),
                expected: format!("there are {} classes, counted from 0", self.n_classes),
            });
        }
        if labels.is_empty() {
            return Err(ProbeError::Batch {
                what: "token_mask",
                found: "no token".into(),
                expected: "a loss needs at least one".into(),
            });
        }
        Ok(labels)
    }

    /// The classifier's parameters as PyTorch names and shapes them: `probe.0.weight` `[out, in]`, `probe.0.bias`, and
    /// `probe.2.*` with an intermediate layer.
    pub fn probe_params(&self) -> BTreeMap<String, TensorData> {
        let layers = self.probe.layers().into_iter();
        let params = layers.flat_map(|(name, layer)| {
            let weight = (format!("{name}.weight"), layer.weight.val().transpose().into_data());
            let bias = layer.bias.as_ref().map(|bias| (format!("{name}.bias"), bias.val().into_data()));
            [Some(weight), bias].into_iter().flatten()
        });
        params.collect()
    }

    /// Gradients of the classifier's parameters, under the same names.
    pub fn probe_gradients(&self, gradients: &burn::tensor::Gradients) -> BTreeMap<String, TensorData> {
        let layers = self.probe.layers().into_iter();
        let found = layers.flat_map(|(name, layer)| {
            let weight = layer.weight.val().grad(gradients);
            let weight = weight.map(|grad| (format!("{name}.weight"), grad.transpose().into_data()));
            let bias = layer.bias.as_ref().and_then(|bias| bias.val().grad(gradients));
            [weight, bias.map(|grad| (format!("{name}.bias"), grad.into_data()))].into_iter().flatten()
        });
        found.collect()
    }

    /// Sets the classifier's parameters from [`probe_params`](Self::probe_params)' names and shapes.
    ///
    /// # Errors
    /// [`ProbeError::Config`] naming a tensor that is missing or has another shape.
    pub fn load_probe_params(mut self, params: &BTreeMap<String, TensorData>) -> Result<Self, ProbeError> {
        let expected = self.probe_params();
        for (name, current) in &expected {
            let found = params.get(name).map(|data| data.shape().to_vec());
            if found.as_deref() != Some(&current.shape().to_vec()[..]) {
                return Err(ProbeError::Config {
                    field: "probe parameters",
                    found: format!("{name} {found:?}"),
                    expected: format!("its shape is {:?}", current.shape().to_vec()),
                });
            }
        }
        let fill = |name: &str, layer: Linear| {
            let device = layer.weight.lazy_device();
            let weight = Tensor::<2>::from_data(params[&format!("{name}.weight")].clone(), &device).transpose();
            let bias = Tensor::<1>::from_data(params[&format!("{name}.bias")].clone(), &device);
            trainable_linear(weight, bias)
        };
        self.probe.input = fill("probe.0", self.probe.input);
        self.probe.output = self.probe.output.map(|layer| fill("probe.2", layer));
        Ok(self)
    }
}

impl Classifier {
    fn init(hidden: usize, intermediate: Option<usize>, classes: usize, seed: u64, device: &Device) -> Self {
        let linear = |name: &str, input, output| draw_linear(name, input, output, seed, device);
        match intermediate {
            None => Self { input: linear("probe.0", hidden, classes), output: None },
            Some(size) => {
                let output = Some(linear("probe.2", size, classes));
                Self { input: linear("probe.0", hidden, size), output }
            }
        }
    }

    fn forward(&self, vectors: Tensor<2>) -> Tensor<2> {
        let hidden = self.input.forward(vectors);
        match &self.output {
            None => hidden,
            Some(output) => output.forward(activation::relu(hidden)),
        }
    }

    fn layers(&self) -> Vec<(&'static str, &Linear)> {
        let output = self.output.as_ref().map(|layer| ("probe.2", layer));
        [Some(("probe.0", &self.input)), output].into_iter().flatten().collect()
    }
}

fn draw_linear(name: &str, input: usize, output: usize, seed: u64, device: &Device) -> Linear {
    let bound = (input as f32).powf(-0.5);
    let mut stream = rng::stream(seed, name, 0, 0);
    let mut draw = |n: usize| (0..n).map(|_| (2.0 * rng::uniform01(&mut stream) - 1.0) * bound).collect::<Vec<f32>>();
    let weight = Tensor::from_data(TensorData::new(draw(input * output), [input, output]), device);
    let bias = Tensor::from_data(TensorData::new(draw(output), [output]), device);
    trainable_linear(weight, bias)
}

fn trainable_linear(weight: Tensor<2>, bias: Tensor<1>) -> Linear {
    let [input, output] = weight.dims();
    let mut linear = LinearConfig::new(input, output).with_initializer(Initializer::Zeros).init(&weight.device());
    linear.weight = Param::from_tensor(weight.detach());
    linear.bias = Some(Param::from_tensor(bias.detach()));
    linear
}
