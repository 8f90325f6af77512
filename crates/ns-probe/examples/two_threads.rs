//! Uses copies of one circuit on two threads: one trains its masks, the other is ablated. Copies share parameters but
//! no setting, so each thread gets what it would get alone.
//!
//! ```sh
//! cargo run --example two_threads
//! ```

use std::path::Path;
use std::thread;

use anyhow::ensure;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use ns_circuit::{Ablation, CircuitConfig, CircuitModel, ModelVariant};
use ns_models::{Gpt2, ModelInputs, Patch, Pretrained, Site, Transformer, VectorCache};
use ns_probe::mask_targets;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/arithmetic");
/// The tokens `a b =`.
const EXAMPLES: [[i64; 3]; 3] = [[3, 5, 113], [7, 1, 113], [50, 60, 113]];

fn main() -> anyhow::Result<()> {
    let device = Device::default().autodiff();
    let model = Gpt2::load(Path::new(SHIPPED), &device)?;
    let targets = mask_targets(&model);
    let config = CircuitConfig { target_layers: vec!["transformer.h.0.attn.*".into()], ..CircuitConfig::default() };
    let circuit = CircuitModel::new(config, model, &targets)?;

    let alone = (train(circuit.clone(), &device)?, ablate(&circuit.valid())?);
    let together = thread::scope(|scope| {
        let trained = scope.spawn(|| train(circuit.clone(), &device));
        (ablate(&circuit.valid()), trained.join())
    });
    let (ablated, Ok(trained)) = together else { anyhow::bail!("the training thread panicked") };
    ensure!((trained?, ablated?) == alone, "two threads must give what one gives");
    println!("the losses of training       {:.4?}", alone.0);
    println!("hidden state without circuit {:.4?} …", &alone.1[..3]);
    patch(circuit.base())
}

/// Trains the masks for a few steps towards zero logits; returns the losses.
fn train(mut circuit: CircuitModel<Gpt2>, device: &Device) -> anyhow::Result<Vec<f32>> {
    let (mut optimizer, inputs) = (AdamWConfig::new().init(), ModelInputs::from_ids(&EXAMPLES, device));
    let mut losses = Vec::new();
    for step in 0..5 {
        circuit.begin_step(0, step);
        let vectors = circuit.model()?.forward(&inputs)?.last_hidden_state;
        let loss = circuit.with_l0(vectors.square().mean());
        losses.push(loss.without_l0.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward()?, &circuit);
        circuit = optimizer.step(1e-2, circuit, gradients);
    }
    Ok(losses)
}

/// The last hidden state without the circuit.
fn ablate(circuit: &CircuitModel<Gpt2>) -> anyhow::Result<Vec<f32>> {
    let model = circuit.model_as(ModelVariant::Ablated(Ablation::ZeroAblate))?;
    let inputs = ModelInputs::from_ids(&EXAMPLES, &Device::default());
    Ok(model.forward(&inputs)?.last_hidden_state.into_data().iter().collect())
}

/// Patches the first example with the residual stream of the second, in the whole model.
fn patch(model: &Gpt2) -> anyhow::Result<()> {
    let (model, site) = (model.valid(), "attn_stream_0".parse::<Site>()?);
    let inputs = ModelInputs::from_ids(&EXAMPLES, &Device::default());
    let mut cache = VectorCache::new([site]).to_the_end();
    let before = model.walk(&inputs, &mut cache)?.output()?.last_hidden_state;
    let Some(stream) = cache.get(site) else { anyhow::bail!("the cache is empty") };
    let mut patch = Patch::new(site, 0..1, 0..3, stream.slice_dim(0, 1..2));
    let after = model.walk(&inputs, &mut patch)?.output()?.last_hidden_state;
    let same = after.slice_dim(0, 0..1).into_data() == before.slice_dim(0, 1..2).into_data();
    ensure!(same, "everything after the patch must be that of the second example");
    println!("patched with the stream of the second example, the first gives its last hidden state");
    Ok(())
}
