//! Input tensors of a case as plain lists.

use burn::tensor::TensorData;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Tensors, invalid};
use crate::error::TrainError;

/// The tensors of a case.
pub(super) struct Inputs<'a>(pub(super) &'a Tensors);

impl Inputs<'_> {
    /// A tensor with `rank` dimensions.
    pub(super) fn tensor(&self, name: &'static str, rank: usize) -> Result<&TensorData, TrainError> {
        let found = self.0.get(name).filter(|data| data.shape().num_dims() == rank);
        found.ok_or_else(|| invalid(name, "missing or of another rank", format!("it must have {rank} dimension(s)")))
    }

    /// The numbers of a tensor `[n]`.
    pub(super) fn numbers(&self, name: &'static str) -> Result<Vec<f64>, TrainError> {
        Ok(self.tensor(name, 1)?.iter::<f64>().collect())
    }

    /// The integers of a tensor `[n]`.
    pub(super) fn integers(&self, name: &'static str) -> Result<Vec<i64>, TrainError> {
        Ok(self.tensor(name, 1)?.iter::<i64>().collect())
    }

    /// The indices of a tensor `[n]`, which are not negative.
    pub(super) fn indices(&self, name: &'static str) -> Result<Vec<usize>, TrainError> {
        self.integers(name)?.into_iter().map(|value| index(name, value)).collect()
    }

    /// The rows of a tensor `[n, m]`.
    pub(super) fn rows(&self, name: &'static str) -> Result<Vec<Vec<f64>>, TrainError> {
        let data = self.tensor(name, 2)?;
        let values: Vec<f64> = data.iter::<f64>().collect();
        Ok(values.chunks(data.shape()[1].max(1)).map(<[f64]>::to_vec).collect())
    }

    /// The rows of a tensor of indices `[n, m]`. Negative entries, which fill rows up, are left out.
    pub(super) fn rows_of_indices(&self, name: &'static str) -> Result<Vec<Vec<usize>>, TrainError> {
        let data = self.tensor(name, 2)?;
        let values: Vec<i64> = data.iter::<i64>().collect();
        let row = |row: &[i64]| row.iter().filter_map(|value| usize::try_from(*value).ok()).collect();
        Ok(values.chunks(data.shape()[1].max(1)).map(row).collect())
    }
}

fn index(name: &'static str, value: i64) -> Result<usize, TrainError> {
    usize::try_from(value).map_err(|_| invalid(name, value.to_string(), "an index is not negative"))
}

/// Reads the settings of a case from its `case.json`.
pub(super) fn settings<T: DeserializeOwned>(case: &Value) -> Result<T, TrainError> {
    T::deserialize(case)
        .map_err(|error| invalid("case.json", "not valid", format!("a case of this kind needs: {error}")))
}
