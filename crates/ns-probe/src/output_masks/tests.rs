//! Masks on outputs give what masks on weights give, and known products what computed ones give, in every family.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData, Tolerance};
use ns_circuit::{CircuitModel, MaskUnit, rng};
use ns_models::{AnyTransformer, Component, Location, ModelInputs, Site, Transformer, layer_components, model_types};
use serde_json::{Value, json};

use crate::activation_cache::ActivationCache;
use crate::batch::ProbeBatch;
use crate::circuit_probe::CircuitProbe;
use crate::config::CircuitProbeConfig;

const SEQ: usize = 5;
const EXAMPLES: [usize; 3] = [4, 1, 7];

/// Draws all parameters.
struct Draw(usize);

impl ModuleMapper for Draw {
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

/// Three sequences, the middle one read twice; ViT's are four patches behind the class token.
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
    for place in [1, SEQ, SEQ + 3, 3 * SEQ - 1] {
        token_mask[place] = true;
    }
    ProbeBatch { inputs, token_mask, labels: vec![0, 1, 0, 1] }
}

/// A probe with neuron masks on the second block's attention, MLP or both.
fn probe(model_type: &str, site: Site, is_masked: impl Fn(Component) -> bool) -> CircuitProbe<AnyTransformer> {
    let model = AnyTransformer::init(&config(model_type), &Device::default().autodiff()).unwrap().map(&mut Draw(0));
    let in_block = |location: Location| matches!(location, Location::Block { layer: 1, .. });
    let layers = layer_components(&model)
        .into_iter()
        .filter(|parts| in_block(parts.location) && is_masked(parts.slices[0].component));
    let mut config = CircuitProbeConfig::new(site, layers.map(|parts| parts.layer.name).collect()).unwrap();
    config.circuit_config.mask_unit = MaskUnit::Neuron;
    CircuitProbe::new(config, model).unwrap()
}

/// The same with other masks.
fn with_masks(probe: CircuitProbe<AnyTransformer>, seed: u64) -> CircuitProbe<AnyTransformer> {
    let draw = |circuit: CircuitModel<AnyTransformer>| {
        let drawn = circuit.mask_params().into_iter().map(|(name, data)| {
            let mut stream = rng::stream(seed, &name, 0, 0);
            let shape = data.shape().clone();
            let values: Vec<f32> = (0..shape.num_elements()).map(|_| rng::standard_normal(&mut stream)).collect();
            (name, TensorData::new(values, shape))
        });
        let drawn: BTreeMap<String, TensorData> = drawn.collect();
        circuit.load_mask_params(&drawn)
    };
    probe.try_with_circuit(draw).unwrap()
}

/// The vectors with masks on weights: a plain walk does not know better.
fn with_masked_weights(probe: &CircuitProbe<AnyTransformer>, batch: &ProbeBatch) -> Tensor<2> {
    let vectors = probe.circuit().model().unwrap().vectors_at(probe.site(), 0..SEQ, &batch.inputs).unwrap();
    batch.selected(vectors)
}

/// Gradients of the masks, for a loss that weighs all vectors otherwise.
fn gradients(probe: &CircuitProbe<AnyTransformer>, vectors: Tensor<2>) -> BTreeMap<String, TensorData> {
    let loss = (vectors.clone() * vectors.clone().detach().sin()).sum();
    probe.circuit().mask_gradients(&loss.backward())
}

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
            // A parallel block's MLP reads the block's input, but at the tokens that are read only.
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
        let turns = [(&some, EXAMPLES), (&all, others), (&some, EXAMPLES), (&all, others)];
        // What is read belongs to the examples; so these are others, though they look the same.
        for (batch, examples) in turns {
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
fn products_make_room_for_prefixes() {
    let probe = with_masks(probe("gpt2", "attn_update_1".parse().unwrap(), |component| component != Component::Mlp), 1);
    let batch = batch("gpt2");
    let hidden = 3 * SEQ * probe.circuit().model().unwrap().hidden_size() * size_of::<f32>();
    // Room for the frozen of this batch and its products, but not for more frozen beside them.
    let mut cache = ActivationCache::with_bytes(4 * hidden);
    probe.cached_activations(&mut cache, &EXAMPLES, &batch).unwrap();
    assert!(cache.used() > hidden && cache.used() <= 4 * hidden, "{}", cache.used());
    let computed = probe.vectors(&batch).unwrap().to_data();
    for examples in [[0, 2, 3], [5, 6, 8], [9, 10, 11], EXAMPLES] {
        let frozen = probe.cached_activations(&mut cache, &examples, &batch).unwrap();
        probe.vectors_from(&frozen, &batch).unwrap().to_data().assert_eq(&computed, true);
        assert!(cache.used() <= 4 * hidden, "{}", cache.used());
    }
    assert_eq!(cache.used(), 4 * hidden, "frozen alone");
}
