//! Tests on the golden models: materialised and compacted circuits, finding the files of a circuit, and invalid files.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use ns_circuit::{Ablation, CircuitConfig, CircuitError, CircuitModel, MaskMethod, MaskUnit, ModelVariant};
use ns_models::{AnyModel, Checkpoint, Model, ModelError, ModelInputs, read_config};
use ns_probe::mask_targets;
use tempfile::TempDir;

use super::{CircuitFileError, CircuitFiles, CircuitPart, compact::compact, export_masks, load_circuit, materialize};
use crate::error::TrainError;

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(case)
}

/// A circuit that keeps two of five units (or weights) in all layers whose name contains `part`.
fn circuit(case: &str, part: &str, mask_unit: MaskUnit, mask_bias: bool) -> CircuitModel<AnyModel> {
    let model = AnyModel::load(golden(case), &Device::default()).unwrap();
    let names = model.maskable_layers().into_iter().map(|layer| layer.name);
    let target_layers: Vec<String> = names.filter(|name| name.contains(part)).collect();
    assert!(!target_layers.is_empty(), "{part}");
    let targets = mask_targets(&model);
    let config = CircuitConfig { mask_unit, mask_bias, target_layers, ..CircuitConfig::default() };
    let mut circuit = CircuitModel::new(config, model, &targets).unwrap();
    let mut masks = circuit.mask_params();
    for data in masks.values_mut() {
        let values = (0..data.num_elements()).map(|index| if index * 7 % 5 < 2 { 1.5 } else { -0.5 });
        *data = TensorData::new(values.collect::<Vec<f32>>(), data.shape().clone());
    }
    circuit.load_mask_params(&masks).unwrap();
    circuit
}

fn logits(model: &AnyModel, case: &str) -> Vec<f32> {
    let file = Checkpoint::open_file(golden(case).join("inputs.safetensors")).unwrap();
    let tensors = file.names().map(|name| (name.to_string(), file.data(name).unwrap().unwrap())).collect();
    let inputs = ModelInputs::from_named(&tensors, &Device::default()).unwrap();
    model.logits(&inputs).unwrap().unwrap().into_data().iter::<f32>().collect()
}

fn reload(folder: &Path) -> AnyModel {
    AnyModel::load(folder, &Device::default()).unwrap()
}

/// Asserts that logits are equal within 1e-5, relative to the largest logit if that is above 1.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
    let difference = largest(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = largest(&mut expected.iter().copied()).max(1.0);
    assert!(difference <= 1e-5 * size, "{what}: difference {difference}, largest logit {size}");
}

fn size(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("model.safetensors")).unwrap().len()
}

