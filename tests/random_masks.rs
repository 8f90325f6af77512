//! Masks that are drawn at random, on the backend in `NS_BACKEND` (see `support/device.rs`): they are functions of the
//! seed alone, so every backend must see what the default one sees.
#![allow(clippy::unwrap_used)]

#[path = "support/device.rs"]
mod device;

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use device::{device, open};
use ns_circuit::{Ablation, CircuitConfig, CircuitModel, MaskMethod, MaskUnit, discover_targets, rng};

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

/// Draws around `mean`, by name.
fn normal(name: &str, shape: &[usize], mean: f32) -> TensorData {
    let mut stream = rng::stream(5, name, 0, 0);
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|_| rng::standard_normal(&mut stream) + mean).collect();
    TensorData::new(values, shape.to_vec())
}

/// A circuit of about a quarter of each tensor.
fn circuit(mask_method: MaskMethod, mask_unit: MaskUnit, device: &Device) -> CircuitModel<Net> {
    let net = Net::new(&device.clone().autodiff());
    let targets = discover_targets(&net);
    let target_layers = targets.iter().map(|target| target.name.clone()).collect();
    let config = CircuitConfig { mask_method, mask_unit, mask_bias: true, target_layers, ..Default::default() };
    let circuit = CircuitModel::new(config, net, &targets).unwrap();
    let params = circuit.mask_params();
    let params = params.iter().map(|(name, like)| (name.clone(), normal(name, like.shape(), -0.7))).collect();
    let circuit = circuit.load_mask_params(&params).unwrap();
    circuit.set_seed(11);
    circuit
}

/// The default backend, whose draws the others must repeat.
fn elsewhere() -> Device {
    open("flex").unwrap()
}

#[test]
fn sampled_ablations_are_the_same_masks() {
    for unit in [MaskUnit::Weight, MaskUnit::Neuron] {
        for ablation in [Ablation::RandomlySampled, Ablation::ComplementSampled] {
            let draws = |device: &Device| {
                let circuit = circuit(SPARSE, unit, device).valid();
                circuit.set_ablation(ablation).unwrap();
                let draw = |sample| {
                    circuit.set_sample(sample).unwrap();
                    circuit.effective_masks()
                };
                [0, 1, 2].map(draw)
            };
            let (here, there) = (draws(&device()), draws(&elsewhere()));
            assert_eq!(here, there, "{ablation} of {unit:?}");
            assert_ne!(here[0], here[1], "{ablation} of {unit:?}");
        }
    }
}

#[test]
fn new_weights_in_the_place_of_a_circuit_are_the_same() {
    let weights = |device: &Device| {
        let circuit = circuit(SPARSE, MaskUnit::Weight, device).valid();
        let weights = || {
            let net = circuit.model().unwrap();
            [&net.up.weight, &net.down.weight].map(|weight| weight.val().into_data())
        };
        let before = weights();
        circuit.set_ablation(Ablation::RandomAblate).unwrap();
        (before, weights())
    };
    let (here, there) = (weights(&device()), weights(&elsewhere()));
    assert_eq!(here, there);
    assert_ne!(here.0, here.1);
}

/// The noise is the same to the bit; the sigmoid around it is each backend's own.
#[test]
fn noise_of_hard_concrete_masks_is_the_same() {
    let masks = |device: &Device| -> BTreeMap<String, Vec<f32>> {
        let circuit = circuit(CONCRETE, MaskUnit::Weight, device);
        circuit.begin_step(2, 3);
        circuit.effective_masks().iter().map(|(name, mask)| (name.clone(), mask.iter().collect())).collect()
    };
    let (here, there) = (masks(&device()), masks(&elsewhere()));
    assert_eq!(here.len(), 4);
    for (name, here) in &here {
        let distances = here.iter().zip(&there[name]).map(|(a, b)| (a - b).abs());
        let furthest = distances.fold(0.0, f32::max);
        assert!(furthest <= 1e-6, "{name}: {furthest}");
        assert!(here.iter().any(|mask| *mask > 0.0 && *mask < 1.0), "{name} is not soft");
    }
}
