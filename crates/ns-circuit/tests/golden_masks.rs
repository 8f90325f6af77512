//! Runs every golden mask case and compares all result tensors with reference data.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::tensor::{Device, TensorData};
use ns_circuit::{CircuitError, MASK_CASE_INPUTS, load_masks, run_mask_case};
use serde_json::{Value, json};

type Tensors = BTreeMap<String, TensorData>;

fn cases() -> Vec<(String, Value, Tensors)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/masks");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).expect("golden masks").map(|entry| entry.expect("folder").path()).collect();
    folders.sort();
    folders
        .into_iter()
        .map(|folder| {
            let name = folder.file_name().expect("name").to_string_lossy().into_owned();
            let json = fs::read_to_string(folder.join("case.json")).expect("case.json");
            let case = serde_json::from_str(&json).expect("JSON");
            let tensors = load_masks(folder.join("tensors.safetensors")).expect("tensors");
            (name, case, tensors)
        })
        .collect()
}

/// Describes the first entry with `|found − expected| > atol`. L0 sums have an extra relative tolerance of 1e-6.
fn difference(name: &str, expected: &TensorData, found: &TensorData, atol: f32) -> Option<String> {
    if expected.shape() != found.shape() {
        return Some(format!("expected shape {:?}, found {:?}", expected.shape(), found.shape()));
    }
    let relative = if name.contains("l0") { 1e-6 } else { 0.0 };
    expected
        .iter::<f32>()
        .zip(found.iter::<f32>())
        .enumerate()
        .find(|(_, (e, f))| {
            let close = (e - f).abs() <= atol + relative * e.abs();
            !close
        })
        .map(|(i, (e, f))| format!("entry {i}: expected {e}, found {f}"))
}

#[test]
fn all_cases_match() {
    let cases = cases();
    assert!(cases.len() >= 44, "expected at least 44 cases, found {}", cases.len());
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (case, json, tensors) in &cases {
        let produced =
            run_mask_case(json, tensors, &Device::default()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let atol = json["atol"].as_f64().expect("atol") as f32;
        for (name, expected) in tensors {
            if MASK_CASE_INPUTS.contains(&name.as_str()) {
                continue;
            }
            compared += 1;
            match produced.get(name) {
                None => wrong.push(format!("{case}: {name} was not produced")),
                Some(found) => {
                    wrong.extend(difference(name, expected, found, atol).map(|d| format!("{case}: {name}: {d}")))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 600, "only {compared} tensors were compared");
}

/// Checks that the comparison can fail: every input affects some output.
#[test]
fn a_changed_input_is_noticed() {
    for (case, json, tensors) in cases() {
        let baseline = run_mask_case(&json, &tensors, &Device::default()).expect("runs");
        for input in MASK_CASE_INPUTS {
            let Some(data) = tensors.get(input) else {
                continue;
            };
            if input == "cotangent" && json["prune_percentage"] == json!(1.0) {
                continue; // everything is pruned, so no gradient depends on the cotangent
            }
            let shift = if input.starts_with("u_") { 0.1 } else { -0.7 };
            let values: Vec<f32> = data.iter::<f32>().map(|v| (v + shift).abs()).collect();
            let mut changed = tensors.clone();
            changed.insert(input.into(), TensorData::new(values, data.shape().clone()));
            let produced = run_mask_case(&json, &changed, &Device::default()).expect("runs");
            let differs = baseline.iter().any(|(name, data)| difference(name, data, &produced[name], 1e-5).is_some());
            assert!(differs, "{case}: no output depends on {input}");
        }
    }
}

#[test]
fn bad_cases_are_errors_not_panics() {
    let (_, json, tensors) =
        cases().into_iter().find(|(name, ..)| name == "hard_concrete-conv2d-neuron-maskbias").expect("case");
    let run = |json: &Value, tensors: &Tensors| run_mask_case(json, tensors, &Device::default());
    for (key, value) in [
        ("method", json!("lottery")),
        ("layer", json!("conv3d")),
        ("layer", json!("linear")),
        ("groups", json!(3)),
        ("groups", json!(0)),
        ("stride", json!([0, 1])),
        ("stride", json!([1, 1, 1])),
        ("padding", json!("same")),
        ("dilation", json!([90, 90])),
        ("mask_unit", json!("layer")),
        ("method", json!("magnitude_pruning")),
    ] {
        let mut bad = json.clone();
        bad[key] = value.clone();
        let error = run(&bad, &tensors).expect_err(&format!("{key} = {value}"));
        assert!(matches!(error, CircuitError::InvalidCase { .. }), "{error}");
    }
    for name in ["weight", "x", "cotangent", "weight_mask_params", "bias_mask_params"] {
        let mut bad = tensors.clone();
        let data = bad.remove(name).expect("tensor");
        let error = run(&json, &bad).expect_err(name);
        assert!(matches!(error, CircuitError::MissingTensor { .. }), "{name}: {error}");
        bad.insert(name.into(), TensorData::new(vec![0.5_f32; data.num_elements()], [data.num_elements()]));
        if name != "bias_mask_params" {
            run(&json, &bad).expect_err(name);
        }
    }
    assert!(run(&json!(null), &tensors).is_err());
}
