//! Faithfulness curves: how much of a model's behaviour the best units of a circuit keep, and what is lost without them.

use burn::module::Module;
use ns_circuit::{Ablation, CircuitModel, ModelVariant};
use serde::Serialize;

use super::ablation_study::{AblationStudy, Sums};
use super::behaviour::{Behaviour, mean_and_sd};
use super::scores::Answering;
use super::subject::HookedSubject;
use super::unit_ablation::UnitAblation;
use super::unit_ranking::{MaskParams, UnitRanking};
use crate::error::TrainError;
use crate::recipe::Metric;
use crate::statistics::{FaithfulnessAreas, MIB_SHARES, circuit_sizes, faithfulness, smallest_size};

/// The curve of a ranking of units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaithfulnessCurve {
    /// Number of units: entries of the masks.
    pub units: usize,
    /// The metric of the whole model.
    pub full: f64,
    /// The metric of the model without any unit.
    pub empty: f64,
    /// Circuits of the best units, from small to large.
    pub points: Vec<CurvePoint>,
    /// Areas under the curve, at the shares of the Mechanistic Interpretability Benchmark.
    pub areas: Areas,
    /// Mean and standard deviation over the random rankings of their areas; `None` without random rankings.
    pub random_areas: Option<RandomAreas>,
}

/// The circuit of the best units of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Share of the units.
    pub share: f64,
    /// Number of units.
    pub size: usize,
    /// The metric of the circuit alone.
    pub circuit: f64,
    /// The metric of the model without the circuit.
    pub complement: f64,
    /// `(circuit − empty) / (full − empty)`.
    pub faithfulness: f64,
    /// The same of the model without the circuit.
    pub complement_faithfulness: f64,
    /// Mean and standard deviation of the faithfulness of circuits of as many units in random order.
    pub random: Option<[f64; 2]>,
}

/// Areas under a faithfulness curve, see [`FaithfulnessAreas`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Areas {
    /// Area under the faithfulness. 0.999 for a perfect curve.
    pub cpr: f64,
    /// Area between the faithfulness and 1. 0 for a perfect curve.
    pub cmd: f64,
}

/// Areas of random rankings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RandomAreas {
    /// Number of random rankings.
    pub n: usize,
    /// Mean and standard deviation of the CPR.
    pub cpr: [f64; 2],
    /// Mean and standard deviation of the CMD.
    pub cmd: [f64; 2],
}

impl FaithfulnessCurve {
    /// The smallest measured circuit that keeps a share of the behaviour; `None` if none does.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a share that is not finite.
    pub fn smallest(&self, share: f64) -> Result<Option<&CurvePoint>, TrainError> {
        let (sizes, values): (Vec<usize>, Vec<f64>) =
            self.points.iter().map(|point| (point.size, point.faithfulness)).unzip();
        let size = smallest_size(&sizes, &values, share)?;
        Ok(size.and_then(|size| self.points.iter().find(|point| point.size == size)))
    }
}

/// Measures circuits by the units that they keep.
pub(crate) struct CircuitMeter<'a, M: Module> {
    circuit: CircuitModel<M>,
    subject: &'a dyn HookedSubject<M>,
    /// What replaces removed units; `None` for zero.
    ablation: Option<UnitAblation<'a>>,
    metric: Metric,
    study: AblationStudy,
}

impl<'a, M: Answering> CircuitMeter<'a, M> {
    /// A meter for circuits of the masked layers of `circuit`, which is in evaluation mode.
    pub(crate) fn new(
        circuit: &CircuitModel<M>,
        subject: &'a dyn HookedSubject<M>,
        ablation: Option<UnitAblation<'a>>,
        metric: Metric,
    ) -> Self {
        let study = AblationStudy {
            kl: metric == Metric::Kl,
            logit_difference: metric == Metric::LogitDifference,
            ..AblationStudy::default()
        };
        Self { circuit: circuit.clone(), subject, ablation, metric, study }
    }

    /// The metric of the whole model.
    ///
    /// # Errors
    /// Returns the errors of the forward passes.
    pub(crate) fn full(&self) -> Result<f64, TrainError> {
        self.of_model(&self.circuit.model_as(ModelVariant::WholeModel)?)
    }