#[track_caller]
fn file_error<T>(result: Result<T, TrainError>) -> CircuitFileError {
    match result {
        Err(TrainError::CircuitFile(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("expected an error"),
    }
}

mod materialized {
    use super::*;

    #[test]
    fn models_equal_the_circuit_and_its_complement_bit_for_bit() {
        let resnet = ("resnet-bottleneck-imgcls", "convolution", MaskUnit::Neuron);
        let (bert, gpt2) = (("bert-seqcls", "attention", MaskUnit::Weight), ("gpt2-lm-f16", "h.1", MaskUnit::Neuron));
        for (case, part, unit) in [resnet, bert, gpt2] {
            let circuit = circuit(case, part, unit, true);
            let parts = [
                (CircuitPart::Circuit, ModelVariant::CircuitOnly),
                (CircuitPart::Complement, ModelVariant::Ablated(Ablation::ZeroAblate)),
            ];
            for (kept, variant) in parts {
                let out = tempfile::tempdir().unwrap();
                assert!(materialize(&circuit, kept, false, golden(case), out.path()).unwrap().is_none());
                assert_eq!(circuit.variant(), ModelVariant::CircuitOnly);
                let expected = logits(&circuit.model_as(variant).unwrap(), case);
                assert_eq!(logits(&reload(out.path()), case), expected, "{case} {kept:?}");
                assert_ne!(logits(circuit.base(), case), expected, "{case}: the masks have no effect");
            }
        }
    }

    #[test]
    fn models_keep_their_configuration_and_tokenizer_and_nothing_else() {
        let case = "gpt2-lm-f16";
        let source = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(golden(case).join(name), source.path().join(name)).unwrap();
        }
        for name in ["tokenizer.json", "vocab.json", "results.json"] {
            std::fs::write(source.path().join(name), name).unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        let circuit = circuit(case, "mlp", MaskUnit::Weight, false);
        materialize(&circuit, CircuitPart::Circuit, false, source.path(), out.path()).unwrap();
        let read = |folder: &TempDir, name: &str| std::fs::read(folder.path().join(name)).ok();
        for name in ["config.json", "tokenizer.json", "vocab.json"] {
            assert_eq!(read(&out, name), read(&source, name), "{name}");
        }
        assert_eq!(read(&out, "results.json"), None);
    }

    #[test]
    fn the_model_folder_itself_is_not_overwritten() {
        let circuit = circuit("gpt2-lm", "c_fc", MaskUnit::Neuron, false);
        let folder = golden("gpt2-lm");
        let same_folder = folder.join("../gpt2-lm");
        let error = file_error(materialize(&circuit, CircuitPart::Circuit, false, &folder, &same_folder));
        assert!(matches!(error, CircuitFileError::OverwritesModel { .. }), "{error}");
    }
}

mod compacted {
    use super::*;

    /// Without bias masks, dead units have a non-zero constant output, which must go into the output bias.
    #[test]
    fn models_are_smaller_and_have_the_same_logits() {
        for (case, part, field) in [
            ("gpt2-lm-relu-inner", "mlp.c_fc", "n_inner"),
            ("gpt-neo-lm", "mlp.c_fc", "intermediate_size"),
            ("gpt-neox-lm-parallel", "mlp.dense_h_to_4h", "intermediate_size"),
            ("bert-mlm", "intermediate.dense", "intermediate_size"),
            ("mpnet-mlm", "intermediate.dense", "intermediate_size"),
            ("convbert-mlm", "intermediate.dense", "intermediate_size"),
            ("vit-imgcls", "intermediate.dense", "intermediate_size"),
        ] {
            for (mask_bias, kept) in
                [(false, CircuitPart::Circuit), (true, CircuitPart::Circuit), (false, CircuitPart::Complement)]
            {
                let circuit = circuit(case, part, MaskUnit::Neuron, mask_bias);
                let (out, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                materialize(&circuit, kept, false, golden(case), whole.path()).unwrap();
                let compaction = materialize(&circuit, kept, true, golden(case), out.path()).unwrap().unwrap();
                assert!(compaction.field == field && compaction.after < compaction.before, "{compaction:?}");
                assert_eq!(read_config(out.path()).unwrap()[field], compaction.after);
                assert!(size(out.path()) < size(whole.path()), "{case}");
                let (small, whole) = (logits(&reload(out.path()), case), logits(&reload(whole.path()), case));
                assert_close(&small, &whole, case);
            }
        }
    }

    #[test]
    fn blocks_are_padded_to_the_largest() {
        let (case, out) = ("gpt2-lm-square-inner", tempfile::tempdir().unwrap());
        let mut circuit = circuit(case, "mlp.c_fc", MaskUnit::Neuron, false);
        let mut masks = circuit.mask_params();
        let first = masks.values_mut().next().unwrap();
        let n = first.num_elements();
        *first = TensorData::new((0..n).map(|unit| if unit < 3 { 1.0 } else { -1.0 }).collect::<Vec<f32>>(), [1, n]);
        circuit.load_mask_params(&masks).unwrap();
        let compaction = materialize(&circuit, CircuitPart::Circuit, true, golden(case), out.path()).unwrap().unwrap();
        assert_eq!(compaction.mlps.iter().map(|mlp| mlp.alive).collect::<Vec<_>>(), [3, 10]);
        assert_eq!((compaction.before, compaction.after), (24, 10));
        let expected = logits(&circuit.model().unwrap(), case);
        assert_close(&logits(&reload(out.path()), case), &expected, case);
    }

    #[test]
    fn units_without_outgoing_weights_are_dead_and_an_empty_circuit_keeps_one_unit() {
        let (case, out) = ("bert-mlm", tempfile::tempdir().unwrap());
        let target_layers = (0..2).map(|i| format!("bert.encoder.layer.{i}.output.dense")).collect();
        let config = CircuitConfig { target_layers, ..CircuitConfig::default() };
        let model = reload(&golden(case));
        let targets = mask_targets(&model);
        // All mask parameters are 0, so the circuit is empty.
        let circuit = CircuitModel::new(config, model, &targets).unwrap();
        let compaction = materialize(&circuit, CircuitPart::Circuit, true, golden(case), out.path()).unwrap().unwrap();
        assert_eq!(compaction.after, 1);
        let expected = logits(&circuit.model().unwrap(), case);
        assert_close(&logits(&reload(out.path()), case), &expected, case);
    }

    #[test]
    fn masks_that_cannot_be_compacted_are_refused_with_the_reason() {
        let refused = |case: &str, part: &str, unit| {
            let (circuit, out) = (circuit(case, part, unit, false), tempfile::tempdir().unwrap());
            let error = materialize(&circuit, CircuitPart::Circuit, true, golden(case), out.path()).unwrap_err();
            assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "files were written");
            error
        };
        for (case, part, layer) in [
            ("gpt2-lm", "h.0.mlp", "transformer.h.0.mlp.c_proj"),
            ("gpt2-lm", "h.1.attn.c_attn", "transformer.h.1.attn.c_attn"),
            ("bert-mlm", "layer.0.attention.output", "bert.encoder.layer.0.attention.output.dense"),
        ] {
            let error = refused(case, part, MaskUnit::Neuron);
            let TrainError::CircuitFile(CircuitFileError::CannotCompact { layer: found, reason }) = &error else {
                panic!("{error}");
            };
            assert!(found == layer && reason.contains("residual"), "{error}");
        }
        for (case, part) in [("resnet-imgcls-1label", "convolution"), ("convbert-base-r4-k5-g2", "query")] {
            let error = refused(case, part, MaskUnit::Neuron);
            assert!(matches!(error, TrainError::Model(ModelError::NoMlp { .. })), "{error}");
        }
        let error = refused("gpt2-lm", "h.0.mlp.c_fc", MaskUnit::Neuron);
        let TrainError::CircuitFile(CircuitFileError::NothingToRemove { layer, width: 128, field: "n_inner" }) = &error
        else {
            panic!("{error}");
        };
        assert_eq!(layer, "transformer.h.1.mlp.c_fc");
    }

    #[test]
    fn constants_of_dead_units_need_an_output_bias() {
        let circuit = circuit("bert-mlm", "intermediate.dense", MaskUnit::Neuron, false);
        let mlps = circuit.base().mlps().unwrap();
        let mut tensors = circuit.materialize_circuit().unwrap().tensors().unwrap();
        tensors.remove("bert.encoder.layer.1.output.dense.bias").unwrap();
        let error = compact(&mut tensors, &mlps).unwrap_err();
        assert!(error.to_string().contains("`bert.encoder.layer.1.output.dense` has no bias"), "{error}");
    }
}

mod found {
    use super::*;

    const CASE: &str = "gpt2-lm";

    /// A run folder with the files that `cargo xtask train` writes.
    fn run() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let circuit = circuit(CASE, "c_fc", MaskUnit::Neuron, true);
        export_masks(&circuit, "", folder.path()).unwrap();
        std::fs::remove_file(folder.path().join("circuit_config.json")).unwrap();
        let config = serde_json::json!({"probe_vectors": "mlp_update_0", "circuit_config": circuit.config()});
        std::fs::write(folder.path().join("probe_config.json"), config.to_string()).unwrap();
        std::fs::write(folder.path().join("recipe.toml"), format!("seed = 0\nmodel = {:?}\n", golden(CASE))).unwrap();
        folder
    }

    fn load(source: &Path, model: Option<&Path>) -> Result<CircuitModel<AnyModel>, TrainError> {
        load_circuit(source, model, &Device::default())
    }

    #[test]
    fn in_a_run_folder_or_by_a_file_in_it() {
        let run = run();
        let expected = circuit(CASE, "c_fc", MaskUnit::Neuron, true);
        for source in [run.path().to_path_buf(), run.path().join("masks.safetensors")] {
            let found = load(&source, None).unwrap();
            assert_eq!(found.mask_params(), expected.mask_params());
            assert!(!found.is_training());
        }
        let found = load_circuit(run.path(), None, &Device::default().autodiff()).unwrap();
        assert_eq!(found.l0(), expected.l0());
        assert!(!found.is_training());
    }

    #[test]
    fn with_another_model_folder_if_the_named_one_is_gone() {
        let run = run();
        std::fs::write(run.path().join("recipe.toml"), "model = \"gone\"").unwrap();
        let error = file_error(load(run.path(), None));
        assert!(matches!(&error, CircuitFileError::NoModel { gone: Some(_), .. }), "{error}");
        assert!(error.to_string().contains("--model") && error.to_string().contains("gone"), "{error}");
        load(run.path(), Some(&golden(CASE))).unwrap();
        std::fs::remove_file(run.path().join("recipe.toml")).unwrap();
        let error = file_error(load(run.path(), None));
        assert!(matches!(error, CircuitFileError::NoModel { gone: None, .. }), "{error}");
    }

    #[test]
    fn not_if_a_part_is_missing_or_invalid() {
        let run = run();
        let config = run.path().join("probe_config.json");
        for (text, reason) in [("{", "EOF"), ("{}", "neither"), (r#"{"mask_method": "lottery"}"#, "lottery")] {
            std::fs::write(&config, text).unwrap();
            let error = file_error(load(run.path(), None));
            assert!(matches!(&error, CircuitFileError::InvalidConfig { path, .. } if *path == config), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        std::fs::remove_file(&config).unwrap();
        assert!(matches!(file_error(load(run.path(), None)), CircuitFileError::NoConfig { .. }));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(file_error(load(empty.path(), None)), CircuitFileError::NoMasks { .. }));
    }

    #[test]
    fn not_in_another_model() {
        let run = run();
        // This model has layers with the same names but other sizes.
        let error = load(run.path(), Some(&golden("gpt2-lm-square-inner"))).unwrap_err();
        let TrainError::Circuit(CircuitError::ShapesMismatch { misfits }) = &error else { panic!("{error}") };
        assert_eq!(misfits.len(), 4);
        assert!(error.to_string().contains("[1, 128]") && error.to_string().contains("[1, 24]"), "{error}");
        let error = load(run.path(), Some(&golden("bert-mlm"))).unwrap_err();
        assert!(matches!(error, TrainError::Circuit(CircuitError::UnknownLayer { .. })), "{error}");
    }

    #[test]
    fn with_signed_pruning_where_the_reference_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let [masks, config] = ["masks.safetensors", "circuit_config.json"].map(|name| folder.path().join(name));
        std::fs::write(&masks, "").unwrap();
        let json = r#"{"mask_method": "magnitude_pruning", "mask_hparams": {"prune_percentage": 0.5}}"#;
        std::fs::write(&config, json).unwrap();
        let is_raw = |files: CircuitFiles| match files.config.mask_method {
            MaskMethod::MagnitudePruning { criterion, .. } => criterion == ns_circuit::MagnitudeCriterion::Raw,
            _ => false,
        };
        let model = golden(CASE);
        assert!(!is_raw(CircuitFiles::find(&masks, None, Some(&model)).unwrap()));
        assert!(is_raw(CircuitFiles::find_reference(&masks, None, Some(&model)).unwrap()));
        std::fs::write(&config, json.replace("0.5", "0.5, \"criterion\": \"absolute\"")).unwrap();
        assert!(!is_raw(CircuitFiles::find_reference(&masks, None, Some(&model)).unwrap()));
    }
}
