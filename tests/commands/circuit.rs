//! Tests of `circuit show` and `circuit compare` on the shipped model, with masks that the tests create.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use ns_circuit::{CircuitConfig, CircuitModel, MaskUnit, save_masks};
use ns_models::AnyModel;
use ns_probe::mask_targets;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    golden,
    work::{failure, path, success, xtask, xtask_in},
};

pub(super) const ATTENTION: [&str; 2] = ["transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_proj"];
const MLP: [&str; 2] = ["transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj"];

fn model() -> PathBuf {
    golden().join("../../models/arithmetic")
}

/// Two run folders as `train` writes them: `squares` masks the attention, `sums` the attention and the MLP.
fn runs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "squares", &ATTENTION, |entry| entry % 4 == 0);
    run(folder.path(), "sums", &[&ATTENTION[..], &MLP[..]].concat(), |entry| entry % 2 == 0);
    folder
}

/// Writes a run folder with a circuit in the shipped model.
pub(super) fn run(folder: &Path, name: &str, layers: &[&str], keep: impl Fn(usize) -> bool) {
    let run = folder.join(name);
    std::fs::create_dir_all(&run).unwrap();
    let config = CircuitConfig {
        target_layers: layers.iter().map(ToString::to_string).collect(),
        mask_unit: MaskUnit::Neuron,
        ..CircuitConfig::default()
    };
    let base = AnyModel::load(model(), &Device::default()).unwrap();
    let targets = mask_targets(&base);
    let mut circuit = CircuitModel::new(config.clone(), base, &targets).unwrap();
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        let values: Vec<f32> = (0..data.num_elements()).map(|entry| if keep(entry) { 0.5 } else { -0.5 }).collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    circuit.load_mask_params(&params).unwrap();
    save_masks(run.join("masks.safetensors"), &circuit).unwrap();
    std::fs::write(run.join("probe_config.json"), json!({ "circuit_config": config }).to_string()).unwrap();
    std::fs::write(run.join("recipe.toml"), format!("model = {:?}\n", path(&model()))).unwrap();
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap()
}

#[test]
fn a_circuit_is_drawn_in_its_runs_folder() {
    let runs = runs();
    for (by, expected) in [("tensor", "attn.c_attn"), ("block", "head 3"), ("layer", "layer 0")] {
        let printed = success(&xtask_in(runs.path(), ["circuit", "show", "squares", "--by", by]));
        assert_eq!(printed.trim().lines().collect::<Vec<_>>(), ["squares/circuit.svg", "squares/circuit.png"]);
        let svg = String::from_utf8(read(&runs, "squares/circuit.svg")).unwrap();
        assert!(svg.contains(expected) && svg.contains("not masked"), "{by}");
        assert!(read(&runs, "squares/circuit.png").starts_with(b"\x89PNG"));
    }
    success(&xtask_in(runs.path(), ["circuit", "show", "squares", "--masked-only", "--heat-map", "--out", "heat.svg"]));
    let svg = String::from_utf8(read(&runs, "heat.svg")).unwrap();
    assert!(svg.contains("head 3") && !svg.contains("MLP") && svg.contains("of the masked parameters"));
    assert!(!runs.path().join("heat.png").exists());
}

