//! Tests of circuit figures on small models of every family, including two mistakes of NeuroSurgeon's visualizer that
//! are not repeated here.

use burn::tensor::{Device, TensorData};
use ns_circuit::{CircuitConfig, CircuitModel, MaskUnit};
use ns_models::{AnyModel, Model};
use ns_probe::mask_targets;
use serde_json::{Value, json};

use super::count::{grid, heat_panel};
use super::*;
use crate::error::TrainError;
use crate::report::figures::{Cells, CircuitCell, CircuitGrid};

/// A GPT-2 of two layers. Weight shapes: c_attn 6 × 18, attn.c_proj 6 × 6, c_fc 6 × 10, mlp.c_proj 10 × 6.
fn gpt2() -> Value {
    json!({"model_type": "gpt2", "architectures": ["GPT2ForTokenClassification"], "vocab_size": 11, "n_embd": 6,
        "n_layer": 2, "n_head": 3, "n_inner": 10, "n_positions": 9, "num_labels": 3})
}

/// A circuit with masks on `layers`. A mask keeps the entries for which `keep(name, index)` is true.
fn circuit(model: &Value, layers: &[&str], config: CircuitConfig, keep: impl Fn(&str, usize) -> bool) -> CircuitView {
    let model = AnyModel::init(model, &Device::default()).unwrap();
    let config = CircuitConfig { target_layers: layers.iter().map(ToString::to_string).collect(), ..config };
    let targets = mask_targets(&model);
    let mut circuit = CircuitModel::new(config, model, &targets).unwrap();
    let mut params = circuit.mask_params();
    for (name, data) in &mut params {
        let values: Vec<f32> =
            (0..data.num_elements()).map(|entry| if keep(name, entry) { 1.0 } else { -1.0 }).collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    circuit.load_mask_params(&params).unwrap();
    CircuitView::new(&circuit)
}

const BLOCK_0: [&str; 4] = [
    "transformer.h.0.attn.c_attn",
    "transformer.h.0.attn.c_proj",
    "transformer.h.0.mlp.c_fc",
    "transformer.h.0.mlp.c_proj",
];

fn by(plot_granularity: Granularity) -> VisualizerConfig {
    VisualizerConfig { plot_granularity, ..VisualizerConfig::default() }
}

fn cell(grid: &CircuitGrid, row: &str, column: &str) -> CircuitCell {
    let row = grid.rows.iter().find(|candidate| candidate.label == row).unwrap();
    let index = grid.columns.iter().position(|name| name == column).unwrap_or(0);
    match &row.cells {
        Cells::Columns(cells) => cells[index].unwrap(),
        Cells::Whole(cell) => *cell,
    }
}

fn plain(first: u64, unused: u64) -> CircuitCell {
    CircuitCell { first, unused, ..CircuitCell::default() }
}

#[test]
fn both_layers_of_the_mlp_count_once() {
    // All 60 weights of c_fc and none of the 60 weights of c_proj are in the circuit. NeuroSurgeon counts c_fc twice
    // and c_proj not at all, so its bar is full.
    let view = circuit(&gpt2(), &BLOCK_0, CircuitConfig::default(), |name, _| name.contains("c_fc"));
    let grid = grid(&[view], &by(Granularity::Block));
    assert_eq!(cell(&grid, "layer 0", "MLP"), plain(60, 60));
}

#[test]
fn a_single_circuits_layer_is_the_sum_of_its_tensors() {
    let view = circuit(&gpt2(), &BLOCK_0, CircuitConfig::default(), |name, _| name.contains("c_attn"));
    let tensors = grid(std::slice::from_ref(&view), &by(Granularity::Tensor));
    assert_eq!(cell(&tensors, "layer 0", "attn.c_attn"), plain(108, 0));
    assert_eq!(cell(&tensors, "layer 0", "mlp.c_proj"), plain(0, 60));
    let layers = grid(&[view], &by(Granularity::Layer));
    assert_eq!(cell(&layers, "layer 0", ""), plain(108, 36 + 60 + 60));
    assert!(layers.columns.is_empty());
}

#[test]
fn heads_of_the_fused_projection_have_their_query_key_and_value() {
    // Head 1 has the columns 2–3 (queries), 8–9 (keys) and 14–15 (values).
    let of_head_1 = |name: &str, entry: usize| name.contains("c_attn") && [2, 3, 8, 9, 14, 15].contains(&(entry % 18));
    let view = circuit(&gpt2(), &BLOCK_0, CircuitConfig::default(), of_head_1);
    let grid = grid(std::slice::from_ref(&view), &by(Granularity::Block));
    assert_eq!(cell(&grid, "layer 0", "head 0"), plain(0, 36 + 12));
    assert_eq!(cell(&grid, "layer 0", "head 1"), plain(36, 12));
    assert_eq!(grid.columns, ["head 0", "head 1", "head 2", "MLP"]);
    let panel = heat_panel(&view, &VisualizerConfig::default());
    assert_eq!(panel.rows[0], ("layer 0".into(), vec![Some(0.0), Some(0.75), Some(0.0), Some(0.0)]));
    assert_eq!(panel.rows[1], ("layer 1".into(), vec![None; 4]));
}

#[test]
fn neurons_count_for_all_their_weights() {
    let config = CircuitConfig { mask_unit: MaskUnit::Neuron, ..CircuitConfig::default() };
    let view = circuit(&gpt2(), &["transformer.h.0.mlp.c_fc"], config, |_, neuron| neuron < 4);
    assert_eq!(cell(&grid(&[view], &by(Granularity::Tensor)), "layer 0", "mlp.c_fc"), plain(24, 36));
}

#[test]
fn two_circuits_share_and_differ_and_what_one_masks_is_not_in_the_other() {
    let first = circuit(&gpt2(), &BLOCK_0[..2], CircuitConfig::default(), |_, entry| entry % 2 == 0);
    let second = circuit(&gpt2(), &BLOCK_0[1..3], CircuitConfig::default(), |_, entry| entry % 3 == 0);
    let views = [first, second];
    let found = grid(&views, &by(Granularity::Tensor));
    assert_eq!(cell(&found, "layer 0", "attn.c_attn"), plain(54, 54));
    let shared = CircuitCell { first: 12, both: 6, second: 6, unused: 12, unmasked: 0 };
    assert_eq!(cell(&found, "layer 0", "attn.c_proj"), shared);
    assert_eq!(cell(&found, "layer 0", "mlp.c_fc"), CircuitCell { second: 20, unused: 40, ..CircuitCell::default() });
    let unmasked = CircuitCell { unmasked: 60, ..CircuitCell::default() };
    assert_eq!(cell(&found, "layer 0", "mlp.c_proj"), unmasked);
    assert_eq!(cell(&found, "classifier", ""), CircuitCell { unmasked: 18, ..CircuitCell::default() });
    assert_eq!(found.rows.len(), 3);
    let masked = grid(&views, &VisualizerConfig { plot_full_network: false, ..by(Granularity::Tensor) });
    assert_eq!((masked.rows.len(), masked.columns.len()), (1, 3));
}

#[test]
fn biases_count_when_they_are_asked_for() {
    let config = CircuitConfig { mask_bias: true, ..CircuitConfig::default() };
    let view = circuit(&gpt2(), &BLOCK_0, config, |name, _| name.contains("bias"));
    let count = |visualize_bias| {
        let config = VisualizerConfig { visualize_bias, ..by(Granularity::Block) };
        grid(std::slice::from_ref(&view), &config)
    };
    assert_eq!(cell(&count(false), "layer 0", "head 2"), plain(0, 48));
    let with_bias = count(true);
    assert_eq!(cell(&with_bias, "layer 0", "head 2"), plain(6, 48));
    assert_eq!(cell(&with_bias, "layer 0", "MLP"), plain(16, 120));
    assert_eq!(cell(&with_bias, "layer 0", "all heads"), plain(6, 0));
}

#[test]
fn every_family_is_counted_whole() {
    let families = [
        gpt2(),
        json!({"model_type": "gpt_neo", "hidden_size": 6, "num_heads": 3, "num_layers": 2, "vocab_size": 7,
            "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 8, "intermediate_size": 8}),
        json!({"model_type": "gpt_neox", "hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 1,
            "vocab_size": 7, "intermediate_size": 8, "rotary_pct": 1.0}),
        json!({"model_type": "mpnet", "hidden_size": 6, "num_attention_heads": 3, "num_hidden_layers": 1,
            "vocab_size": 7, "intermediate_size": 8}),
        json!({"model_type": "convbert", "hidden_size": 12, "num_attention_heads": 4, "num_hidden_layers": 1,
            "vocab_size": 7, "intermediate_size": 8, "embedding_size": 5, "conv_kernel_size": 3}),
        json!({"model_type": "vit", "image_size": 4, "patch_size": 2, "hidden_size": 6, "num_attention_heads": 3,
            "num_hidden_layers": 2, "intermediate_size": 4}),
        json!({"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4, 8], "depths": [2, 1]}),
    ];
    for family in families {
        let layers = AnyModel::init(&family, &Device::default()).unwrap().maskable_layers();
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let view = circuit(&family, &names, CircuitConfig::default(), |_, entry| entry % 3 == 0);
        let weights: u64 = layers.iter().map(|layer| layer.shape.iter().product::<usize>() as u64).sum();
        let kept: u64 = layers.iter().map(|layer| layer.shape.iter().product::<usize>().div_ceil(3) as u64).sum();
        for granularity in [Granularity::Tensor, Granularity::Block, Granularity::Layer] {
            let sum = grid(std::slice::from_ref(&view), &by(granularity)).sum();
            assert_eq!(sum, plain(kept, weights - kept), "{family} {granularity:?}");
        }
        let page = circuit_page(&[view], &by(Granularity::Block)).unwrap();
        assert!(page.contains(if family["model_type"] == "resnet" { "stage 0 layer 1" } else { "head 1" }), "{page}");
    }
}

#[test]
fn circuits_of_different_models_are_refused_by_name() {
    let first = circuit(&gpt2(), &BLOCK_0, CircuitConfig::default(), |_, _| true);
    let mut wider = gpt2();
    wider["n_inner"] = 12.into();
    let second = circuit(&wider, &BLOCK_0, CircuitConfig::default(), |_, _| true);
    let error = circuit_page(&[first.clone(), second], &by(Granularity::Block)).unwrap_err();
    assert!(matches!(&error, TrainError::DifferentModels { differences } if differences.len() == 4), "{error}");
    assert!(error.to_string().contains("`transformer.h.0.mlp.c_fc` is [6, 10] and [6, 12]"), "{error}");
    let mut shallow = gpt2();
    shallow["n_layer"] = 1.into();
    let second = circuit(&shallow, &BLOCK_0, CircuitConfig::default(), |_, _| true);
    let error = heat_map_page(&[first.clone(), second.clone()], &by(Granularity::Block)).unwrap_err();
    assert!(error.to_string().contains("only the first has `transformer.h.1.attn.c_attn`"), "{error}");
    let error = second.check_same_model(&first).unwrap_err();
    assert!(error.to_string().contains("only the second has"), "{error}");
    let three = [first.clone(), first.clone(), first];
    assert!(matches!(circuit_page(&three, &by(Granularity::Block)), Err(TrainError::Setting { .. })));
    assert!(matches!(circuit_page(&[], &by(Granularity::Block)), Err(TrainError::Setting { .. })));
}

#[test]
fn an_overlap_follows_the_order_of_the_model() {
    let mut deep = gpt2();
    deep["n_layer"] = 11.into();
    let names = [10, 2].map(|layer| format!("transformer.h.{layer}.attn.c_proj"));
    let layers: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = circuit(&deep, &layers, CircuitConfig::default(), |_, entry| entry % 2 == 0);
    let second = circuit(&deep, &layers, CircuitConfig::default(), |_, entry| entry < 18);
    let comparison = first.compare(&second).unwrap();
    let groups: Vec<&str> = comparison.groups.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(groups, ["layer 2", "layer 10"]);
    assert_eq!(comparison.tensors[1].0, "transformer.h.10.attn.c_proj.weight");
    assert_eq!((comparison.total.both, comparison.total.jaccard()), (18, 18.0 / 54.0));
    assert_eq!(comparison.total.over_chance(), Some(1.0));
}
