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
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use ns_circuit::{Ablation, CircuitConfig, CircuitModel, MaskMethod, MaskUnit, ModelVariant, discover_targets, rng};

const UNITS: usize = 12;
const OUTPUTS: [&str; 2] = ["x0 ≠ x1", "x2 ≠ x3"];

/// An ordinary Burn module, written without masks in mind.
#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn new(seed: u64, device: &Device) -> Self {
        let weight = |name: &str, shape: [usize; 2]| {
            let mut stream = rng::stream(seed, name, 0, 0);
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| 0.5 * rng::standard_normal(&mut stream)).collect();
            Param::from_data(TensorData::new(values, shape), device)
        };
        let bias = Param::from_data(TensorData::from([0.0_f32; 2]), device);
        Self {
            hidden: Linear { weight: weight("hidden", [4, UNITS]), bias: None },
            output: Linear { weight: weight("output", [UNITS, 2]), bias: Some(bias) },
        }
    }

    /// Computes scores `[batch, 2]` from signs `[batch, 4]`. A score is positive if its two signs differ.
    fn forward(&self, signs: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(signs)))
    }
}

fn main() -> anyhow::Result<()> {
    let device = Device::default().autodiff();
    let (signs, answers) = every_input(&device);

    // 1. Train the network as usual. The L1 term keeps a hidden unit from serving both outputs.
    let mut network = Network::new(0, &device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    for _ in 0..1000 {
        let size = network.hidden.weight.val().abs().sum() + network.output.weight.val().abs().sum();
        let loss = error(network.forward(signs.clone()), answers.clone()).mean() + size * 3e-3;
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-2, network, gradients);
    }
    println!("trained network          {}", accuracies(&network.valid()));

    // 2. List the layers that can be masked.
    for target in discover_targets(&network) {
        println!("maskable layer           {} ({})", target.name, target.kind);
    }

    // 3. Learn a circuit for each output. Evaluate the circuit alone, and the network without the circuit.
    let mut circuits = Vec::new();
    for (output, name) in OUTPUTS.iter().enumerate() {
        let circuit = learn_circuit(&network, output)?.valid(); // hard masks from here on
        let l0 = circuit.l0();
        println!("\nthe circuit of `{name}`: {} of {} weights of `hidden`", l0.weights, l0.max_weights);
        println!("  circuit alone          {}", accuracies(&circuit.model()?));
        let without = circuit.model_as(ModelVariant::Ablated(Ablation::ZeroAblate))?;
        println!("  without the circuit    {}", accuracies(&without));

        // A plain `Network` without masks. Its weights outside the circuit are zero.
        let plain: Network = circuit.materialize_circuit()?;
        circuits.push(strengths(&plain, 0..4));
    }

    // 4. Compare with the trained weights: a unit belongs to the output whose inputs it reads.
    println!("\nunit   reads x0 x1   reads x2 x3   is in the circuit of");
    let expected = [strengths(&network, 0..2), strengths(&network, 2..4)];
    for unit in 0..UNITS {
        let is_in = |output: &usize| circuits[*output][unit] > 0.0;
        let names: Vec<&str> = (0..2).filter(is_in).map(|output| OUTPUTS[output]).collect();
        println!("{unit:>4} {:>13.2} {:>13.2}   {}", expected[0][unit], expected[1][unit], names.join(" and "));
        for output in (0..2).filter(is_in) {
            let own = expected[output][unit] > expected[1 - output][unit];
            ensure!(own, "unit {unit} is in the circuit of {}, but reads other inputs", OUTPUTS[output]);
        }
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
        let scores = circuit.model()?.forward(signs.clone());
        let loss = error(scores, answers.clone()).narrow(1, output, 1).mean();
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
    let answers = signs.chunks(4).flat_map(|x| [-x[0] * x[1], -x[2] * x[3]]).collect::<Vec<_>>();
    let tensor = |values: Vec<f32>, width| Tensor::from_data(TensorData::new(values, [16, width]), device);
    (tensor(signs, 4), tensor(answers, 2))
}

/// Squared error, elementwise.
fn error(scores: Tensor<2>, answers: Tensor<2>) -> Tensor<2> {
    (scores - answers).square()
}

/// Accuracy of each output, as text.
fn accuracies(network: &Network) -> String {
    let (signs, answers) = every_input(&network.hidden.weight.device());
    let correct = (network.forward(signs) * answers).greater_elem(0.0).float().mean_dim(0).into_data();
    let accuracies = correct.iter::<f32>().zip(OUTPUTS);
    accuracies.map(|(accuracy, name)| format!("{name} {accuracy:.2}")).collect::<Vec<String>>().join(", ")
}

/// For each hidden unit, the norm of its weights on some of the inputs.
fn strengths(network: &Network, inputs: std::ops::Range<usize>) -> Vec<f32> {
    let weight = network.hidden.weight.val().slice_dim(0, inputs);
    weight.square().sum_dim(0).sqrt().into_data().iter().collect()
}
