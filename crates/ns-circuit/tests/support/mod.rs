//! Helpers shared by the unit tests of this crate.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{CircuitConfig, MagnitudeCriterion, MaskMethod};
use crate::mask::host;
use crate::model::CircuitModel;
use crate::rng;
use crate::target::{LayerKind, MaskTarget};

/// A model with three maskable layers, whose dimensions all differ.
#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) conv: Conv1d,
    pub(crate) w: Linear,
    pub(crate) dropout: Dropout,
    pub(crate) out: Linear,
}

impl Net {
    pub(crate) fn new(device: &Device) -> Self {
        let net = Self {
            conv: Conv1dConfig::new(2, 3, 2).init(device),
            w: LinearConfig::new(9, 4).init(device),
            dropout: DropoutConfig::new(0.5).init(),
            out: LinearConfig::new(4, 2).with_bias(false).init(device),
        };
        Self {
            conv: Conv1d { weight: param([3, 2, 2], 1, device), bias: Some(param([3], 2, device)), ..net.conv },
            w: Linear { weight: param([9, 4], 3, device), bias: Some(param([4], 4, device)) },
            out: Linear { weight: param([4, 2], 5, device), bias: None },
            ..net
        }
    }

    /// Runs the model. Shapes: `x` `[batch, 2, 4]`, result `[batch, 2]`.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let features = self.conv.forward(x).flatten::<2>(1, 2);
        let hidden = self.w.forward(features).tanh();
        self.out.forward(self.dropout.forward(hidden))
    }
}

fn param<const D: usize>(shape: [usize; D], stream: u64, device: &Device) -> Param<Tensor<D>> {
    let data = TensorData::new(normal(shape.iter().product(), stream), shape);
    Param::from_data(data, device)
}

/// `n` standard normal numbers; equal arguments return equal numbers.
pub(crate) fn normal(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = rng::stream(99, "testing", 0, stream);
    (0..n).map(|_| rng::standard_normal(&mut rng)).collect()
}

pub(crate) fn input(device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(normal(24, 77), [3, 2, 4]), device)
}

/// The layers of [`Net`], with names that differ from their paths.
pub(crate) fn targets() -> Vec<MaskTarget> {
    [("h.conv", "conv", LayerKind::Conv1d), ("h.w", "w", LayerKind::Linear), ("h.out", "out", LayerKind::Linear)]
        .map(|(name, path, kind)| MaskTarget { name: name.to_string(), path: path.to_string(), kind })
        .to_vec()
}

/// Masks on all layers of [`Net`], biases included.
pub(crate) fn config() -> CircuitConfig {
    CircuitConfig {
        target_layers: targets().into_iter().map(|t| t.name).collect(),
        mask_bias: true,
        ..CircuitConfig::default()
    }
}

pub(crate) fn with_method(mask_method: MaskMethod) -> CircuitConfig {
    CircuitConfig { mask_method, ..config() }
}

/// A circuit of [`Net`] on a device with autodiff, with random logits.
pub(crate) fn circuit(config: &CircuitConfig) -> CircuitModel<Net> {
    let net = Net::new(&Device::default().autodiff());
    let mut circuit = CircuitModel::new(config.clone(), net, &targets()).unwrap();
    let mut params = circuit.mask_params();
    for (i, data) in params.values_mut().enumerate() {
        let values = normal(data.num_elements(), 100 + i as u64);
        *data = TensorData::new(values, data.shape().clone());
    }
    circuit.load_mask_params(&params).unwrap();
    circuit
}

/// Asserts that all entries are within 1e-6 of `expected`, relative to values above 1.
#[track_caller]
pub(crate) fn assert_close<const D: usize>(found: Tensor<D>, expected: &[f32]) {
    let found = host(found);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} {expected}");
    }
}

/// Continuous sparsification with initial logit 0.
pub(crate) const SPARSE: MaskMethod = MaskMethod::ContinuousSparsification { mask_init_value: 0.0 };
/// Hard concrete masks with initial logit 0.
pub(crate) const CONCRETE: MaskMethod = MaskMethod::HardConcrete { mask_init_percentage: 0.5 };
/// Magnitude pruning of 60% of the weights.
pub(crate) const PRUNE: MaskMethod =
    MaskMethod::MagnitudePruning { prune_percentage: 0.6, criterion: MagnitudeCriterion::Absolute };

pub(crate) fn run(circuit: &CircuitModel<Net>) -> Vec<f32> {
    let device = circuit.devices().remove(0);
    host(circuit.model().unwrap().forward(input(&device)))
}

pub(crate) fn masks(circuit: &CircuitModel<Net>) -> BTreeMap<String, Vec<f32>> {
    circuit.effective_masks().unwrap().into_iter().map(|(name, data)| (name, data.try_to_vec().unwrap())).collect()
}

pub(crate) fn zeros(mask: &[f32]) -> usize {
    mask.iter().filter(|m| **m == 0.0).count()
}
