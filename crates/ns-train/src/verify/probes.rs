//! Golden cases of probes: the first step with its gradients, a training trajectory and the evaluation.

use std::path::Path;

use burn::tensor::{Device, TensorData};
use ns_models::AnyTransformer;
use ns_probe::{PROBE_CASE_INPUTS, run_probe_case};

use super::{
    TensorComparison, Tensors,
    ToleranceKind::{Absolute, Relative},
    compare::magnitude,
    compare_all, read_json, read_tensors,
};
use crate::error::TrainError;

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let model = AnyTransformer::load(folder, &device.clone().autodiff())?;
    let mut expected = read_tensors(&folder.join("tensors.safetensors"))?;
    let mut produced = run_probe_case(&case, &expected, model)?;
    expected.retain(|name, _| !PROBE_CASE_INPUTS.contains(&name.as_str()) && !name.starts_with("init."));
    add_hard_masks(&mut expected);
    add_hard_masks(&mut produced);
    let absolute = case["atol"].as_f64().unwrap_or(1e-4);
    let trajectory = case["trajectory_rtol"].as_f64().unwrap_or(1e-3);
    Ok(compare_all(&expected, &produced, |name, data| match name {
        "losses" => (Relative, trajectory),
        "final_temperature" => (Relative, 1e-5),
        "l0_train" => (Absolute, absolute + 1e-6 * magnitude(data)),
        _ if name.starts_with("l0_") || name.starts_with("hard.") => (Absolute, 0.0),
        _ if name.starts_with("grad.") => (Absolute, (1e-3 * magnitude(data)).max(1e-7)),
        _ if name.starts_with("final.") => (Absolute, 1e-3),
        _ => (Absolute, absolute),
    }))
}

/// Adds the hard mask `hard.<mask>` for every `final.<mask>`. Hard masks after training must be equal.
fn add_hard_masks(tensors: &mut Tensors) {
    let masks = tensors.iter().filter_map(|(name, data)| {
        let mask = name.strip_prefix("final.").filter(|name| name.ends_with("_mask_params"))?;
        let hard: Vec<f32> = data.iter::<f32>().map(|logit| f32::from(logit > 0.0)).collect();
        Some((format!("hard.{mask}"), TensorData::new(hard, data.shape().clone())))
    });
    let masks: Vec<_> = masks.collect();
    tensors.extend(masks);
}