    /// The metrics of some circuits. `progress` is told how much of how much is done.
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] for masks that do not fit, and the errors of the forward passes.
    pub(crate) fn measure<'r>(
        &mut self,
        circuits: impl IntoIterator<Item = Measured<'r>>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<f64>, TrainError> {
        let circuits: Vec<Measured<'r>> = circuits.into_iter().collect();
        let (mut found, mut kept) = (Vec::new(), Vec::new());
        for (index, Measured { masks, alone }) in circuits.iter().enumerate() {
            self.circuit.load_mask_params(&masks())?;
            let variant = match alone {
                true => ModelVariant::CircuitOnly,
                false => ModelVariant::Ablated(Ablation::ZeroAblate),
            };
            if self.ablation.is_some() {
                self.circuit.set_variant(variant)?;
                kept.push(self.circuit.active_units()?);
                continue;
            }
            found.push(self.of_model(&self.circuit.model_as(variant)?)?);
            progress(index + 1, circuits.len());
        }
        if let Some(ablation) = &self.ablation {
            let batches = self.subject.answers().len();
            let report = |batch| progress(batch, batches);
            let measured = self.study.measure_units(&self.circuit, self.subject, ablation, &kept, report)?;
            found.extend(measured.iter().map(|behaviour| self.value(behaviour)));
        }
        Ok(found)
    }

    fn of_model(&self, model: &M) -> Result<f64, TrainError> {
        let mut sums = Sums::default();
        for (batch, answers) in self.subject.answers().iter().enumerate() {
            let scores = self.subject.scores(model, self.subject.hidden(model, batch)?)?;
            sums.add(&self.study, answers, scores, || {
                let whole = self.circuit.model_as(ModelVariant::WholeModel)?;
                self.subject.scores(&whole, self.subject.hidden(&whole, batch)?)
            })?;
        }
        Ok(self.value(&sums.means(&self.study)))
    }

    fn value(&self, behaviour: &Behaviour) -> f64 {
        behaviour.get(self.metric).unwrap_or(f64::NAN)
    }
}

/// A circuit that is measured: its masks, which are made when it is its turn, and whether it is measured alone or removed.
pub(crate) struct Measured<'r> {
    pub(crate) masks: Box<dyn Fn() -> MaskParams + 'r>,
    pub(crate) alone: bool,
}

impl<'r> Measured<'r> {
    /// The circuit of the first `size` units of a ranking.
    fn first(ranking: &'r UnitRanking, size: usize, alone: bool) -> Self {
        Self { masks: Box::new(move || ranking.circuit(size)), alone }
    }
}

/// Measures the curve of a ranking next to `random` rankings. `progress` is told how much of how much is done.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the model with all units and the model without any have the same metric, and the
/// errors of the forward passes.
pub(crate) fn faithfulness_curve<M: Answering>(
    meter: &mut CircuitMeter<'_, M>,
    ranking: &UnitRanking,
    (random, seed): (usize, u64),
    progress: impl FnMut(usize, usize),
) -> Result<FaithfulnessCurve, TrainError> {
    let sizes = circuit_sizes(&MIB_SHARES, ranking.len())?;
    // Small shares of few units have the same size, which is measured once.
    let mut different = vec![0];
    different.extend(sizes.iter().filter(|size| **size > 0));
    different.dedup();
    let shuffled: Vec<UnitRanking> = (0..random).map(|draw| ranking.shuffled(seed, draw)).collect();
    let of_sides = [true, false]
        .into_iter()
        .flat_map(|alone| different.iter().map(move |size| Measured::first(ranking, *size, alone)));
    let of_random = shuffled.iter().flat_map(|order| different.iter().map(|size| Measured::first(order, *size, true)));
    let full = meter.full()?;
    let measured = meter.measure(of_sides.chain(of_random), progress)?;
    let empty = measured.first().copied().unwrap_or(f64::NAN);
    let rows: Vec<Vec<f64>> = measured
        .chunks(different.len())
        .map(|row| {
            sizes.iter().filter_map(|size| Some(row[different.iter().position(|known| known == size)?])).collect()
        })
        .collect();
    let kept = rows.iter().map(|row| faithfulness(row, full, empty)).collect::<Result<Vec<_>, _>>()?;
    let (sides, of_random) = kept.split_at(2.min(kept.len()));
    let spread = |index: usize| pair(of_random.iter().map(|values| values[index]));
    let points = (0..sizes.len()).map(|index| CurvePoint {
        share: MIB_SHARES[index],
        size: sizes[index],
        circuit: rows[0][index],
        complement: rows[1][index],
        faithfulness: sides[0][index],
        complement_faithfulness: sides[1][index],
        random: spread(index),
    });
    let areas = |values: &Vec<f64>| {
        let FaithfulnessAreas { cpr, cmd, .. } = FaithfulnessAreas::new(&MIB_SHARES, values)?;
        Ok::<_, TrainError>(Areas { cpr, cmd })
    };
    let all = of_random.iter().map(areas).collect::<Result<Vec<_>, _>>()?;
    let [cpr, cmd] = [pair(all.iter().map(|areas| areas.cpr)), pair(all.iter().map(|areas| areas.cmd))];
    let random_areas = cpr.zip(cmd).map(|(cpr, cmd)| RandomAreas { n: random, cpr, cmd });
    let (points, areas) = (points.collect(), areas(&sides[0])?);
    Ok(FaithfulnessCurve { units: ranking.len(), full, empty, points, areas, random_areas })
}

/// Mean and sample standard deviation.
fn pair(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    mean_and_sd(&values.collect::<Vec<_>>()).map(|(mean, sd)| [mean, sd])
}
