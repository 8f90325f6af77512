//! Compares masks on outputs with masks on weights, and known products with computed ones, for every architecture.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData, Tolerance};
use ns_circuit::{MaskUnit, rng};
use ns_models::{AnyTransformer, Component, Location, ModelInputs, Site, Transformer, layer_components, model_types};
use serde_json::{Value, json};

use crate::activation_cache::ActivationCache;
use crate::batch::ProbeBatch;
use crate::circuit_probe::CircuitProbe;
use crate::config::CircuitProbeConfig;
use crate::probe::Probe;

const SEQ: usize = 5;
const EXAMPLES: [usize; 3] = [4, 1, 7];

/// Replaces all parameters by random values; counts the parameters.
struct Randomize(usize);

impl ModuleMapper for Randomize {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let mut stream = rng::stream(0, "parameter", self.0 as u64, 0);
        param.map(|tensor| {
            let shape = tensor.shape();
            let values: Vec<f32> = (0..shape.num_elements()).map(|_| 0.6 * rng::standard_normal(&mut stream)).collect();
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}

fn config(model_type: &str) -> Value {
    match model_type {
        "gpt_neo" => json!({"model_type": model_type, "vocab_size": 8, "hidden_size": 8, "num_heads": 2,
            "num_layers": 2, "intermediate_size": 12, "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 8}),
        _ => json!({"model_type": model_type, "vocab_size": 8, "hidden_size": 8, "num_attention_heads": 2,
            "num_hidden_layers": 2, "intermediate_size": 12, "n_inner": 12, "embedding_size": 8, "image_size": 4,
            "patch_size": 2, "max_position_embeddings": 8, "rotary_pct": 1.0, "pad_token_id": 0}),
    }
}

/// Three sequences with one selected token each, except the second, which has two. For ViT, three images of a class
/// token and four patches.
fn batch(model_type: &str) -> ProbeBatch {
    let device = Device::default().autodiff();
    let inputs = match model_type {
        "vit" => {
            let pixels: Vec<f32> = (0..3 * 48).map(|i| (i as f32 * 0.7).sin()).collect();
            ModelInputs::images(Tensor::from_data(TensorData::new(pixels, [3, 3, 4, 4]), &device))
        }
        _ => ModelInputs::from_ids(&[[1, 2, 3, 4, 5], [2, 7, 6, 1, 3], [5, 5, 2, 1, 6]], &device),
    };
    let mut token_mask = vec![false; 3 * SEQ];
    for token in [1, SEQ, SEQ + 3, 3 * SEQ - 1] {
        token_mask[token] = true;
    }
    ProbeBatch { inputs, token_mask, labels: vec![0, 1, 0, 1], means: Vec::new() }
}

/// A probe with neuron masks on the components of the second block that `is_masked` selects.
fn probe(model_type: &str, site: Site, is_masked: impl Fn(Component) -> bool) -> CircuitProbe<AnyTransformer> {
    let model =
        AnyTransformer::init(&config(model_type), &Device::default().autodiff()).unwrap().map(&mut Randomize(0));
    let in_block = |location: Location| matches!(location, Location::Block { layer: 1, .. });
    let layers = layer_components(&model)
        .into_iter()
        .filter(|parts| in_block(parts.location) && is_masked(parts.slices[0].component));
    let mut config = CircuitProbeConfig::new(site, layers.map(|parts| parts.layer.name).collect()).unwrap();
    config.circuit_config.mask_unit = MaskUnit::Neuron;
    CircuitProbe::new(config, model).unwrap()
}

/// Replaces the mask parameters by random values.
fn with_masks(mut probe: CircuitProbe<AnyTransformer>, seed: u64) -> CircuitProbe<AnyTransformer> {
    let params = probe.circuit().mask_params().into_iter().map(|(name, data)| {
        let mut stream = rng::stream(seed, &name, 0, 0);
        let shape = data.shape().clone();
        let values: Vec<f32> = (0..shape.num_elements()).map(|_| rng::standard_normal(&mut stream)).collect();
        (name, TensorData::new(values, shape))
    });
    let params: BTreeMap<String, TensorData> = params.collect();
    probe.circuit_mut().load_mask_params(&params).unwrap();
    probe
}

/// The vectors with masks on weights: a forward pass without [`crate::output_masks`].
fn with_masked_weights(probe: &CircuitProbe<AnyTransformer>, batch: &ProbeBatch) -> Tensor<2> {
    let vectors = probe.circuit().model().unwrap().vectors_at(probe.site(), 0..SEQ, &batch.inputs).unwrap();
    batch.selected(vectors)
}

/// Gradients of the mask parameters, for a loss that weights each entry of the vectors differently.
fn gradients(probe: &CircuitProbe<AnyTransformer>, vectors: Tensor<2>) -> BTreeMap<String, TensorData> {
    let loss = (vectors.clone() * vectors.clone().detach().sin()).sum();
    probe.circuit().mask_gradients(&loss.backward())
}

/// Calls `check` with the name of every transformer architecture and probes of attention, of the MLP and of both.
fn each_probe(check: impl Fn(&str, CircuitProbe<AnyTransformer>)) {
    for model_type in model_types().into_iter().filter(|name| *name != "resnet") {
        let of_attention = |component| component != Component::Mlp;
        check(model_type, probe(model_type, "attn_update_1".parse().unwrap(), of_attention));
        check(model_type, probe(model_type, "mlp_update_1".parse().unwrap(), |component| component == Component::Mlp));
        check(model_type, probe(model_type, "mlp_stream_1".parse().unwrap(), |_| true));
    }
}

#[test]
fn outputs_are_scaled_as_weights_would_be() {
    let close = |one: &TensorData, other: &TensorData| {
        one.assert_approx_eq::<f32>(other, Tolerance::absolute(2e-4).set_relative(2e-4));
    };
    each_probe(|model_type, probe| {
        let (probe, batch) = (with_masks(probe, 1), batch(model_type));
        let (scaled, expected) = (probe.vectors(&batch).unwrap(), with_masked_weights(&probe, &batch));
        close(&scaled.to_data(), &expected.to_data());
        for ((name, one), (other_name, other)) in gradients(&probe, scaled).iter().zip(&gradients(&probe, expected)) {
            assert_eq!(name, other_name);
            close(one, other);
        }
        let valid = probe.valid();
        let (hard, expected) = (valid.vectors(&batch).unwrap(), with_masked_weights(&valid, &batch));
        close(&hard.to_data(), &expected.to_data());
    });
}

#[test]
fn known_products_are_the_same_bits_whatever_the_masks() {
    each_probe(|model_type, probe| {
        let (mut cache, batch) = (ActivationCache::with_megabytes(1), batch(model_type));
        for seed in [1, 2, 3] {
            let probe = with_masks(probe.clone(), seed);
            let computed = probe.vectors(&batch).unwrap().to_data();
            let frozen = probe.cached_activations(&mut cache, &EXAMPLES, &batch).unwrap();
            // In a parallel block the MLP reads the block input, whose frozen activations hold all tokens, but its own
            // products are computed for the selected tokens only.
            let expected = model_type != "gpt_neox" || probe.site().to_string() != "mlp_update_1";
            assert_eq!(!frozen.products.keys().is_empty(), expected, "{model_type}: products before {}", probe.site());
            probe.vectors_from(&frozen, &batch).unwrap().to_data().assert_eq(&computed, true);
        }
    });
}

#[test]
fn batches_that_read_other_tokens_get_their_own() {
    each_probe(|model_type, probe| {
        let (mut cache, some) = (ActivationCache::with_megabytes(1), batch(model_type));
        let all = ProbeBatch { token_mask: vec![true; 3 * SEQ], labels: vec![0; 3 * SEQ], ..some.clone() };
        let others = [2, 3, 5];
        let batches = [(&some, EXAMPLES), (&all, others), (&some, EXAMPLES), (&all, others)];
        // The selected tokens belong to an example, so the same sequences with other selected tokens are other
        // examples.
        for (batch, examples) in batches {
            let frozen = probe.cached_activations(&mut cache, &examples, batch).unwrap();
            let computed = probe.vectors(batch).unwrap().to_data();
            probe.vectors_from(&frozen, batch).unwrap().to_data().assert_eq(&computed, true);
        }
    });
}

#[test]
fn a_base_model_has_no_mask_to_scale_by() {
    each_probe(|model_type, probe| {
        let (mut cache, batch) = (ActivationCache::with_megabytes(1), batch(model_type));
        let expected = probe.unmasked_vectors(&batch).unwrap().to_data();
        let frozen = probe.cached_activations(&mut cache, &EXAMPLES, &batch).unwrap();
        let unmasked = probe.unmasked_vectors_from(&frozen, &batch).unwrap().to_data();
        unmasked.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    });
}

#[test]
fn frozen_activations_evict_products() {
    let probe = with_masks(probe("gpt2", "attn_update_1".parse().unwrap(), |component| component != Component::Mlp), 1);
    let batch = batch("gpt2");
    let hidden = 3 * SEQ * probe.circuit().model().unwrap().hidden_size() * size_of::<f32>();
    // The bound fits the frozen activations of one batch with its products, or the frozen activations of four batches.
    let mut cache = ActivationCache::with_bytes(4 * hidden);
    probe.cached_activations(&mut cache, &EXAMPLES, &batch).unwrap();
    assert!(cache.used() > hidden && cache.used() <= 4 * hidden, "{}", cache.used());
    let computed = probe.vectors(&batch).unwrap().to_data();
    for examples in [[0, 2, 3], [5, 6, 8], [9, 10, 11], EXAMPLES] {
        let frozen = probe.cached_activations(&mut cache, &examples, &batch).unwrap();
        probe.vectors_from(&frozen, &batch).unwrap().to_data().assert_eq(&computed, true);
        assert!(cache.used() <= 4 * hidden, "{}", cache.used());
    }
    assert_eq!(cache.used(), 4 * hidden, "only frozen activations are left");
}
