//! Tests of `circuit import`, `export` and `materialize` with state dicts of the Python reference
//! (tests/fixtures/exchange).
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // the helpers for recipes are used by other tests
#[path = "support/work.rs"]
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use burn::tensor::{Device, TensorData};
use ns_models::{AnyModel, Checkpoint, Model, ModelInputs, save_tensors};
use ns_train::load_circuit;
use serde_json::Value;
use tempfile::TempDir;
use work::{failure, path, success, xtask};

type Tensors = BTreeMap<String, TensorData>;

/// A state dict of each class of the reference, and the folder of its base model.
const CASES: [(&str, &str); 4] = [
    ("circuit-model", "gpt2"),
    ("circuit-model-resnet", "resnet"),
    ("circuit-probe", "gpt2"),
    ("subnetwork-probe", "gpt2"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/exchange").join(name)
}

fn read(file: &Path) -> Tensors {
    let checkpoint = Checkpoint::open_file(file).unwrap();
    let read = |name: &str| (name.to_string(), checkpoint.data(name).unwrap().unwrap());
    checkpoint.names().map(read).collect()
}

/// Imports a case; returns a temporary folder with the circuit in its subfolder `circuit`.
fn imported((case, model): (&str, &str)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (source, model, out) = (fixture(case), fixture(model), folder.path().join("circuit"));
    let printed = success(&xtask(["circuit", "import", path(&source), "--model", path(&model), "--out", path(&out)]));
    assert!(printed.contains("base tensors of the state dict are equal to those of"), "{printed}");
    folder
}

/// Returns a copy of a fixture's folder, which a test may corrupt.
fn copy(case: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture(case)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

/// Runs `circuit import`, which must fail and write nothing, and returns its message.
#[track_caller]
fn refused(source: &Path, model: &str) -> String {
    let out = tempfile::tempdir().unwrap();
    let (model, target) = (fixture(model), out.path().join("circuit"));
    let message = failure(&xtask(["circuit", "import", path(source), "--model", path(&model), "--out", path(&target)]));
    assert!(!target.exists(), "a failed import wrote files");
    message
}

mod from_the_reference {
    use super::*;

    #[test]
    fn every_class_gives_its_l0_and_its_outputs() {
        for (case, model) in CASES {
            let folder = imported((case, model));
            let circuit = load_circuit(folder.path().join("circuit"), Some(&fixture(model)), &Device::default());
            let circuit = circuit.unwrap();
            let text = std::fs::read_to_string(fixture(case).join("expected.json")).unwrap();
            let expected: Value = serde_json::from_str(&text).unwrap();
            let l0 = circuit.l0();
            let sizes = ["total_l0", "max_l0"].map(|key| expected[key].as_f64().unwrap());
            assert_eq!(sizes, [l0.weights as f64, l0.max_weights as f64]);
            let layers = l0.layers.iter().map(|layer| (layer.name.clone(), layer.weights as f64)).collect();
            assert_eq!(serde_json::from_value::<BTreeMap<String, f64>>(expected["layers"].clone()).unwrap(), layers);
            let tensors = read(&fixture(case).join("expected.safetensors"));
            for (options, key) in [(&[][..], "logits"), (&["--complement"], "zero_ablate.logits")] {
                let out = folder.path().join(key);
                materialize(&folder.path().join("circuit"), model, &out, options);
                assert_close(&logits(&out, &tensors), &tensors[key], &format!("{case}, {key}"));
            }
        }
    }

    #[test]
    fn one_name_per_tensor_is_enough_and_classifiers_and_samples_are_ignored() {
        let keys = |case: &str| read(&fixture(case).join("state_dict.safetensors")).into_keys().collect::<Vec<_>>();
        let subnetwork = keys("subnetwork-probe");
        assert!(subnetwork.contains(&"probe.0.weight".to_string()));
        assert!(!subnetwork.iter().any(|key| key.ends_with("_mask_params") && !key.contains(".to_hook.h.")));
        assert!(keys("circuit-model").iter().any(|key| key.ends_with(".sampled_weight_mask_params")));
        let probe = keys("circuit-probe");
        assert!(probe.iter().any(|key| key.starts_with("wrapped_model.wrapped_model.wrapped_model.transformer.h.")));
    }

    fn materialize(circuit: &Path, model: &str, out: &Path, options: &[&str]) {
        let model = fixture(model);
        let mut arguments = vec!["circuit", "materialize", path(circuit), "--model", path(&model), "--out", path(out)];
        arguments.extend(options);
        let output = work::command(circuit, []).args(arguments).output().unwrap();
        success(&output);
    }

    fn logits(folder: &Path, inputs: &Tensors) -> TensorData {
        let device = Device::default();
        let inputs = ModelInputs::from_named(inputs, &device).unwrap();
        AnyModel::load(folder, &device).unwrap().logits(&inputs).unwrap().unwrap().into_data()
    }

    fn assert_close(found: &TensorData, expected: &TensorData, what: &str) {
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let differences = found.iter::<f32>().zip(expected.iter::<f32>()).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f32::max);
        assert!(largest <= 1e-4, "{what}: {largest}");
    }
}

mod round_trip {
    use super::*;

    #[test]
    fn of_masks_is_bit_exact_with_any_prefix() {
        for case in CASES {
            let folder = imported(case);
            let first = read(&folder.path().join("circuit/masks.safetensors"));
            for prefix in ["", "wrapped_model.", "wrapped_model.wrapped_model.wrapped_model."] {
                let (model, out) = (fixture(case.1), folder.path().join("exported"));
                let source = folder.path().join("circuit");
                success(&xtask([
                    "circuit",
                    "export",
                    path(&source),
                    "--model",
                    path(&model),
                    "--out",
                    path(&out),
                    "--prefix",
                    prefix,
                ]));
                let exported = read(&out.join("masks.safetensors"));
                let expected: Tensors = first.iter().map(|(k, v)| (format!("{prefix}{k}"), v.clone())).collect();
                assert_eq!(exported, expected);
                let again = folder.path().join("again");
                success(&xtask(["circuit", "import", path(&out), "--model", path(&model), "--out", path(&again)]));
                for name in ["masks.safetensors", "circuit_config.json"] {
                    let bytes = |circuit: &str| std::fs::read(folder.path().join(circuit).join(name)).unwrap();
                    assert_eq!(bytes("again"), bytes("circuit"), "{case:?} {name}");
                }
            }
        }
    }

    #[test]
    fn of_a_state_dict_has_the_references_keys_and_values() {
        for case in ["circuit-model", "circuit-model-resnet"] {
            let model = if case.ends_with("resnet") { "resnet" } else { "gpt2" };
            let folder = imported((case, model));
            let (source, out) = (folder.path().join("circuit"), folder.path().join("exported"));
            let model = fixture(model);
            success(&xtask([
                "circuit",
                "export",
                path(&source),
                "--model",
                path(&model),
                "--out",
                path(&out),
                "--state-dict",
            ]));
            let theirs = read(&fixture(case).join("state_dict.safetensors"));
            let ours = read(&out.join("state_dict.safetensors"));
            // A CircuitModel that has sampled no ablation lacks these tensors.
            let is_sampled = |key: &str| key.contains(".sampled_") || key.ends_with("_mask");
            let keys: BTreeSet<&String> = theirs.keys().filter(|key| !is_sampled(key)).collect();
            assert_eq!(ours.keys().collect::<BTreeSet<_>>(), keys);
            for key in keys.iter().filter(|key| !key.contains("_base_layer")) {
                assert_eq!(ours[*key].shape(), theirs[*key].shape(), "{key}");
                assert!(key.ends_with("num_batches_tracked") || ours[*key] == theirs[*key], "{key}");
            }
            let copies = keys.iter().filter(|key| key.contains("_base_layer")).count();
            assert_eq!(copies > 0, case.ends_with("resnet"));
        }
    }

    #[test]
    fn of_the_configuration_leaves_what_python_takes() {
        let folder = imported(CASES[0]);
        let text = std::fs::read_to_string(folder.path().join("circuit/circuit_config.json")).unwrap();
        let config: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let keys: BTreeSet<&str> = config.keys().map(String::as_str).collect();
        let arguments = ["add_l0", "freeze_base", "l0_lambda", "mask_hparams", "mask_method", "target_layers"];
        assert_eq!(keys, BTreeSet::from(arguments));
        assert_eq!(config["mask_hparams"]["mask_init_percentage"], 0.6);
    }
}

mod bad_input {
    use super::*;

    #[test]
    fn a_state_dict_without_masks_is_rejected() {
        let folder = copy("circuit-model");
        let file = folder.path().join("state_dict.safetensors");
        let mut tensors = read(&file);
        tensors.retain(|key, _| !key.contains("_mask"));
        save_tensors(&file, &tensors).unwrap();
        let message = refused(folder.path(), "gpt2");
        assert!(message.contains("no tensor is a mask parameter") && message.contains("lm_head.weight"), "{message}");
    }

    #[test]
    fn masks_of_another_model_are_rejected_with_their_shapes() {
        let folder = copy("circuit-model");
        let file = folder.path().join("state_dict.safetensors");
        let mut tensors = read(&file);
        for data in tensors.iter_mut().filter(|(key, _)| key.contains("c_fc.weight_mask_params")).map(|(_, data)| data)
        {
            *data = TensorData::new(vec![0.5_f32; 16 * 64], [16, 64]);
        }
        save_tensors(&file, &tensors).unwrap();
        let message = refused(folder.path(), "gpt2");
        for part in ["transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc", "[16, 64]", "[8, 12]"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(refused(&fixture("circuit-model"), "resnet").contains("transformer.h.0.mlp.c_fc"));
    }

    #[test]
    fn another_base_is_rejected_without_any_base() {
        let folder = copy("circuit-probe");
        let file = folder.path().join("state_dict.safetensors");
        let mut tensors = read(&file);
        for (key, data) in &mut tensors {
            if key.ends_with("h.1.mlp.c_proj.weight") {
                let shifted: Vec<f32> = data.iter::<f32>().map(|value| value + 0.25).collect();
                *data = TensorData::new(shifted, data.shape().clone());
            }
        }
        save_tensors(&file, &tensors).unwrap();
        let message = refused(folder.path(), "gpt2");
        for part in ["`transformer.h.1.mlp.c_proj.weight` differs in 96 of 96 values", "2.5e-1"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let (model, out) = (fixture("gpt2"), folder.path().join("out"));
        success(&xtask([
            "circuit",
            "import",
            path(folder.path()),
            "--model",
            path(&model),
            "--out",
            path(&out),
            "--any-base",
        ]));
    }

    #[test]
    fn pickles_are_refused_with_the_way_to_convert_them() {
        let folder = copy("circuit-model");
        let file = folder.path().join("circuit.pt");
        std::fs::write(&file, b"PK\x03\x04 and more of a zip archive").unwrap();
        let message = refused(&file, "gpt2");
        assert!(message.contains("unpickling") && message.contains("save_file"), "{message}");
    }

    #[test]
    fn a_circuit_without_a_configuration_names_the_missing_option() {
        let folder = copy("circuit-model");
        let config = folder.path().join("circuit_config.json");
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::rename(&config, elsewhere.path().join("config.json")).unwrap();
        let message = refused(folder.path(), "gpt2");
        assert!(message.contains("--config") && message.contains("circuit_config.json"), "{message}");
        let (model, out) = (fixture("gpt2"), folder.path().join("out"));
        let config = elsewhere.path().join("config.json");
        success(&xtask([
            "circuit",
            "import",
            path(folder.path()),
            "--model",
            path(&model),
            "--out",
            path(&out),
            "--config",
            path(&config),
        ]));
        assert!(refused(Path::new("/no/such/file.safetensors"), "gpt2").contains("/no/such/file.safetensors"));
    }

    #[test]
    fn compaction_that_residual_connections_forbid_says_so() {
        let folder = imported(("circuit-model", "gpt2"));
        let (source, model, out) = (folder.path().join("circuit"), fixture("gpt2"), folder.path().join("small"));
        let message = failure(&xtask([
            "circuit",
            "materialize",
            path(&source),
            "--model",
            path(&model),
            "--out",
            path(&out),
            "--compact",
        ]));
        assert!(message.contains("transformer.h.1.attn.c_attn") && message.contains("residual"), "{message}");
        let folder = imported(("circuit-probe", "gpt2"));
        let source = folder.path().join("circuit");
        let printed = success(&xtask([
            "circuit",
            "materialize",
            path(&source),
            "--model",
            path(&model),
            "--out",
            path(&out),
            "--compact",
        ]));
        assert!(printed.contains("units alive") && printed.contains("n_inner: "), "{printed}");
    }
}
