//! Finds the weights that compute a² in a trained GPT-2, and ablates them.
//!
//! The shipped model computes `(a² − b²) mod 113`. A circuit probe adds a mask to every neuron of its attention and
//! trains only the masks, until the masked attention maps inputs with the same a² to similar vectors. Two measurements
//! follow. Does the circuit encode a²? Its vectors are classified by their nearest neighbour. Does the model need the
//! circuit? The circuit is ablated and the accuracy of the model is measured again.
//!
//! ```sh
//! cargo run --example circuit_of_a2 -- [MODEL_FOLDER] [EPOCHS]
//! ```

use std::path::Path;

use anyhow::ensure;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{Ablation, MaskUnit, ModelVariant, rng};
use ns_models::{Gpt2, Logits, ModelInputs, Pretrained, Transformer};
use ns_probe::{CircuitProbe, CircuitProbeConfig, KnnConfig, Probe, ProbeBatch, evaluate_knn};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/arithmetic");
const P: usize = 113;
const BATCH: usize = 500;
const FINAL_TEMPERATURE: f32 = 200.0;
const LEARNING_RATE: f64 = 5e-3;

type Pair = (usize, usize);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| SHIPPED.into());
    let epochs = arguments.next().map_or(Ok(16), |epochs| epochs.parse())?;

    // Training the masks needs gradients, so the model is on a device with autodiff.
    let device = Device::default().autodiff();
    let model = Gpt2::load(Path::new(&folder), &device)?;

    // All pairs, shuffled and split as for the training of the model: the shuffle depends only on the seed and the
    // label.
    let mut train: Vec<Pair> = (0..P).flat_map(|a| (0..P).map(move |b| (a, b))).collect();
    rng::shuffle(&mut rng::stream(0, "split", 0, 0), &mut train);
    let test = train.split_off(train.len() * 6 / 10);

    // One mask parameter per neuron of both attention layers. The probed vector is the update of attention, i.e. what
    // attention adds to the residual stream.
    let attention = ["transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_proj"].map(String::from);
    let mut config = CircuitProbeConfig::new("attn_update_0".parse()?, attention.to_vec())?;
    config.circuit_config.mask_unit = MaskUnit::Neuron;
    config.circuit_config.l0_lambda = 1e-6;
    let mut probe = CircuitProbe::new(config, model)?;
    let mut optimizer = AdamWConfig::new().with_weight_decay(1e-2).init();

    println!("training the masks for {epochs} epochs");
    for epoch in 0..epochs {
        // A soft mask is σ(temperature · parameter). It approaches a hard mask as the temperature rises from 1.
        probe.circuit_mut().set_temperature(FINAL_TEMPERATURE.powf(epoch as f32 / epochs as f32))?;
        rng::shuffle(&mut rng::stream(0, "order", epoch as u64, 0), &mut train);
        let mut loss = 0.0;
        for pairs in train.chunks_exact(BATCH) {
            let losses = probe.forward(&batch(pairs, &device))?.losses;
            let gradients = GradientsParams::from_grads(losses.backward()?, &probe);
            probe = optimizer.step(LEARNING_RATE, probe, gradients);
            loss = losses.without_l0.into_scalar();
        }
        if (epoch + 1) % 4 == 0 {
            let l0 = probe.circuit().l0();
            println!("  epoch {:<3} loss {loss:.3}   {} of {} weights", epoch + 1, l0.weights, l0.max_weights);
        }
    }

    // In evaluation mode the masks are hard: a weight is in the circuit or not.
    let probe = probe.valid();
    let circuit = probe.circuit();
    println!("\nthe circuit of a²");
    for layer in circuit.l0().layers {
        println!("  {:<28} {} of {} weights", layer.name, layer.weights, layer.max_weights);
    }

    // 1-NN: the support set has one training vector per class; a test vector is classified as its nearest neighbour.
    let device = device.without_autodiff();
    let (train, pairs, test) = (batch(&train, &device), &test, batch(&test, &device));
    // The key of a training example makes the circuit and the whole attention remember the same examples.
    let knn = KnnConfig { keys: Some((0..train.labels.len() as u64).collect()), ..KnnConfig::per_class(1, 0) };
    let evaluate =
        |train_vectors, test_vectors| evaluate_knn((train_vectors, &train.labels), (test_vectors, &test.labels), &knn);
    let unmasked = evaluate(probe.unmasked_vectors(&train)?, probe.unmasked_vectors(&test)?)?;
    let masked = evaluate(probe.vectors(&train)?, probe.vectors(&test)?)?;
    println!("\ndoes the circuit encode a²? (1-NN accuracy on the test pairs)");
    println!("  circuit                      {:.3}", masked.test_accuracy);
    println!("  whole attention              {:.3}", unmasked.test_accuracy);
    println!("  most frequent class          {:.3}", masked.majority);

    println!("\ndoes the model need the circuit? (accuracy on the test pairs)");
    let accuracy_of = |variant| accuracy(&circuit.model_as(variant)?, pairs, &device);
    println!("  whole model                  {:.3}", accuracy_of(ModelVariant::WholeModel)?);
    println!("  without the circuit          {:.3}", accuracy_of(ModelVariant::Ablated(Ablation::ZeroAblate))?);
    // A control: ablate as many weights, chosen at random. Here the circuit is most of attention, and the model fails
    // after any ablation of that size, so the control says little.
    println!("  random control, same size    {:.3}", accuracy_of(ModelVariant::Ablated(Ablation::RandomlySampled))?);

    ensure!(
        masked.test_accuracy > unmasked.test_accuracy,
        "the circuit must encode a² better than the whole attention"
    );
    Ok(())
}

/// The inputs `a b =` with the label a². The vector of the token `=` is probed.
fn batch(pairs: &[Pair], device: &Device) -> ProbeBatch {
    ProbeBatch {
        inputs: inputs(pairs, device),
        token_mask: [false, false, true].repeat(pairs.len()),
        labels: pairs.iter().map(|(a, _)| (a * a % P) as i64).collect(),
        means: Vec::new(),
    }
}

/// Token ids `a b =`, `[pairs, 3]`.
fn inputs(pairs: &[Pair], device: &Device) -> ModelInputs {
    let ids: Vec<i64> = pairs.iter().flat_map(|(a, b)| [*a as i64, *b as i64, P as i64]).collect();
    ModelInputs::new(Tensor::from_data(TensorData::new(ids, [pairs.len(), 3]), device))
}

/// Share of the pairs for which the model predicts `(a² − b²) mod 113` after `=`.
fn accuracy(model: &Gpt2, pairs: &[Pair], device: &Device) -> anyhow::Result<f64> {
    let Some(Logits::Tokens(logits)) = model.forward(&inputs(pairs, device))?.logits else {
        anyhow::bail!("the model has no language-model head");
    };
    let predicted = logits.narrow(1, 2, 1).argmax(2).into_data();
    let correct = predicted.iter::<i64>().zip(pairs);
    let correct = correct.filter(|(token, (a, b))| *token == ((a * a + P * P - b * b) % P) as i64);
    Ok(correct.count() as f64 / pairs.len() as f64)
}
