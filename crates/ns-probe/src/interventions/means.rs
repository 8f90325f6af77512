//! Means of activations over a data set, over all real tokens or by position.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::{ModelInputs, Transformer};

use super::edit::invalid;
use super::record::record_activations;
use super::site::ActivationSite;
use crate::error::ProbeError;

/// Means of activations over a data set, which is added batch by batch. Padding does not count.
#[derive(Clone, Debug)]
pub struct ActivationMeans {
    sums: BTreeMap<ActivationSite, PositionSums>,
    /// Number of real tokens at each position.
    counts: Vec<f64>,
}

/// Sums of the vectors of each position.
#[derive(Clone, Debug, Default)]
struct PositionSums {
    width: usize,
    /// `[seq, width]`.
    sums: Vec<f64>,
}

impl ActivationMeans {
    /// Means of the activations at `sites`, without data yet.
    pub fn new(sites: &[ActivationSite]) -> Self {
        let sums = sites.iter().map(|site| (site.clone(), PositionSums::default())).collect();
        Self { sums, counts: Vec::new() }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// Returns the errors of [`record_activations`].
    pub fn add<M: Transformer>(&mut self, model: &M, inputs: &ModelInputs) -> Result<(), ProbeError> {
        let sites: Vec<ActivationSite> = self.sums.keys().cloned().collect();
        let (_, recorded) = record_activations(model, inputs, &sites)?;
        let [batch, seq] = model.stream_dims(inputs)?;
        let real = match &inputs.attention_mask {
            Some(mask) => mask.clone().float(),
            None => Tensor::ones([batch, seq], &model.device()),
        };
        let counts: Vec<f64> = real.clone().sum_dim(0).into_data().iter::<f64>().collect();
        add(&mut self.counts, &counts);
        for (site, sums) in &mut self.sums {
            let Some(values) = recorded.get(site) else { continue };
            sums.width = values.dims()[2];
            let of_batch = (values * real.clone().unsqueeze_dim(2)).sum_dim(0);
            add(&mut sums.sums, &of_batch.into_data().iter::<f64>().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The mean over all real tokens, `[width]`.
    ///
    /// # Errors
    /// Returns [`ProbeError::Batch`] if there is no real token in the data, and [`ProbeError::Activation`] for a site that
    /// is not one of these means.
    pub fn overall(&self, site: &ActivationSite, device: &Device) -> Result<Tensor<1>, ProbeError> {
        let sums = self.of(site)?;
        Ok(Tensor::from_data(TensorData::new(self.overall_values(sums), [sums.width]), device))
    }

    /// The mean over the rows in which a position is a real token, for each position, `[seq, width]`. A position that is
    /// real in no row has the mean over all real tokens. `seq` may exceed the longest sequence of the data.
    ///
    /// # Errors
    /// Returns the errors of [`Self::overall`].
    pub fn by_position(&self, site: &ActivationSite, seq: usize, device: &Device) -> Result<Tensor<2>, ProbeError> {
        let sums = self.of(site)?;
        let overall = self.overall_values(sums);
        let mean = |position: usize| match self.counts.get(position) {
            Some(count) if *count > 0.0 => {
                let of_position = &sums.sums[position * sums.width..][..sums.width];
                of_position.iter().map(|sum| (sum / count) as f32).collect()
            }
            _ => overall.clone(),
        };
        let values: Vec<f32> = (0..seq).flat_map(mean).collect();
        Ok(Tensor::from_data(TensorData::new(values, [seq, sums.width]), device))
    }

    fn of(&self, site: &ActivationSite) -> Result<&PositionSums, ProbeError> {
        if self.tokens() == 0.0 {
            return Err(invalid("data", "without a real token", "a mean ablation needs the mean over a training set"));
        }
        let reason = || "no means were computed for it".to_string();
        self.sums.get(site).ok_or_else(|| ProbeError::Activation { asked: site.to_string(), reason: reason() })
    }

    fn tokens(&self) -> f64 {
        self.counts.iter().sum()
    }

    fn overall_values(&self, PositionSums { width, sums }: &PositionSums) -> Vec<f32> {
        let column = |column: usize| sums.iter().skip(column).step_by(*width).sum::<f64>();
        (0..*width).map(|index| (column(index) / self.tokens()) as f32).collect()
    }
}

/// Adds `more` entry by entry. Entries beyond the end of `total` are appended.
fn add(total: &mut Vec<f64>, more: &[f64]) {
    if total.len() < more.len() {
        total.resize(more.len(), 0.0);
    }
    total.iter_mut().zip(more).for_each(|(total, more)| *total += more);
}
