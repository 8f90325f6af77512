//! Regression probes: their fit on each set.

use burn::module::Module;
use burn::tensor::Tensor;

use super::probe_measures::MeasuredSets;
use super::probe_training::SubnetworkTraining;
use crate::error::TrainError;
use crate::evaluate::{Fit, LabelScale, Measures, outputs};

/// Measures R² and Spearman's correlation of a regression probe on each set that has rows, and on the test set those of
/// its control on shuffled labels. R² is in the columns of accuracies, too.
pub(super) fn measure_fit(
    scale: &LabelScale,
    trainer: &mut SubnetworkTraining,
    shuffled: Option<&mut SubnetworkTraining>,
    measured: MeasuredSets,
    measures: &mut Measures,
) -> Result<(), TrainError> {
    let data = trainer.data.clone();
    let split = data.split();
    let mut fits = Vec::new();
    for (set, rows) in measured.of(split) {
        fits.push((set, trainer.fit(scale, rows)?));
    }
    let control = shuffled.map(|shuffled| shuffled.fit(scale, &split.test)).transpose()?;
    let r2 = |set: &str| fits.iter().find(|(name, _)| *name == set).and_then(|(_, fit)| fit.r2);
    let sets = if measured == MeasuredSets::Test { &["test"][..] } else { &["test", "dev", "train"] };
    for set in sets {
        measures.set(&format!("probe_{set}"), r2(set));
    }
    if !split.ood.is_empty() {
        measures.set("probe_ood", r2("ood"));
    }
    measures.set("probe_shuffled", control.and_then(|fit| fit.r2));
    for (set, fit) in &fits {
        measures.set(&format!("r2_{set}"), fit.r2);
        measures.set(&format!("spearman_{set}"), fit.spearman);
    }
    measures.set("r2_shuffled", control.and_then(|fit| fit.r2));
    measures.set("spearman_shuffled", control.and_then(|fit| fit.spearman));
    Ok(())
}

impl SubnetworkTraining {
    /// How well the predictions of the current probe fit the labels of some rows, with hard masks.
    fn fit(&mut self, scale: &LabelScale, rows: &[usize]) -> Result<Fit, TrainError> {
        let read = |logits: Tensor<2>| logits.into_data().iter::<f32>().collect();
        let activations = &mut self.objective.activations;
        let predicted: Vec<f32> = outputs(&self.module.valid(), &*self.data, rows, activations, read)?;
        Ok(scale.fit(&predicted, &self.data.labels(rows)))
    }
}
