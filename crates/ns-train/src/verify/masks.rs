//! Golden cases of masks: one masked layer per case.

use std::path::Path;

use burn::tensor::Device;
use ns_circuit::{MASK_CASE_INPUTS, run_mask_case};

use super::{TensorComparison, ToleranceKind::Absolute, compare::magnitude, compare_all, read_json, read_tensors};
use crate::error::TrainError;

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let mut expected = read_tensors(&folder.join("tensors.safetensors"))?;
    let produced = run_mask_case(&case, &expected, device)?;
    expected.retain(|name, _| !MASK_CASE_INPUTS.contains(&name.as_str()));
    let tolerance = case["atol"].as_f64().unwrap_or(1e-5);
    Ok(compare_all(&expected, &produced, |name, data| match name {
        "l0_train" | "l0_eval" | "max_l0" => (Absolute, tolerance + 1e-6 * magnitude(data)),
        _ => (Absolute, tolerance),
    }))
}
