//! Golden cases of 1-nearest-neighbour classification.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_probe::nearest_neighbours;

use super::{TensorComparison, Tensors, ToleranceKind::Absolute, compare_all, inputs::Inputs, invalid, read_tensors};
use crate::error::TrainError;

/// The tensors of a case that are inputs. All other tensors are expected results.
const INPUTS: [&str; 4] = ["vectors", "labels", "train_idx", "test_idx"];

pub(super) fn run(folder: &Path, device: &Device) -> Result<Vec<TensorComparison>, TrainError> {
    let mut expected = read_tensors(&folder.join("tensors.safetensors"))?;
    let produced = produce(&expected, device)?;
    expected.retain(|name, _| !INPUTS.contains(&name.as_str()));
    Ok(compare_all(&expected, &produced, |name, _| match name {
        "accuracy" => (Absolute, 1e-6),
        _ => (Absolute, 0.0),
    }))
}

fn produce(tensors: &Tensors, device: &Device) -> Result<Tensors, TrainError> {
    let inputs = Inputs(tensors);
    let (train, test) = (inputs.integers("train_idx")?, inputs.integers("test_idx")?);
    let labels = inputs.integers("labels")?;
    let vectors = Tensor::<2>::from_data(inputs.tensor("vectors", 2)?.clone(), device);
    let [n, _] = vectors.dims();
    let out_of_range = train.iter().chain(&test).find(|row| !(0..n as i64).contains(row));
    if let (Some(row), _) | (None, Some(row)) = (out_of_range, (labels.len() != n).then_some(&-1)) {
        return Err(invalid(
            "k-NN case",
            format!("one with row index {row} and {} labels", labels.len()),
            format!("there are {n} vectors, so each needs one label and row indices must be in 0..{n}"),
        ));
    }
    let select = |rows: &[i64]| {
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.to_vec(), [rows.len()]), device);
        vectors.clone().select(0, rows)
    };
    let nearest = nearest_neighbours(select(&train), select(&test))?;
    let neighbours: Vec<i64> = nearest.into_iter().map(|row| train[row]).collect();
    let predictions: Vec<i64> = neighbours.iter().map(|row| labels[*row as usize]).collect();
    let correct = predictions.iter().zip(&test).filter(|(label, row)| **label == labels[**row as usize]).count();
    let accuracy = correct as f32 / test.len().max(1) as f32;
    Ok(Tensors::from([
        ("neighbour_idx".into(), TensorData::new(neighbours, [test.len()])),
        ("predictions".into(), TensorData::new(predictions, [test.len()])),
        ("accuracy".into(), TensorData::from([accuracy])),
    ]))
}
