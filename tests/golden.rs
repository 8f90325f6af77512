//! Tests that all cases of `tests/golden` pass, and that `verify` detects wrong data.
//!
//! They compute on the backend in `NS_BACKEND`; see `support/device.rs`.
#![allow(clippy::unwrap_used)]

#[path = "support/device.rs"]
mod device;
mod support;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;
use device::device;
use ns_circuit::MASK_CASE_INPUTS;
use ns_models::{Checkpoint, save_tensors};
use ns_probe::PROBE_CASE_INPUTS;
use ns_train::verify::{
    CURVES_CASE_INPUTS, CaseKind, CaseResult, LINEAR_CASE_INPUTS, LINEAR_CASE_SCALARS, Status, find_cases, run_case,
};
use serde_json::{Value, json};
use support::{copy_of_case, golden};

type Tensors = BTreeMap<String, TensorData>;

/// Small cases, because a test below runs them once per tensor.
const MODEL: &str = "gpt2-base-1layer-1head";
const MASK: &str = "hard_concrete-linear-weight-maskbias";
const PROBE: &str = "circuit-probe-gpt2-attn-neuron";
const CLASSIFIER: &str = "subnetwork-probe-gpt2-plain";
const KNN: &str = "cosine-1nn";
/// One case of each kind of statistics and of linear methods.
const CURVES: [&str; 6] =
    ["areas-below", "ranking-ties", "permutation", "equivalence", "independence", "minimality-redundant"];
/// Cases whose expected values are all in `case.json`.
const ONLY_NUMBERS: [&str; 2] = ["permutation", "equivalence"];
const LINEAR: [&str; 3] = ["probe-hidden", "logistic-binary", "counterfactual-linear"];
const INTERVENTION: &str = "gpt2-padded";

#[test]
fn every_case_passes() {
    let cases = find_cases(golden()).unwrap();
    let results = cases.iter().map(|(kind, folder)| run_case(*kind, folder, &device()));
    let failing: Vec<String> = results.filter(|result| result.status != Status::Pass).map(|r| describe(&r)).collect();
    assert!(failing.is_empty(), "{} of {} cases:\n{}", failing.len(), cases.len(), failing.join("\n"));
}

#[test]
fn every_folder_on_disk_is_a_case() {
    let cases = find_cases(golden()).unwrap();
    for kind in CaseKind::ALL {
        let on_disk = std::fs::read_dir(golden().join(kind.folder())).unwrap().count();
        let found = cases.iter().filter(|(found, _)| *found == kind).count();
        assert!(on_disk > 0, "no {kind:?}");
        assert_eq!(found, on_disk, "{kind:?}");
    }
}

#[test]
fn each_expected_tensor_is_compared() {
    let cases = [
        (CaseKind::Models, MODEL, "expected.safetensors"),
        (CaseKind::Masks, MASK, "tensors.safetensors"),
        (CaseKind::Probes, PROBE, "tensors.safetensors"),
        (CaseKind::Probes, CLASSIFIER, "tensors.safetensors"),
        (CaseKind::Knn, KNN, "tensors.safetensors"),
        (CaseKind::Interventions, INTERVENTION, "ablation.safetensors"),
        (CaseKind::Interventions, INTERVENTION, "patching.safetensors"),
        (CaseKind::Interventions, INTERVENTION, "attribution.safetensors"),
        (CaseKind::Interventions, INTERVENTION, "masks.safetensors"),
    ];
    let curves = CURVES.into_iter().filter(|case| !ONLY_NUMBERS.contains(case));
    let curves = curves.map(|case| (CaseKind::Curves, case, "tensors.safetensors"));
    let linear = LINEAR.map(|case| (CaseKind::Linear, case, "tensors.safetensors"));
    for (kind, case, file) in cases.into_iter().chain(curves).chain(linear) {
        let (_guard, folder) = copy_of_case(kind.folder(), case);
        let tensors = read(&folder.join(file));
        let expected: Vec<&String> = tensors.keys().filter(|name| is_expected(kind, name)).collect();
        assert!(!expected.is_empty(), "{case}");
        for name in expected {
            let mut corrupted = tensors.clone();
            corrupted.insert(name.clone(), with_first(&tensors[name], |value| value + 1.0));
            save_tensors(folder.join(file), &corrupted).unwrap();
            let result = run(kind, &folder);
            assert!(matches!(result.status, Status::Fail(_)), "{case}: a wrong {name} passes");
            // A wrong final mask also changes the values evaluated with it, which can exceed their tolerance by more.
            if !name.starts_with("final.") {
                assert_eq!(result.worst.unwrap().tensor, *name, "{case}");
            }
        }
    }
}