#[test]
fn two_circuits_share_a_figure_and_a_page() {
    let runs = runs();
    std::fs::write(
        runs.path().join("viz.toml"),
        "model_labels = [\"a²\", \"a+b\"]\nintersect_color = \"#123456\"\nalpha = 1.0\ntitle = \"Both\"\noutfile = \"both\"\nformat = \"svg\"\n",
    )
    .unwrap();
    let printed =
        success(&xtask_in(runs.path(), ["circuit", "show", "squares", "sums", "--style", "viz.toml", "--by", "block"]));
    assert_eq!(printed.trim(), "both.svg");
    let svg = String::from_utf8(read(&runs, "both.svg")).unwrap();
    for text in ["#123456", "only a²", "only a+b", "Both", "unused"] {
        assert!(svg.contains(text), "{text}");
    }
    let page = success(&xtask_in(runs.path(), ["circuit", "show", "squares", "sums", "--text"]));
    for text in ["Circuits squares and sums", "1  only squares", "mlp.c_fc", "0/25/25", "0/0/50"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let page = success(&xtask_in(runs.path(), ["circuit", "show", "squares", "--text", "--heat-map"]));
    assert!(page.contains("head 2") && page.contains("MLP") && page.contains("–"), "{page}");
}

#[test]
fn a_comparison_is_a_table_and_numbers() {
    let runs = runs();
    let table = success(&xtask_in(runs.path(), ["circuit", "compare", "squares", "sums", "--json", "overlap.json"]));
    let line = table.lines().find(|line| line.starts_with("| layer 0")).unwrap();
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    assert_eq!(cells[2..9], ["65,536", "16,384", "32,768", "16,384", "0.500", "8,192", "2.000"]);
    assert!(table.contains("masked in the second circuit only"), "{table}");
    assert!(table.contains("transformer.h.0.mlp.c_fc.weight"), "{table}");
    let json: Value = serde_json::from_slice(&read(&runs, "overlap.json")).unwrap();
    assert_eq!(json["total"]["both"], 16384);
}

#[test]
fn masks_alone_need_model_and_configuration() {
    let runs = runs();
    let lone = runs.path().join("lone");
    std::fs::create_dir(&lone).unwrap();
    std::fs::copy(runs.path().join("squares/masks.safetensors"), lone.join("mine.safetensors")).unwrap();
    let show = |arguments: &[&str]| {
        let all: Vec<&str> = [&["circuit", "show", "lone/mine.safetensors", "--text"], arguments].concat();
        match all[..] {
            [a, b, c, d] => xtask_in(runs.path(), [a, b, c, d]),
            [a, b, c, d, e, f] => xtask_in(runs.path(), [a, b, c, d, e, f]),
            [a, b, c, d, e, f, g, h] => xtask_in(runs.path(), [a, b, c, d, e, f, g, h]),
            _ => unreachable!("two options at most"),
        }
    };
    let message = failure(&show(&[]));
    assert!(message.contains("--config") && message.contains("probe_config.json"), "{message}");
    let config = ["--config", "squares/probe_config.json"];
    let message = failure(&show(&config));
    assert!(message.contains("--model") && message.contains("lone/mine.safetensors"), "{message}");
    let model = model();
    let page = success(&show(&[config[0], config[1], "--model", path(&model)]));
    assert!(page.contains("mine") && page.contains("attn.c_attn"), "{page}");
}

#[test]
fn masks_of_another_model_say_which_shapes_differ() {
    let runs = runs();
    let other = golden().join("models/gpt2-lm");
    let message = failure(&xtask_in(runs.path(), ["circuit", "show", "squares", "--model", path(&other), "--text"]));
    for text in
        ["squares", "do not fit this model", "c_attn.weight_mask_params", "c_proj.weight_mask_params", "[1, 384]"]
    {
        assert!(message.contains(text), "{text}: {message}");
    }
}

#[test]
fn circuits_of_different_models_share_no_figure_and_no_table() {
    let runs = runs();
    // A run with masks of the same shapes, whose recipe names a model with another MLP width.
    let narrow = runs.path().join("narrow");
    let mut config: Value = serde_json::from_slice(&std::fs::read(model().join("config.json")).unwrap()).unwrap();
    config["n_inner"] = 100.into();
    AnyModel::init(&config, &Device::default()).unwrap().save(&narrow).unwrap();
    run(runs.path(), "elsewhere", &ATTENTION, |entry| entry % 3 == 0);
    std::fs::write(runs.path().join("elsewhere/recipe.toml"), format!("model = {:?}\n", path(&narrow))).unwrap();
    for command in ["show", "compare"] {
        let message = failure(&xtask_in(runs.path(), ["circuit", command, "squares", "elsewhere"]));
        assert!(message.contains("different models") && message.contains("[128, 512] and [128, 100]"), "{message}");
    }
}

#[test]
fn options_that_cannot_work_are_named() {
    let runs = runs();
    for (text, expected) in
        [("alpha = 2.0", "alpha"), ("intersect_color = \"violett\"", "violett"), ("num_heads = 4", "num_heads")]
    {
        std::fs::write(runs.path().join("viz.toml"), text).unwrap();
        let message = failure(&xtask_in(runs.path(), ["circuit", "show", "squares", "--style", "viz.toml"]));
        assert!(message.contains(expected), "{message}");
    }
    let message = failure(&xtask(["circuit", "show", "/no/such/run"]));
    assert!(message.contains("/no/such/run"), "{message}");
    let help = success(&xtask(["circuit", "show", "--help"]));
    for text in ["subnetwork_colors", "figsize", "--heat-map", "--masked-only"] {
        assert!(help.contains(text), "{help}");
    }
}
