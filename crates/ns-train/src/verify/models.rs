//! Golden cases of models: outputs, hidden states, all residual-stream values, and the loss of the head.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::{
    AnyModel, Labels, Logits, Model, ModelInputs, ResNet, Site, Sublayer, Transformer, Vector, VectorCache,
};

use super::{TensorComparison, Tensors, ToleranceKind::Absolute, compare_all, invalid, read_json, read_tensors};
use crate::error::TrainError;

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let model = AnyModel::load(folder, device)?;
    let inputs = read_inputs(&folder.join("inputs.safetensors"), device)?;
    let mut expected = read_tensors(&folder.join("expected.safetensors"))?;
    let mut produced = match &model {
        AnyModel::Transformer(model) => transformer_tensors(model, &inputs)?,
        AnyModel::ResNet(model) => resnet_tensors(model, &inputs)?,
    };
    let losses = folder.join("loss.safetensors");
    if losses.exists() {
        let mut losses = read_tensors(&losses)?;
        let labels = losses.remove("labels");
        let labels = labels.ok_or_else(|| invalid("loss.safetensors", "without labels", "it must contain `labels`"))?;
        let loss = model.task_output(&inputs, &read_labels(labels, &model, device)?)?.loss;
        produced.insert("loss".into(), loss.into_data());
        expected.extend(losses);
    }
    let tolerance = case["atol"].as_f64().unwrap_or(1e-4);
    Ok(compare_all(&expected, &produced, |_, _| (Absolute, tolerance)))
}

/// Reads the inputs of a case. A tensor that is not a model input is an error.
fn read_inputs(path: &Path, device: &Device) -> Result<ModelInputs, TrainError> {
    let tensors = read_tensors(path)?;
    match tensors.keys().find(|name| !ModelInputs::NAMES.contains(&name.as_str())) {
        Some(name) => {
            let expected = format!("the inputs of a model are {}", ModelInputs::NAMES.join(", "));
            Err(invalid("tensor of inputs.safetensors", name, expected))
        }
        None => Ok(ModelInputs::from_named(&tensors, device)?),
    }
}

/// Converts labels to the type that the head needs. Like HF, infers it from the element type and the shape.
pub(super) fn read_labels<M: Model>(labels: TensorData, model: &M, device: &Device) -> Result<Labels, TrainError> {
    let shape = labels.shape().to_vec();
    match (shape.as_slice(), labels.dtype().is_float()) {
        ([_], false) => Ok(Labels::Classes(Tensor::from_data(labels, device))),
        ([_, _], false) => Ok(Labels::Tokens(Tensor::from_data(labels, device))),
        ([batch], true) => Ok(Labels::Values(Tensor::<1>::from_data(labels, device).reshape([*batch, 1]))),
        ([_, _], true) => Ok(Labels::Values(Tensor::from_data(labels, device))),
        _ => {
            let found = format!("of shape {shape:?} for a {} head", model.head().name());
            Err(invalid("labels", found, "labels are [batch] or [batch, n]"))
        }
    }
}

fn transformer_tensors<M: Transformer>(model: &M, inputs: &ModelInputs) -> Result<Tensors, TrainError> {
    let mut cache = VectorCache::new(model.sites()).to_the_end();
    let output = model.walk(inputs, &mut cache)?.output()?;
    let mut produced = Tensors::new();
    for site in model.sites() {
        let Some(vectors) = cache.get(site).map(Tensor::into_data) else {
            continue;
        };
        match site {
            Site::Embeddings => {
                produced.insert("hidden.0".into(), vectors);
            }
            Site::Block { layer, sublayer, vector } => {
                if (sublayer, vector) == (Sublayer::Mlp, Vector::Stream) {
                    produced.insert(format!("hidden.{}", layer + 1), vectors.clone());
                }
                produced.insert(format!("{sublayer}_{vector}.{layer}"), vectors);
            }
        }
    }
    let last = output.last_hidden_state.into_data();
    if model.residual_stream().is_last_normed {
        produced.insert(format!("hidden.{}", model.n_layers()), last.clone());
    }
    produced.insert("last_hidden_state".into(), last);
    produced.extend(output.pooler_output.map(|pooled| ("pooler_output".into(), pooled.into_data())));
    produced.extend(output.logits.map(|logits: Logits| ("logits".into(), logits.into_data())));
    Ok(produced)
}

fn resnet_tensors(model: &ResNet, inputs: &ModelInputs) -> Result<Tensors, TrainError> {
    let output = model.forward(inputs)?;
    let mut produced = Tensors::new();
    for (stage, hidden) in output.hidden_states.into_iter().enumerate() {
        let hidden = hidden.into_data();
        produced.insert("last_hidden_state".into(), hidden.clone());
        produced.insert(format!("hidden.{stage}"), hidden);
    }
    produced.insert("pooler_output".into(), output.pooler_output.into_data());
    produced.extend(output.logits.map(|logits| ("logits".into(), logits.into_data())));
    Ok(produced)
}
