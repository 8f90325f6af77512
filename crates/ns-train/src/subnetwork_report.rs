//! Subnetwork probes of a recipe, and accuracy against the size of what they read from.

use std::path::Path;

use ns_circuit::save_masks;
use serde::{Deserialize, Serialize};

use crate::{
    BaseModelPool, Interrupt, Learner, Outcome, Run, SubnetworkRecipe, SubnetworkTraining, SubnetworkVariant,
    TrainError,
    figures::{Panel, Series, curves},
};

/// One row of `results.json`: a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkRow {
    /// Which one.
    #[serde(flatten)]
    pub variant: SubnetworkVariant,
    /// Seed of the run.
    pub seed: u64,
    /// Share of the training rows whose class it tells.
    pub train_accuracy: f64,
    /// Share of the test rows.
    pub test_accuracy: f64,
    /// Share of the test rows with the class that is most frequent in training.
    pub majority: f64,
    /// Weights that are kept; `None` for plain probing, where all are.
    pub l0: Option<f64>,
    /// Weights that could be.
    pub l0_max: Option<f64>,
}

impl SubnetworkVariant {
    /// Name of the run's folder.
    pub fn name(&self) -> String {
        let masks = self.l0_lambda.map_or("plain".into(), |lambda| format!("lambda-{lambda:e}"));
        if self.control { format!("{masks}-control") } else { masks }
    }
}

/// Trains one probe of a recipe in a run folder, resuming if the folder has a checkpoint. A finished run leaves
/// `masks.safetensors` and `probe_config.json`; an interrupted one gives no row. A recipe that cannot work leaves
/// nothing.
///
/// # Errors
/// As [`SubnetworkTraining::on`] and [`Learner::train`].
pub fn train_subnetwork(
    recipe: &SubnetworkRecipe,
    variant: SubnetworkVariant,
    seed: u64,
    folder: &Path,
    bases: &BaseModelPool,
    interrupt: &Interrupt,
) -> Result<Option<SubnetworkRow>, TrainError> {
    #[derive(Serialize)]
    struct Variant {
        variant: SubnetworkVariant,
        #[serde(flatten)]
        recipe: SubnetworkRecipe,
    }
    let mut training = SubnetworkTraining::on(bases, recipe, variant, seed)?;
    // What else the recipe trains is not this run's: a sweep may grow.
    let alone = SubnetworkRecipe { l0_lambdas: Vec::new(), plain: false, control: false, ..recipe.clone() };
    let run = Run::open(folder, &Variant { variant, recipe: alone }, seed)?;
    let (epochs, checkpoint_every) = (recipe.epochs, recipe.checkpoint_every);
    let learner = Learner { label: variant.name(), epochs, checkpoint_every, interrupt: interrupt.clone() };
    let (outcome, _) = learner.train(&mut training, &run)?;
    if outcome != Outcome::Finished {
        return Ok(None);
    }
    save_masks(run.path("masks.safetensors"), training.probe().circuit())?;
    run.write("probe_config.json", &format!("{:#}\n", serde_json::json!(training.config())))?;
    let (data, l0) = (training.data().clone(), training.probe().circuit().l0());
    let masked = |size| variant.l0_lambda.map(|_| size);
    Ok(Some(SubnetworkRow {
        variant,
        seed,
        train_accuracy: training.accuracy(&data.split.train)?,
        test_accuracy: training.accuracy(&data.split.test)?,
        majority: majority(&data.labels, &data.split.train, &data.split.test),
        l0: masked(l0.total),
        l0_max: masked(l0.max),
    }))
}

/// Share of the test rows with the most frequent class of the training rows.
fn majority(labels: &[usize], train: &[usize], test: &[usize]) -> f64 {
    let count = |class: usize, rows: &[usize]| rows.iter().filter(|row| labels[**row] == class).count();
    let classes = labels.iter().copied().max().map_or(0, |most| most + 1);
    let most = (0..classes).max_by_key(|class| count(*class, train)).unwrap_or_default();
    count(most, test) as f64 / test.len().max(1) as f64
}

/// Draws accuracy against the share of weights that are kept.
///
/// # Errors
/// [`TrainError::Figure`].
pub fn draw_subnetworks(folder: &Path, title: &str, rows: &[SubnetworkRow]) -> Result<(), TrainError> {
    let series = |name: &str, control: bool, accuracy: fn(&SubnetworkRow) -> f64| {
        let of_kind = rows.iter().filter(|row| row.variant.control == control);
        let mut points: Vec<(f64, f64)> = of_kind.map(|row| (row.share_kept() * 100.0, accuracy(row))).collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        Series { name: name.into(), points }
    };
    let all = [
        series("test", false, |row| row.test_accuracy),
        series("train", false, |row| row.train_accuracy),
        series("control, train", true, |row| row.train_accuracy),
        series("control, test", true, |row| row.test_accuracy),
    ];
    let panel = Panel {
        y_label: "accuracy".into(),
        x_label: Some("weights kept, %".into()),
        series: all.into_iter().filter(|series| !series.points.is_empty()).collect(),
        reference: rows.first().map(|row| ("majority".into(), row.majority)),
        log: false,
    };
    Ok(curves(folder, "accuracy-size", title, &[panel])?)
}

impl SubnetworkRow {
    /// Share of the masked layers' weights that are kept; 1 for plain probing.
    pub fn share_kept(&self) -> f64 {
        match (self.l0, self.l0_max) {
            (Some(l0), Some(max)) if max > 0.0 => l0 / max,
            _ => 1.0,
        }
    }
}
