//! Activations of the clean run are put into the corrupted run, one site and position, or one head, at a time.

use burn::tensor::{Tensor, TensorData};
use ns_models::{ModelOutput, Transformer};
use ns_probe::{ActivationSite, Edit, Recorder, Replacement, record_activations, run_edited};

use super::{Case, Tensors, site};
use crate::error::TrainError;
use crate::verify::invalid;

pub(super) fn produce(case: &Case) -> Result<Tensors, TrainError> {
    let names: Vec<String> =
        ["residual_sites", "mlp_sites", "head_sites"].into_iter().flat_map(|key| case.names(key)).collect();
    let sites = names.iter().map(|name| site(name)).collect::<Result<Vec<_>, _>>()?;
    let (clean, recorded) = record_activations(&case.model, &case.clean, &sites)?;
    let corrupted = case.model.forward(&case.corrupted)?;
    let mut produced = Tensors::new();
    case.add_results(&mut produced, "clean.", &clean)?;
    case.add_results(&mut produced, "corrupted.", &corrupted)?;
    let [_, seq] = case.model.stream_dims(&case.clean)?;
    for (name, site) in names.iter().zip(&sites) {
        let patched = |edit: Edit| Ok::<_, TrainError>(run_edited(&case.model, &case.corrupted, &[edit])?);
        let edit = Edit::new(site.clone(), Replacement::ByToken(value(&recorded, site)?));
        let outputs: Vec<ModelOutput> = match site {
            ActivationSite::Heads(_) => {
                (0..case.count("heads")).map(|head| patched(edit.clone().units([head]))).collect::<Result<_, _>>()?
            }
            _ => (0..seq).map(|position| patched(edit.clone().positions([position]))).collect::<Result<_, _>>()?,
        };
        let metrics = outputs.iter().map(|output| case.metric(output)).collect::<Result<Vec<_>, _>>()?;
        produced.insert(format!("{name}.metric"), Tensor::stack::<2>(metrics, 0).into_data());
        let losses = outputs.iter().map(|output| Ok(case.loss(output)?.into_data().iter::<f32>().sum()));
        let losses = losses.collect::<Result<Vec<f32>, TrainError>>()?;
        produced.insert(format!("{name}.loss"), TensorData::new(losses, [outputs.len()]));
        if let Some(logits) = outputs.into_iter().next_back().and_then(|output| output.logits) {
            produced.insert(format!("{name}.last.logits"), logits.into_data());
        }
    }
    Ok(produced)
}

pub(super) fn value(recorded: &Recorder, site: &ActivationSite) -> Result<Tensor<3>, TrainError> {
    recorded.get(site).ok_or_else(|| invalid("site", site.to_string(), "the clean run reaches every site of the case"))
}
