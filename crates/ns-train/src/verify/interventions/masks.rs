//! Gradients of the loss with respect to masks on the outputs of all linear layers.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use ns_probe::{MaskGradients, mask_gradients};

use super::{Case, Tensors};
use crate::error::TrainError;

pub(super) fn produce(case: &Case) -> Result<Tensors, TrainError> {
    let (layers, steps) = (case.names("linear_layers"), case.count("mask_steps"));
    let mut produced = Tensors::new();
    for (key, with_bias) in [("weight", false), ("weight_bias", true)] {
        let at = |value: f64| {
            let masks = MaskGradients { layers: layers.clone(), value, with_bias };
            mask_gradients(&case.model, &case.clean, &masks, |output| case.probe_loss(&output))
        };
        let (loss, gradients) = at(1.0)?;
        produced.insert(format!("{key}.loss_at_one"), TensorData::from([loss as f32]));
        produced.insert(format!("{key}.loss_at_zero"), TensorData::from([at(0.0)?.0 as f32]));
        produced.extend(gradients.into_iter().map(|(layer, of_layer)| (format!("{key}.grad.{layer}"), data(of_layer))));
        let (mut losses, mut sums) = (Vec::new(), BTreeMap::<String, Vec<f32>>::new());
        for step in 0..steps {
            let (loss, gradients) = at((step as f64 + 0.5) / steps as f64)?;
            losses.push(loss as f32);
            for (layer, of_layer) in gradients {
                let sum = sums.entry(layer).or_insert_with(|| vec![0.0; of_layer.len()]);
                sum.iter_mut().zip(of_layer).for_each(|(sum, gradient)| *sum += gradient / steps as f32);
            }
        }
        produced.insert(format!("{key}.path_losses"), data(losses));
        produced.extend(sums.into_iter().map(|(layer, mean)| (format!("{key}.average.{layer}"), data(mean))));
    }
    Ok(produced)
}

fn data(values: Vec<f32>) -> TensorData {
    let shape = [values.len()];
    TensorData::new(values, shape)
}
