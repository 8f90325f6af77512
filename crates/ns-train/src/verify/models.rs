//! Model cases: outputs, hidden states and the vector cache.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor};
use ns_models::{AnyModel, Component, ModelError, ModelInputs, Site, Transformer, Vector, VectorCache};

use super::{Comparison, Tensors, compare::Tolerance, compare_all, read_json, read_tensors};
use crate::TrainError;

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<Comparison>, TrainError> {
    let case = read_json(&folder.join("case.json"))?;
    let model = AnyModel::load(folder, device)?;
    let inputs = read_inputs(&folder.join("inputs.safetensors"), device)?;
    let expected = read_tensors(&folder.join("expected.safetensors"))?;
    let tolerance = case["atol"].as_f64().unwrap_or(1e-4);
    Ok(compare_all(&expected, &produce(&model, &inputs)?, |_, _| Tolerance::Absolute(tolerance)))
}

/// Reads what a case gives; a tensor that the model would not see is an error.
fn read_inputs(path: &Path, device: &Device) -> Result<ModelInputs, TrainError> {
    let mut tensors = read_tensors(path)?;
    let mut matrix = |name: &'static str| -> Result<Option<Tensor<2, Int>>, TrainError> {
        let Some(data) = tensors.remove(name) else {
            return Ok(None);
        };
        match data.shape().num_dims() {
            2 => Ok(Some(Tensor::from_data(data, device))),
            _ => Err(invalid(name, format!("{:?}", data.shape().to_vec()), "its shape is [batch, seq]")),
        }
    };
    let ids = matrix("input_ids")?;
    let mask = matrix("attention_mask")?;
    if let Some(name) = tensors.keys().next() {
        return Err(invalid("inputs", name.clone(), "this architecture does not take it"));
    }
    let ids = ids.ok_or_else(|| invalid("inputs", "no input_ids".into(), "the model needs them"))?;
    let inputs = ModelInputs::new(ids);
    Ok(match mask {
        Some(mask) => inputs.with_attention_mask(mask),
        None => inputs,
    })
}

fn produce(model: &AnyModel, inputs: &ModelInputs) -> Result<Tensors, TrainError> {
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
            Site::Block { layer, component, vector } => {
                if (component, vector) == (Component::Mlp, Vector::Stream) {
                    produced.insert(format!("hidden.{}", layer + 1), vectors.clone());
                }
                produced.insert(format!("{component}_{vector}.{layer}"), vectors);
            }
        }
    }
    let last = output.last_hidden_state.into_data();
    // HF's GPT models report their last hidden state after the final LayerNorm.
    produced.insert(format!("hidden.{}", model.n_layers()), last.clone());
    produced.insert("last_hidden_state".into(), last);
    produced.extend(output.logits.map(|logits| ("logits".into(), logits.into_data())));
    Ok(produced)
}

fn invalid(what: &'static str, found: String, expected: &str) -> TrainError {
    ModelError::InvalidInput { what, found, expected: expected.into() }.into()
}
