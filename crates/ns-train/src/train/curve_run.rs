//! Faithfulness curves of finished runs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use ns_models::{AnyModel, Model};
use serde::Serialize;

use super::judged_run::JudgedRun;
use crate::error::TrainError;
use crate::evaluate::{CircuitMeter, FaithfulnessCurve, Measured, UnitRanking, WholeModel, faithfulness_curve};
use crate::recipe::{AblationName, Metric, SetName};
use crate::run::DelayedProgress;

/// How circuits are measured.
#[derive(Clone, Copy, Debug)]
pub struct CurveSettings {
    /// What is measured: accuracy or logit difference.
    pub metric: Metric,
    /// The examples on which it is measured.
    pub set: SetName,
    /// What replaces the units that are removed: zero, a mean, or values on other examples.
    pub ablation: AblationName,
    /// Number of random rankings.
    pub random: usize,
}

/// The faithfulness curve of a finished run.
#[derive(Clone, Debug, Serialize)]
pub struct CurveReport {
    /// Folder of the run.
    pub run: PathBuf,
    /// What is measured.
    pub metric: Metric,
    /// The examples on which it is measured.
    pub set: SetName,
    /// What replaces the units that are removed.
    pub ablation: AblationName,
    /// Number of examples.
    pub examples: usize,
    /// The curve of the units in the order of the run's mask parameters.
    pub curve: FaithfulnessCurve,
    /// The circuit that the run found.
    pub found: FoundCircuit,
    /// Duration in seconds.
    pub seconds: f64,
}

/// The circuit of a run, with its faithfulness.
#[derive(Clone, Debug, Serialize)]
pub struct FoundCircuit {
    /// Folder of the run.
    pub run: PathBuf,
    /// Weight of the L0 term in the loss.
    pub l0_lambda: f64,
    /// Number of units that the circuit keeps.
    pub size: usize,
    /// Number of units.
    pub units: usize,
    /// The metric of the circuit alone.
    pub circuit: f64,
    /// The metric of the model without it.
    pub complement: f64,
    /// `(circuit − empty) / (full − empty)`.
    pub faithfulness: f64,
}

/// Measures the curve of the circuit in the folder of a finished run, with the examples of its recipe.
///
/// # Errors
/// Returns [`TrainError::Io`] or [`TrainError::Recipe`] if `folder` is not the folder of a run, [`TrainError::Setting`] for a
/// set without examples, a circuit without units, a metric that no unit changes, and an ablation that the masks do not
/// allow, and the errors of reading the circuit and the data.
pub fn curve_of_run(
    folder: impl AsRef<Path>,
    settings: &CurveSettings,
    device: &Device,
) -> Result<CurveReport, TrainError> {
    let start = Instant::now();
    with_meter(folder.as_ref(), settings, device, |run, rows, meter, ranking| {
        let mut bar = DelayedProgress::new("circuits");
        let random = (settings.random, run.recipe.seed);
        let curve = faithfulness_curve(meter, ranking, random, |done, total| bar.update(done, total))?;
        bar.finish();
        let found = found((folder.as_ref(), run), meter, ranking, [curve.full, curve.empty])?;
        Ok(CurveReport {
            run: folder.as_ref().into(),
            metric: settings.metric,
            set: settings.set,
            ablation: settings.ablation,
            examples: rows.len(),
            curve,
            found,
            seconds: start.elapsed().as_secs_f64(),
        })
    })
}

/// Measures the circuit that a finished run found, without the curve.
///
/// # Errors
/// Returns the errors of [`curve_of_run`].
pub fn circuit_of_run(
    folder: impl AsRef<Path>,
    settings: &CurveSettings,
    device: &Device,
) -> Result<FoundCircuit, TrainError> {
    with_meter(folder.as_ref(), settings, device, |run, _, meter, ranking| {
        let none = Measured { masks: Box::new(|| ranking.circuit(0)), alone: true };
        let limits = [meter.full()?, meter.measure([none], |_, _| {})?[0]];
        found((folder.as_ref(), run), meter, ranking, limits)
    })
}

/// Opens a finished run, and measures circuits of its units on the rows of the set.
fn with_meter<T>(
    folder: &Path,
    settings: &CurveSettings,
    device: &Device,
    measure: impl FnOnce(&JudgedRun, &[usize], &mut CircuitMeter<'_, AnyModel>, &UnitRanking) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let run = JudgedRun::open(folder, &[settings.ablation], device)?;
    let rows = run.rows(settings.set)?;
    let whole = WholeModel::new(&run.answers, rows, run.circuit.base().head());
    let ablation = run.ablation(settings.ablation, rows)?;
    let mut meter = CircuitMeter::new(&run.circuit, &whole, ablation, settings.metric);
    measure(&run, rows, &mut meter, &UnitRanking::of_masks(&run.circuit)?)
}

/// The smallest of some circuits that keeps at least `share` of the behaviour: how λ is chosen on the dev set. `None` if
/// none does.
pub fn smallest_circuit(circuits: &[FoundCircuit], share: f64) -> Option<&FoundCircuit> {
    circuits.iter().filter(|circuit| circuit.faithfulness >= share).min_by_key(|circuit| circuit.size)
}

/// Measures the circuit of a run. `limits` are the metrics of the whole model and of the model without any unit.
fn found(
    (folder, run): (&Path, &JudgedRun),
    meter: &mut CircuitMeter<'_, AnyModel>,
    ranking: &UnitRanking,
    [full, empty]: [f64; 2],
) -> Result<FoundCircuit, TrainError> {
    let masks = run.circuit.mask_params();
    let of = |alone| Measured { masks: Box::new(|| masks.clone()), alone };
    let found = meter.measure([true, false].map(of), |_, _| {})?;
    let (circuit, complement) = (found[0], found[1]);
    let size = masks.values().flat_map(|data| data.iter::<f32>()).filter(|logit| *logit > 0.0).count();
    let faithfulness = crate::statistics::faithfulness(&[circuit], full, empty)?[0];
    Ok(FoundCircuit {
        run: folder.into(),
        l0_lambda: run.circuit.config().l0_lambda,
        size,
        units: ranking.len(),
        circuit,
        complement,
        faithfulness,
    })
}
