//! Masks a module of your own: which hidden units does each of two outputs use?
//!
//! The network below has four inputs of ±1 and learns two independent outputs: whether the first two inputs differ, and
//! whether the last two do. Training does not assign hidden units to outputs. The trained network is frozen, and a
//! circuit is learned for each output: the fewest hidden units that still compute it. Nothing here is specific
//! to this network: any Burn module with linear or convolution layers can be masked like this.
//!
//! ```sh
//! cargo run --example mask_your_own_module
//! ```

use anyhow::ensure;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use ns_circuit::{
    Ablation, CircuitConfig, CircuitModel, MaskMethod, MaskUnit, ModelVariant::Ablated, discover_targets,
};

const UNITS: usize = 12;
const OUTPUTS: [&str; 2] = ["x0 ≠ x1", "x2 ≠ x3"];

/// An ordinary Burn module, written without masks in mind.
#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    /// Computes scores `[batch, 2]` from signs `[batch, 4]`. A score is positive if its two signs differ.
    fn forward(&self, signs: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(signs)))
    }
}

fn main() -> anyhow::Result<()> {
    let device = Device::default().autodiff();
    device.seed(0);
    let (signs, answers) = every_input(&device);

    // 1. Train the network as usual. The L1 term keeps a hidden unit from serving both outputs.
    let hidden = LinearConfig::new(4, UNITS).with_bias(false).init(&device);
    let mut network = Network { hidden, output: LinearConfig::new(UNITS, 2).init(&device) };
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    for _ in 0..1000 {
        let size = network.hidden.weight.val().abs().sum() + network.output.weight.val().abs().sum();
        let loss = (network.forward(signs.clone()) - answers.clone()).square().mean() + size * 3e-3;
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-2, network, gradients);
    }

    // 2. Learn a circuit for each output. Evaluate the circuit alone, and the network without it.
    for (output, name) in OUTPUTS.iter().enumerate() {
        let circuit = learn_circuit(&network, output)?.valid(); // hard masks from here on
        let units = &circuit.kept_units()["hidden"];
        println!("\nthe circuit of `{name}`: units {units:?} of {UNITS}");
        println!("  circuit alone          {}", accuracies(&circuit.model()?));
        println!("  without the circuit    {}", accuracies(&circuit.model_as(Ablated(Ablation::ZeroAblate))?));

        // 3. Compare with the trained weights: a unit belongs to the output whose inputs it reads.
        let strengths = network.hidden.weight.val().square().reshape([2, 2, UNITS]).sum_dim(1).into_data();
        let strengths: Vec<f32> = strengths.iter().collect();
        let reads = |unit: usize, output: usize| strengths[output * UNITS + unit];
        ensure!(units.iter().all(|unit| reads(*unit, output) > reads(*unit, 1 - output)), "a unit reads other inputs");
    }
    Ok(())
}

/// Learns the fewest hidden units that compute one of the outputs. The loss is the squared error plus the L0 term: the
/// expected number of units in the circuit, times `l0_lambda`.
fn learn_circuit(network: &Network, output: usize) -> anyhow::Result<CircuitModel<Network>> {
    let config = CircuitConfig {
        mask_method: MaskMethod::HardConcrete { mask_init_percentage: 0.9 },
        mask_unit: MaskUnit::Neuron,
        target_layers: vec!["hidden".into()],
        l0_lambda: 0.02,
        ..CircuitConfig::default() // freezes the network and adds the L0 term to the loss
    };
    let mut circuit = CircuitModel::new(config, network.clone(), &discover_targets(network))?;
    let (signs, answers) = every_input(&network.hidden.weight.device());
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    for step in 0..400 {
        circuit.begin_step(0, step); // the masks are noisy; the noise depends on the seed, the layer and the step
        let error = circuit.model()?.forward(signs.clone()) - answers.clone();
        let loss = error.square().narrow(1, output, 1).mean();
        let gradients = GradientsParams::from_grads(circuit.with_l0(loss).backward()?, &circuit);
        circuit = optimizer.step(5e-2, circuit, gradients);
    }
    Ok(circuit)
}

/// All 16 combinations of four signs, `[16, 4]`, and the targets of both outputs, `[16, 2]`: 1 if the signs differ,
/// else −1.
fn every_input(device: &Device) -> (Tensor<2>, Tensor<2>) {
    let sign = |row: usize, bit: usize| if row >> bit & 1 == 1 { 1.0_f32 } else { -1.0 };
    let signs: Vec<f32> = (0..16).flat_map(|row| (0..4).map(move |bit| sign(row, bit))).collect();
    let answers: Vec<f32> = signs.chunks(4).flat_map(|x| [-x[0] * x[1], -x[2] * x[3]]).collect();
    let tensor = |values: Vec<f32>, width| Tensor::from_data(TensorData::new(values, [16, width]), device);
    (tensor(signs, 4), tensor(answers, 2))
}

/// Accuracy of each output.
fn accuracies(network: &Network) -> String {
    let (signs, answers) = every_input(&network.hidden.weight.device());
    let correct = (network.forward(signs) * answers).greater_elem(0.0).float().mean_dim(0).into_data();
    let correct: Vec<f32> = correct.iter().collect();
    format!("{} {:.2}, {} {:.2}", OUTPUTS[0], correct[0], OUTPUTS[1], correct[1])
}