#[test]
fn each_expected_number_is_compared() {
    let curves = CURVES.map(|case| (CaseKind::Curves, case));
    let linear = LINEAR.map(|case| (CaseKind::Linear, case));
    for (kind, case) in curves.into_iter().chain(linear) {
        let (_guard, folder) = copy_of_case(kind.folder(), case);
        let file = folder.join("case.json");
        // Says how far a statistic is from a tie.
        let is_expected = |pointer: &str| pointer != "/expected/smallest_relative_gap";
        let parsed: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let roots: &[&str] = if kind == CaseKind::Curves { &["expected"] } else { &LINEAR_CASE_SCALARS };
        let leaves = roots.iter().flat_map(|root| numbers(&parsed[root], &format!("/{root}"), root));
        for (pointer, name) in leaves.filter(|(pointer, _)| is_expected(pointer)) {
            let mut corrupted = parsed.clone();
            let value = corrupted.pointer_mut(&pointer).unwrap();
            *value = match &*value {
                Value::Bool(flag) => json!(!flag),
                number if number.is_i64() => json!(number.as_i64().unwrap() + 1),
                number => json!(number.as_f64().unwrap() + 1e-8),
            };
            std::fs::write(&file, corrupted.to_string()).unwrap();
            let result = run(kind, &folder);
            assert!(matches!(result.status, Status::Fail(_)), "{case}: a wrong {pointer} passes");
            assert_eq!(result.worst.unwrap().tensor, name, "{case}");
        }
    }
}

/// The JSON pointers of all numbers and booleans in a value, with the names under which they are compared.
fn numbers(value: &Value, pointer: &str, name: &str) -> Vec<(String, String)> {
    match value {
        Value::Null => vec![],
        Value::Object(entries) => {
            let of_entry = |(key, value)| numbers(value, &format!("{pointer}/{key}"), &format!("{name}.{key}"));
            entries.iter().flat_map(of_entry).collect()
        }
        Value::Array(values) => {
            let of_value = |(index, value)| numbers(value, &format!("{pointer}/{index}"), name);
            values.iter().enumerate().flat_map(of_value).collect()
        }
        _ => vec![(pointer.into(), name.into())],
    }
}

#[test]
fn the_tolerance_is_the_limit() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    let file = folder.join("expected.safetensors");
    let tensors = read(&file);
    for (shift, passes) in [(0.5e-4, true), (2e-4, false)] {
        let mut shifted = tensors.clone();
        shifted.insert("mlp_update.0".into(), with_first(&tensors["mlp_update.0"], |value| value + shift));
        save_tensors(&file, &shifted).unwrap();
        let result = run(CaseKind::Models, &folder);
        assert_eq!(result.status == Status::Pass, passes, "shifted by {shift}: {}", describe(&result));
        assert_eq!(result.worst.unwrap().tensor, "mlp_update.0");
    }
}

#[test]
fn an_expected_tensor_that_nobody_produces_fails() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    change(&folder.join("expected.safetensors"), |tensors| {
        tensors.insert("pooler_output".into(), TensorData::from([1.0_f32]));
    });
    assert_fails(&run(CaseKind::Models, &folder), "pooler_output expected, but not produced");
}

#[test]
fn an_expected_nan_fails() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    change(&folder.join("expected.safetensors"), |tensors| {
        tensors.insert("hidden.0".into(), with_first(&tensors["hidden.0"], |_| f32::NAN));
    });
    assert_fails(&run(CaseKind::Models, &folder), "hidden.0 is not finite");
}

#[test]
fn an_expected_tensor_of_another_shape_fails() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    change(&folder.join("expected.safetensors"), |tensors| {
        let data = tensors["hidden.0"].clone();
        let n = data.num_elements();
        tensors.insert("hidden.0".into(), TensorData::new(data.iter::<f32>().collect::<Vec<f32>>(), [n]));
    });
    assert_fails(&run(CaseKind::Models, &folder), "hidden.0 has shape");
}

#[test]
fn an_input_that_is_missing_or_unknown_fails_by_name() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    let file = folder.join("inputs.safetensors");
    let ids = read(&file)["input_ids"].clone();
    change(&file, |tensors| _ = tensors.remove("input_ids"));
    assert_fails(&run(CaseKind::Models, &folder), "input_ids");
    change(&file, |tensors| {
        tensors.insert("token_type_ids".into(), ids.clone());
        tensors.insert("input_ids".into(), ids);
    });
    assert_fails(&run(CaseKind::Models, &folder), "token_type_ids");
    for (kind, case, input) in [
        (CaseKind::Masks, MASK, "weight_mask_params"),
        (CaseKind::Probes, PROBE, "token_mask"),
        (CaseKind::Knn, KNN, "train_idx"),
        (CaseKind::Curves, "ranking", "truth"),
        (CaseKind::Curves, "minimality", "random_losses"),
        (CaseKind::Linear, "probe-linear", "batches"),
        (CaseKind::Linear, "logistic", "labels"),
    ] {
        let (_guard, folder) = copy_of_case(kind.folder(), case);
        change(&folder.join("tensors.safetensors"), |tensors| _ = tensors.remove(input));
        assert_fails(&run(kind, &folder), input);
    }
}

