//! Tests that random masks, weights and noise depend only on the seed and are the same on every backend.
//!
//! The backend in `NS_BACKEND` (see `support/device.rs`) is compared with the default one.
#![allow(clippy::unwrap_used)]

#[path = "support/device.rs"]
mod device;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use device::{device, open};
use ns_circuit::{Ablation, CircuitConfig, CircuitModel, MaskMethod, MaskUnit, ModelVariant, discover_targets, rng};

const SPARSE: MaskMethod = MaskMethod::ContinuousSparsification { mask_init_value: 0.0 };
const CONCRETE: MaskMethod = MaskMethod::HardConcrete { mask_init_percentage: 0.5 };

#[derive(Module, Debug)]
struct Net {
    up: Linear,
    down: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let linear = |name: &str, [input, output]: [usize; 2]| {
            let config = LinearConfig::new(input, output).with_initializer(Initializer::Zeros);
            let weight = Tensor::from_data(normal(name, &[input, output], 0.0), device);
            Linear { weight: Param::from_tensor(weight), ..config.init(device) }
        };
        Self { up: linear("up", [12, 40]), down: linear("down", [40, 30]) }
    }
}

/// Normal numbers around `mean`, seeded by `name`.
fn normal(name: &str, shape: &[usize], mean: f32) -> TensorData {
    let mut stream = rng::stream(5, name, 0, 0);
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|_| rng::standard_normal(&mut stream) + mean).collect();
    TensorData::new(values, shape.to_vec())
}

/// A circuit that keeps about a quarter of each tensor.
fn circuit(mask_method: MaskMethod, mask_unit: MaskUnit, device: &Device) -> CircuitModel<Net> {
    let net = Net::new(&device.clone().autodiff());
    let targets = discover_targets(&net);
    let target_layers = targets.iter().map(|target| target.name.clone()).collect();
    let config = CircuitConfig { mask_method, mask_unit, mask_bias: true, target_layers, ..Default::default() };
    let mut circuit = CircuitModel::new(config, net, &targets).unwrap();
    let params = circuit.mask_params();
    let params = params.iter().map(|(name, like)| (name.clone(), normal(name, like.shape(), -0.7))).collect();
    circuit.load_mask_params(&params).unwrap();
    circuit.set_seed(11);
    circuit
}

/// A device of the default backend.
fn default_device() -> Device {
    open("flex").unwrap()
}

#[test]
fn sampled_ablations_are_the_same_masks() {
    for unit in [MaskUnit::Weight, MaskUnit::Neuron] {
        for ablation in [Ablation::RandomlySampled, Ablation::ComplementSampled] {
            let sampled_masks = |device: &Device| {
                let mut circuit = circuit(SPARSE, unit, device).valid();
                circuit.set_variant(ModelVariant::Ablated(ablation)).unwrap();
                let masks_of = |sample| {
                    circuit.set_sample(sample).unwrap();
                    circuit.effective_masks().unwrap()
                };
                [0, 1, 2].map(masks_of)
            };
            let (found, expected) = (sampled_masks(&device()), sampled_masks(&default_device()));
            assert_eq!(found, expected, "{ablation} of {unit:?}");
            assert_ne!(found[0], found[1], "{ablation} of {unit:?}");
        }
    }
}

#[test]
fn new_weights_in_the_place_of_a_circuit_are_the_same() {
    let weights = |device: &Device| {
        let mut circuit = circuit(SPARSE, MaskUnit::Weight, device).valid();
        let weights = |circuit: &CircuitModel<Net>| {
            let net = circuit.model().unwrap();
            [&net.up.weight, &net.down.weight].map(|weight| weight.val().into_data())
        };
        let before = weights(&circuit);
        circuit.set_variant(ModelVariant::Ablated(Ablation::RandomAblate)).unwrap();
        (before, weights(&circuit))
    };
    let (found, expected) = (weights(&device()), weights(&default_device()));
    assert_eq!(found, expected);
    assert_ne!(found.0, found.1);
}

/// The noise is the same to the bit, but each backend computes its own sigmoid of it.
#[test]
fn noise_of_hard_concrete_masks_is_the_same() {
    let masks = |device: &Device| -> BTreeMap<String, Vec<f32>> {
        let mut circuit = circuit(CONCRETE, MaskUnit::Weight, device);
        circuit.begin_step(2, 3);
        circuit.effective_masks().unwrap().iter().map(|(name, mask)| (name.clone(), mask.iter().collect())).collect()
    };
    let (found, expected) = (masks(&device()), masks(&default_device()));
    assert_eq!(found.len(), 4);
    for (name, found) in &found {
        let distances = found.iter().zip(&expected[name]).map(|(a, b)| (a - b).abs());
        let largest = distances.fold(0.0, f32::max);
        assert!(largest <= 1e-6, "{name}: {largest}");
        assert!(found.iter().any(|mask| *mask > 0.0 && *mask < 1.0), "{name} is not soft");
    }
}
