//! Chosen units are replaced by zero, by a mean, or by their values in another forward pass.

use std::collections::BTreeSet;

use burn::tensor::{Int, Tensor, TensorData};
use ns_models::{Model, Transformer};
use ns_probe::{ActivationMeans, Edit, Recorder, Replacement, record_activations, run_edited};
use serde_json::Value;

use super::{Case, Tensors, indices, site};
use crate::error::TrainError;
use crate::verify::invalid;

pub(super) fn produce(case: &Case) -> Result<Tensors, TrainError> {
    let ablations = case.json["ablations"].as_array().cloned().unwrap_or_default();
    let used: BTreeSet<&str> =
        ablations.iter().flat_map(targets).filter_map(|target| target["site"].as_str()).collect();
    let sites = used.iter().map(|name| site(name)).collect::<Result<Vec<_>, _>>()?;
    let (intact, base) = record_activations(&case.model, &case.clean, &sites)?;
    let (_, source) = record_activations(&case.model, &case.source, &sites)?;
    let mut means = ActivationMeans::new(&sites);
    means.add(&case.model, &case.source)?;
    let mut produced = Tensors::new();
    case.add_results(&mut produced, "", &intact)?;
    let (device, [_, seq]) = (case.model.device(), case.model.stream_dims(&case.clean)?);
    for (name, site) in used.iter().zip(&sites) {
        for (prefix, recorded) in [("base", &base), ("source", &source)] {
            produced.extend(recorded.get(site).map(|value| (format!("{prefix}.{name}"), value.into_data())));
        }
        produced.insert(format!("mean.{name}"), means.overall(site, &device)?.into_data());
        produced.insert(format!("mean_position.{name}"), means.by_position(site, seq, &device)?.into_data());
    }
    for ablation in &ablations {
        let name = ablation["name"].as_str().unwrap_or_default();
        let edits = targets(ablation).map(|target| edit(case, ablation, target, &source, &means));
        let edits = edits.collect::<Result<Vec<_>, _>>()?;
        case.add_results(&mut produced, &format!("{name}."), &run_edited(&case.model, &case.clean, &edits)?)?;
    }
    Ok(produced)
}

fn targets(ablation: &Value) -> impl Iterator<Item = &Value> {
    ablation["targets"].as_array().into_iter().flatten()
}

fn edit(
    case: &Case,
    ablation: &Value,
    target: &Value,
    source: &Recorder,
    means: &ActivationMeans,
) -> Result<Edit, TrainError> {
    let (site, device) = (site(target["site"].as_str().unwrap_or_default())?, case.model.device());
    let [_, seq] = case.model.stream_dims(&case.clean)?;
    let replacement = match ablation["kind"].as_str().unwrap_or_default() {
        "zero" => Replacement::Zero,
        "mean" => Replacement::Vector(means.overall(&site, &device)?),
        "mean_position" => Replacement::ByPosition(means.by_position(&site, seq, &device)?),
        "resample" => {
            let rows: Vec<i64> = indices(&ablation["source_rows"]).into_iter().map(|row| row as i64).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), &device);
            let values =
                source.get(&site).ok_or_else(|| invalid("site", "not recorded", "the source run reaches it"))?;
            Replacement::ByToken(values.select(0, rows))
        }
        other => return Err(invalid("kind", other, "ablations are zero, mean, mean_position and resample")),
    };
    let edit = Edit::new(site, replacement).units(indices(&target["units"]));
    Ok(match &ablation["positions"] {
        Value::Array(_) => edit.positions(indices(&ablation["positions"])),
        _ => edit,
    })
}
