//! Which neurons of a language model represent the part of speech of a word, and does the model need them?
//!
//! A circuit probe finds the neurons, on words in sentences. The circuit is saved, and a second process loads it. There
//! it is ablated next to a random control, and a word is patched into another sentence. `cargo xtask fetch minilm`
//! downloads the default model.
//!
//! ```sh
//! cargo run --example part_of_speech -- [MODEL_FOLDER] [CIRCUIT_TO_LOAD]
//! ```

use std::process::Command;

use anyhow::Context;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use ns_circuit::Ablation::{RandomlySampled, ZeroAblate};
use ns_circuit::ModelVariant::{Ablated, CircuitOnly, WholeModel};
use ns_circuit::{CircuitModel, MaskUnit, rng};
use ns_models::{AnyTransformer, Patch, Site, TextTokenizer, Transformer, cosine_similarity};
use ns_probe::{ActivationCache, CircuitProbe, CircuitProbeConfig, KnnConfig, Probe, ProbeBatch, Support};
use ns_probe::{evaluate_knn, mask_targets};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
const SITE: &str = "attn_update_1";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| format!("{MODELS}/minilm"));
    arguments.next().map_or_else(|| find(&folder), |file| ablate(&folder, &file))
}

/// Trains the masks and saves the circuit, and starts the second process.
fn find(folder: &str) -> anyhow::Result<()> {
    let device = Device::default().autodiff();
    let mut config = CircuitProbeConfig::new(SITE.parse()?, vec!["encoder.layer.1.attention.*".into()])?;
    (config.circuit_config.mask_unit, config.circuit_config.l0_lambda) = (MaskUnit::Neuron, 1e-6);
    let mut probe = CircuitProbe::new(config, AnyTransformer::load_base(folder, &device)?)?;
    let words = read(folder, "train", &device)?;
    // Below the masks the model is frozen. The cache computes that part once per sentence, not once per epoch.
    let (mut cache, mut optimizer) = (ActivationCache::with_megabytes(256), AdamWConfig::new().init());
    for epoch in 0..10 {
        probe.circuit_mut().set_temperature(200_f32.powf(epoch as f32 / 10.0))?;
        let order = rng::permutation(&mut rng::stream(0, "order", epoch, 0), words.labels.len());
        for rows in order.chunks_exact(128) {
            let batch = words.select(rows)?;
            let frozen = probe.cached_activations(&mut cache, rows, &batch)?;
            let gradients = probe.losses_from(&frozen, &batch)?.backward()?;
            probe = optimizer.step(5e-3, probe.clone(), GradientsParams::from_grads(gradients, &probe));
        }
        println!("epoch {}: {} weights in the circuit", epoch + 1, probe.circuit().l0().weights);
    }
    let file = tempfile::NamedTempFile::new()?;
    probe.circuit().save(file.path())?;
    let second = Command::new(std::env::current_exe()?).arg(folder).arg(file.path()).status()?;
    second.success().then_some(()).context("the second process failed")
}

/// Loads the circuit. Reports what it encodes, and what the model loses without it.
fn ablate(folder: &str, file: &str) -> anyhow::Result<()> {
    let device = Device::default();
    let base = AnyTransformer::load_base(folder, &device)?;
    let (targets, site) = (mask_targets(&base), SITE.parse::<Site>()?);
    let last = format!("mlp_stream_{}", base.n_layers() - 1).parse::<Site>()?;
    let circuit = CircuitModel::load(file, base, &targets)?;
    let (train, test) = (read(folder, "train", &device)?, read(folder, "test", &device)?);
    let knn = KnnConfig { support: Support::All, ..KnnConfig::per_class(1, 0) };
    let [without, random] = [ZeroAblate, RandomlySampled].map(Ablated); // random removes as many neurons
    for (at, variant) in [(site, WholeModel), (site, CircuitOnly), (last, WholeModel), (last, without), (last, random)]
    {
        let model = circuit.model_as(variant)?;
        let [remembered, asked] = [train.vectors_at(&model, at)?, test.vectors_at(&model, at)?];
        let report = evaluate_knn((remembered, &train.labels), (asked, &test.labels), &knn)?;
        println!("1-NN accuracy {:.3} at {at}, {variant:?}", report.test_accuracy);
    }
    patch(circuit.base(), &test.select(&[0, 1])?, last)
}

/// Replaces the first of two words by the second after the first block, and compares both at the last site.
fn patch(model: &AnyTransformer, words: &ProbeBatch, last: Site) -> anyhow::Result<()> {
    let (site, word) = ("mlp_stream_0".parse()?, words.selected_positions()[0][0]);
    let second = words.vectors_at(model, site)?.slice_dim(0, 1..2).unsqueeze_dim(0);
    let patch = Patch::new(site, 0..1, word..word + 1, second);
    let similarity =
        |words: Tensor<2>| cosine_similarity(words.clone(), words).slice([0..1, 1..2]).into_scalar::<f32>();
    let patched = similarity(words.vectors_with(model, last, patch)?);
    println!("similarity of two words {:.3}, patched {patched:.3}", similarity(words.vectors_at(model, last)?));
    Ok(())
}

/// Reads up to 800 rows of one set of `text,start,end,label,word,split`, with byte offsets of the word in its text.
fn read(folder: &str, set: &str, device: &Device) -> anyhow::Result<ProbeBatch> {
    let rows = csv::Reader::from_path(format!("{MODELS}/wordnet/examples.csv"))?.into_records();
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let (mut texts, mut spans, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| &row[5] == set).take(800) {
        texts.push(&row[0]);
        spans.push(row[1].parse()?..row[2].parse()?);
        let class = ["adjective", "adverb", "noun", "verb"].iter().position(|class| *class == &row[3]);
        labels.push(class.context("unknown part of speech")? as i64);
    }
    let texts = TextTokenizer::from_folder(folder)?.encode(&texts, device)?;
    ProbeBatch::from_words(&texts, &spans, &labels).map_err(Into::into)
}
