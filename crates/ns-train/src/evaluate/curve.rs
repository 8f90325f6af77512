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

    /// The metrics of a circuit alone and of the model without it.
    ///
    /// # Errors
    /// Returns [`TrainError::Circuit`] for masks that do not fit, and the errors of the forward passes.
    pub(crate) fn both(&mut self, masks: &MaskParams) -> Result<[f64; 2], TrainError> {
        Ok([self.of(masks, ModelVariant::CircuitOnly)?, self.without(masks)?])
    }

    /// The metric of a circuit alone.
    pub(crate) fn alone(&mut self, masks: &MaskParams) -> Result<f64, TrainError> {
        self.of(masks, ModelVariant::CircuitOnly)
    }

    fn without(&mut self, masks: &MaskParams) -> Result<f64, TrainError> {
        self.of(masks, ModelVariant::Ablated(Ablation::ZeroAblate))
    }

    fn of(&mut self, masks: &MaskParams, variant: ModelVariant) -> Result<f64, TrainError> {
        self.circuit.load_mask_params(masks)?;
        let Some(ablation) = &self.ablation else { return self.of_model(&self.circuit.model_as(variant)?) };
        self.circuit.set_variant(variant)?;
        let kept = self.circuit.active_units()?;
        let found = self.study.measure_units(&self.circuit, self.subject, ablation, &[kept])?;
        Ok(found.first().and_then(|found| self.value(found)).unwrap_or(f64::NAN))
    }

    fn of_model(&self, model: &M) -> Result<f64, TrainError> {
        let mut sums = Sums::default();
        let whole = self.circuit.model_as(ModelVariant::WholeModel)?;
        for (batch, answers) in self.subject.answers().iter().enumerate() {
            let scores = self.subject.scores(model, self.subject.hidden(model, batch)?)?;
            sums.add(&self.study, answers, scores, || {
                self.subject.scores(&whole, self.subject.hidden(&whole, batch)?)
            })?;
        }
        Ok(self.value(&sums.means(&self.study)).unwrap_or(f64::NAN))
    }

    fn value(&self, behaviour: &Behaviour) -> Option<f64> {
        behaviour.get(self.metric)
    }
}

/// Measures the curve of a ranking next to `random` rankings. `progress` is told how many circuits of how many are done.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the model with all units and the model without any have the same metric, and the
/// errors of the forward passes.
pub(crate) fn faithfulness_curve<M: Answering>(
    meter: &mut CircuitMeter<'_, M>,
    ranking: &UnitRanking,
    (random, seed): (usize, u64),
    mut progress: impl FnMut(usize, usize),
) -> Result<FaithfulnessCurve, TrainError> {
    let sizes = circuit_sizes(&MIB_SHARES, ranking.len())?;
    let mut different = sizes.clone();
    different.dedup();
    let total = (different.len() * (random + 2)).max(1);
    let mut done = 0;
    let mut step = |count: usize| {
        done += count;
        progress(done, total);
    };
    let (full, empty) = (meter.full()?, meter.alone(&ranking.circuit(0))?);
    let mut of_ranking = |size: usize| {
        let both = meter.both(&ranking.circuit(size));
        step(2);
        both
    };
    let measured = by_size(&sizes, &mut of_ranking)?;
    let [circuit, complement]: [Vec<f64>; 2] = [0, 1].map(|side| measured.iter().map(|both| both[side]).collect());
    let kept = faithfulness(&circuit, full, empty)?;
    let left = faithfulness(&complement, full, empty)?;
    let mut of_random = Vec::new();
    for draw in 0..random {
        let shuffled = ranking.shuffled(seed, draw);
        let mut alone = |size: usize| {
            let alone = meter.alone(&shuffled.circuit(size));
            step(1);
            alone
        };
        of_random.push(faithfulness(&by_size(&sizes, &mut alone)?, full, empty)?);
    }
    let spread = |index: usize| pair(of_random.iter().map(|values| values[index]));
    let points = (0..sizes.len()).map(|index| CurvePoint {
        share: MIB_SHARES[index],
        size: sizes[index],
        circuit: circuit[index],
        complement: complement[index],
        faithfulness: kept[index],
        complement_faithfulness: left[index],
        random: spread(index),
    });
    let areas = |values: &[f64]| {
        let FaithfulnessAreas { cpr, cmd, .. } = FaithfulnessAreas::new(&MIB_SHARES, values)?;
        Ok::<_, TrainError>(Areas { cpr, cmd })
    };
    let all = of_random.iter().map(|values| areas(values)).collect::<Result<Vec<_>, _>>()?;
    let [cpr, cmd] = [pair(all.iter().map(|areas| areas.cpr)), pair(all.iter().map(|areas| areas.cmd))];
    let random_areas = cpr.zip(cmd).map(|(cpr, cmd)| RandomAreas { n: random, cpr, cmd });
    Ok(FaithfulnessCurve {
        units: ranking.len(),
        full,
        empty,
        points: points.collect(),
        areas: areas(&kept)?,
        random_areas,
    })
}

/// Measures each size once; small shares of few units have the same size.
fn by_size<T: Copy>(
    sizes: &[usize],
    measure: &mut dyn FnMut(usize) -> Result<T, TrainError>,
) -> Result<Vec<T>, TrainError> {
    let mut measured: Vec<(usize, T)> = Vec::new();
    for size in sizes {
        if measured.last().is_none_or(|(last, _)| last != size) {
            measured.push((*size, measure(*size)?));
        }
    }
    let of_size = |size: &usize| measured.iter().find(|(known, _)| known == size).map(|(_, value)| *value);
    Ok(sizes.iter().filter_map(of_size).collect())
}

/// Mean and sample standard deviation.
fn pair(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    mean_and_sd(&values.collect::<Vec<_>>()).map(|(mean, sd)| [mean, sd])
}