#[test]
fn a_case_that_expects_nothing_fails() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    change(&folder.join("expected.safetensors"), Tensors::clear);
    assert_fails(&run(CaseKind::Models, &folder), "no expected tensors");
}

#[test]
fn a_square_weight_that_lies_the_wrong_way_round_fails() {
    let (_guard, folder) = copy_of_case("models", "gpt2-lm-square-inner");
    change(&folder.join("model.safetensors"), |tensors| {
        let weight = &tensors["transformer.h.0.mlp.c_fc.weight"];
        let (n, values) = (weight.shape()[0], weight.iter::<f32>().collect::<Vec<f32>>());
        let transposed: Vec<f32> = (0..n * n).map(|index| values[index % n * n + index / n]).collect();
        tensors.insert("transformer.h.0.mlp.c_fc.weight".into(), TensorData::new(transposed, [n, n]));
    });
    let result = run(CaseKind::Models, &folder);
    assert!(matches!(result.status, Status::Fail(_)), "{}", describe(&result));
}

#[test]
fn an_unknown_family_fails_and_the_known_ones_are_listed() {
    let (_guard, folder) = copy_of_case("models", MODEL);
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let other = config.replace("\"model_type\": \"gpt2\"", "\"model_type\": \"gpt3\"");
    assert_ne!(other, config);
    std::fs::write(folder.join("config.json"), other).unwrap();
    let result = run(CaseKind::Models, &folder);
    for known in ["gpt3", "gpt_neox", "convbert", "resnet"] {
        assert_fails(&result, known);
    }
}

#[test]
fn a_broken_case_fails_and_does_not_end_the_program() {
    let (_guard, folder) = copy_of_case("masks", MASK);
    std::fs::write(folder.join("case.json"), "{").unwrap();
    assert_fails(&run(CaseKind::Masks, &folder), "case.json");
    std::fs::write(folder.join("case.json"), "{}").unwrap();
    assert!(matches!(run(CaseKind::Masks, &folder).status, Status::Fail(_)));
    std::fs::remove_file(folder.join("tensors.safetensors")).unwrap();
    assert!(matches!(run(CaseKind::Masks, &folder).status, Status::Fail(_)));
}

fn run(kind: CaseKind, folder: &Path) -> CaseResult {
    run_case(kind, folder, &device())
}

fn is_expected(kind: CaseKind, name: &str) -> bool {
    match kind {
        CaseKind::Models | CaseKind::Interventions => true,
        CaseKind::Masks => !MASK_CASE_INPUTS.contains(&name),
        CaseKind::Probes => !PROBE_CASE_INPUTS.contains(&name) && !name.starts_with("init."),
        CaseKind::Knn => !["vectors", "labels", "train_idx", "test_idx"].contains(&name),
        CaseKind::Curves => !CURVES_CASE_INPUTS.contains(&name),
        CaseKind::Linear => {
            !LINEAR_CASE_INPUTS.contains(&name) && !name.starts_with("init.") && !name.starts_with("probe.")
        }
    }
}

fn describe(result: &CaseResult) -> String {
    let worst = result.worst.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}/{}: {:?} {worst}", result.kind.folder(), result.case, result.status)
}

#[track_caller]
fn assert_fails(result: &CaseResult, reason: &str) {
    match &result.status {
        Status::Fail(found) => assert!(found.contains(reason), "{found}"),
        other => panic!("expected a failure with `{reason}`, found {other:?}"),
    }
}

fn read(file: &Path) -> Tensors {
    let checkpoint = Checkpoint::open_file(file).unwrap();
    let read = |name: &str| (name.to_string(), checkpoint.data(name).unwrap().unwrap());
    checkpoint.names().map(read).collect()
}

fn change(file: &Path, change: impl FnOnce(&mut Tensors)) {
    let mut tensors = read(file);
    change(&mut tensors);
    save_tensors(file, &tensors).unwrap();
}

/// Returns a tensor whose first element is changed. The data type stays the same.
fn with_first(data: &TensorData, change: impl Fn(f32) -> f32) -> TensorData {
    let mut values: Vec<f32> = data.iter().collect();
    values[0] = change(values[0]);
    TensorData::new(values, data.shape().clone()).convert_dtype(data.dtype())
}
