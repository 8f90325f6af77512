//! Rankings compared with the truth: ROC and precision-recall curves and their summaries, as in scikit-learn.

use super::checks::{check_comparable, check_length};
use super::ranks::ranks;
use crate::error::TrainError;

/// A receiver operating characteristic, with a point for each distinct score.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// Share of the negatives whose score is at least the threshold, `[thresholds + 1]`, from 0 on.
    pub false_positive_rates: Vec<f64>,
    /// Share of the positives whose score is at least the threshold, `[thresholds + 1]`, from 0 on.
    pub true_positive_rates: Vec<f64>,
    /// The distinct scores, falling. The first point of the curve, the origin, has no threshold here; scikit-learn gives
    /// it an infinite one.
    pub thresholds: Vec<f64>,
}

/// A precision-recall curve in scikit-learn's order: by rising threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionRecallCurve {
    /// Share of the positives among the items whose score is at least the threshold, `[thresholds + 1]`; the last is 1.
    pub precision: Vec<f64>,
    /// Share of the positives whose score is at least the threshold, `[thresholds + 1]`; the last is 0.
    pub recall: Vec<f64>,
    /// The distinct scores, rising.
    pub thresholds: Vec<f64>,
}

/// The threshold with the highest F1 score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestF1 {
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Precision at the threshold.
    pub precision: f64,
    /// Recall at the threshold.
    pub recall: f64,
    /// The items whose score is at least this are predicted to be positive.
    pub threshold: f64,
}

/// What is predicted at one threshold.
struct Cut {
    threshold: f64,
    true_positives: usize,
    false_positives: usize,
}

impl Cut {
    fn precision(&self) -> f64 {
        self.true_positives as f64 / (self.true_positives + self.false_positives) as f64
    }

    fn recall(&self, positives: usize) -> f64 {
        self.true_positives as f64 / positives as f64
    }
}

/// Area under the receiver operating characteristic: the share of the pairs of a positive and a negative item in which the
/// positive one has the higher score, where a tie counts ½. It is computed from the ranks of the scores (Mann and Whitney
/// 1947), and equals scikit-learn's `roc_auc_score`.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the lengths differ, if a score is NaN, or if there are no positives or no negatives.
pub fn auroc(scores: &[f64], truth: &[bool]) -> Result<f64, TrainError> {
    let (positives, negatives) = check_both_classes(scores, truth)?;
    let of_positives = ranks(scores).into_iter().zip(truth).filter(|(_, truth)| **truth);
    let sum: f64 = of_positives.map(|(rank, _)| rank).sum();
    let (positives, negatives) = (positives as f64, negatives as f64);
    Ok((sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Average precision: `Σ (R_j − R_{j−1}) P_j` over the distinct scores from the highest on, with precision `P` and recall
/// `R` and no interpolation, as scikit-learn's `average_precision_score`.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the lengths differ, if a score is NaN, or if there are no positives.
pub fn average_precision(scores: &[f64], truth: &[bool]) -> Result<f64, TrainError> {
    let positives = check_positives(scores, truth)?;
    let (mut sum, mut before) = (0.0, 0.0);
    for cut in cuts(scores, truth) {
        let recall = cut.recall(positives);
        sum += (recall - before) * cut.precision();
        before = recall;
    }
    Ok(sum)
}

/// The receiver operating characteristic, as scikit-learn's `roc_curve` with `drop_intermediate=False`.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the lengths differ, if a score is NaN, or if there are no positives or no negatives.
pub fn roc_curve(scores: &[f64], truth: &[bool]) -> Result<RocCurve, TrainError> {
    let (positives, negatives) = check_both_classes(scores, truth)?;
    let cuts = cuts(scores, truth);
    let from_origin = |rate: &dyn Fn(&Cut) -> f64| [0.0].into_iter().chain(cuts.iter().map(rate)).collect();
    Ok(RocCurve {
        false_positive_rates: from_origin(&|cut| cut.false_positives as f64 / negatives as f64),
        true_positive_rates: from_origin(&|cut| cut.recall(positives)),
        thresholds: cuts.iter().map(|cut| cut.threshold).collect(),
    })
}

/// The precision-recall curve, as scikit-learn's `precision_recall_curve`.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the lengths differ, if a score is NaN, or if there are no positives.
pub fn precision_recall_curve(scores: &[f64], truth: &[bool]) -> Result<PrecisionRecallCurve, TrainError> {
    let positives = check_positives(scores, truth)?;
    let cuts = cuts(scores, truth);
    let rising = || cuts.iter().rev();
    Ok(PrecisionRecallCurve {
        precision: rising().map(Cut::precision).chain([1.0]).collect(),
        recall: rising().map(|cut| cut.recall(positives)).chain([0.0]).collect(),
        thresholds: rising().map(|cut| cut.threshold).collect(),
    })
}

/// The highest F1 score `2PR / (P + R)` over all thresholds; of equal ones, that with the highest threshold.
///
/// # Errors
/// Returns [`TrainError::Setting`] if the lengths differ, if a score is NaN, or if there are no positives.
pub fn best_f1(scores: &[f64], truth: &[bool]) -> Result<BestF1, TrainError> {
    let positives = check_positives(scores, truth)?;
    // 2PR / (P + R) in counts, which is 0 rather than 0/0 without true positives.
    let f1 =
        |cut: &Cut| (2 * cut.true_positives) as f64 / (cut.true_positives + cut.false_positives + positives) as f64;
    let better = |best: Cut, cut: Cut| if f1(&cut) > f1(&best) { cut } else { best };
    let best = cuts(scores, truth).into_iter().reduce(better);
    let best = best.ok_or_else(|| TrainError::setting("`scores`", "empty", "at least one value is needed"))?;
    let (f1, precision, recall) = (f1(&best), best.precision(), best.recall(positives));
    Ok(BestF1 { f1, precision, recall, threshold: best.threshold })
}

/// The predictions at each distinct score, from the highest on.
fn cuts(scores: &[f64], truth: &[bool]) -> Vec<Cut> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
    let (mut true_positives, mut seen) = (0, 0);
    let equal_scores = order.chunk_by(|left, right| scores[*left] == scores[*right]);
    let cut = |equal: &[usize]| {
        true_positives += equal.iter().filter(|item| truth[**item]).count();
        seen += equal.len();
        // Of 0 and −0, which are equal, the first in the list.
        let threshold = equal.iter().min().map_or(f64::NAN, |item| scores[*item]);
        Cut { threshold, true_positives, false_positives: seen - true_positives }
    };
    equal_scores.map(cut).collect()
}

fn check_positives(scores: &[f64], truth: &[bool]) -> Result<usize, TrainError> {
    check_comparable("`scores`", scores)?;
    check_length("`truth`", truth.len(), "`scores`", scores.len())?;
    let positives = truth.iter().filter(|truth| **truth).count();
    TrainError::check(positives > 0, "`truth`", "false everywhere", "the measure needs at least one positive item")?;
    Ok(positives)
}

/// The numbers of positives and negatives, of which there must be some.
fn check_both_classes(scores: &[f64], truth: &[bool]) -> Result<(usize, usize), TrainError> {
    let positives = check_positives(scores, truth)?;
    let negatives = truth.len() - positives;
    TrainError::check(negatives > 0, "`truth`", "true everywhere", "the measure needs at least one negative item")?;
    Ok((positives, negatives))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of scikit-learn's documentation.
    const SCORES: [f64; 4] = [0.1, 0.4, 0.35, 0.8];
    const TRUTH: [bool; 4] = [false, false, true, true];

    #[test]
    fn the_example_of_scikit_learn() {
        assert_eq!(auroc(&SCORES, &TRUTH).unwrap(), 0.75);
        assert!((average_precision(&SCORES, &TRUTH).unwrap() - 5.0 / 6.0).abs() < 1e-15);
        let roc = roc_curve(&SCORES, &TRUTH).unwrap();
        assert_eq!(roc.false_positive_rates, [0.0, 0.0, 0.5, 0.5, 1.0]);
        assert_eq!(roc.true_positive_rates, [0.0, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(roc.thresholds, [0.8, 0.4, 0.35, 0.1]);
        let curve = precision_recall_curve(&SCORES, &TRUTH).unwrap();
        assert_eq!(curve.precision, [0.5, 2.0 / 3.0, 0.5, 1.0, 1.0]);
        assert_eq!(curve.recall, [1.0, 1.0, 0.5, 0.5, 0.0]);
        assert_eq!(curve.thresholds, [0.1, 0.35, 0.4, 0.8]);
    }

    #[test]
    fn ties_are_one_threshold() {
        let (scores, truth) = ([1.0, 1.0, 0.0, -0.0, 2.0], [true, false, false, true, false]);
        // Of the six pairs, 1.0 > 0.0 is in order, and 1.0 = 1.0 and −0.0 = 0.0 are ties.
        assert_eq!(auroc(&scores, &truth).unwrap(), 2.0 / 6.0);
        assert_eq!(roc_curve(&scores, &truth).unwrap().thresholds, [2.0, 1.0, 0.0]);
        let expected = 0.5 * (1.0 / 3.0) + 0.5 * 0.4;
        assert!((average_precision(&scores, &truth).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn the_best_threshold_balances_precision_and_recall() {
        let best = best_f1(&SCORES, &TRUTH).unwrap();
        assert_eq!(best, BestF1 { f1: 0.8, precision: 2.0 / 3.0, recall: 1.0, threshold: 0.35 });
        // Both thresholds have an F1 of 2/3.
        let tied = best_f1(&[3.0, 2.0, 1.0, 0.0], &[true, false, false, true]).unwrap();
        assert_eq!((tied.threshold, tied.f1), (3.0, 2.0 / 3.0));
    }

    #[test]
    fn rankings_without_a_result_are_refused() {
        let measures = [auroc, average_precision, |s: &[f64], t: &[bool]| best_f1(s, t).map(|best| best.f1)];
        for measure in measures {
            assert!(measure(&[], &[]).is_err());
            assert!(measure(&[1.0, 2.0], &[true]).is_err());
            assert!(measure(&[1.0, f64::NAN], &[true, false]).is_err());
            assert!(measure(&[1.0, 2.0], &[false, false]).is_err());
        }
        assert!(auroc(&[1.0, 2.0], &[true, true]).is_err() && roc_curve(&[1.0, 2.0], &[true, true]).is_err());
        assert_eq!(average_precision(&[1.0, 2.0], &[true, true]).unwrap(), 1.0);
        assert_eq!(auroc(&[1.0, f64::INFINITY], &[false, true]).unwrap(), 1.0);
    }

    /// Scores with ties, with at least one positive and one negative item.
    fn rankings() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
        let items = proptest::collection::vec((-4..4_i32, any::<bool>()), 2..30);
        items.prop_map(|items| {
            let (scores, mut truth): (Vec<f64>, Vec<bool>) =
                items.into_iter().map(|(score, truth)| (f64::from(score), truth)).unzip();
            (truth[0], truth[1]) = (true, false);
            (scores, truth)
        })
    }

    proptest! {
        #[test]
        fn reversed_scores_turn_the_area_round((scores, truth) in rankings()) {
            let reversed: Vec<f64> = scores.iter().map(|score| -score).collect();
            let sum = auroc(&scores, &truth).unwrap() + auroc(&reversed, &truth).unwrap();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }

        #[test]
        fn the_area_is_that_under_the_curve_and_counts_pairs((scores, truth) in rankings()) {
            let found = auroc(&scores, &truth).unwrap();
            let RocCurve { false_positive_rates: x, true_positive_rates: y, .. } = roc_curve(&scores, &truth).unwrap();
            let area: f64 = x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum();
            prop_assert!((found - area).abs() < 1e-12);
            let (mut ordered, mut pairs) = (0.0, 0.0);
            for positive in (0..truth.len()).filter(|item| truth[*item]) {
                for negative in (0..truth.len()).filter(|item| !truth[*item]) {
                    let difference = scores[positive] - scores[negative];
                    ordered += if difference == 0.0 { 0.5 } else { f64::from(difference > 0.0) };
                    pairs += 1.0;
                }
            }
            prop_assert!((found - ordered / pairs).abs() < 1e-12);
        }

        #[test]
        fn the_best_f1_is_the_highest_of_the_curve((scores, truth) in rankings()) {
            let curve = precision_recall_curve(&scores, &truth).unwrap();
            let f1 = curve.precision.iter().zip(&curve.recall).map(|(p, r)| if p + r == 0.0 { 0.0 } else { 2.0 * p * r / (p + r) });
            let highest = f1.fold(0.0, f64::max);
            prop_assert!((best_f1(&scores, &truth).unwrap().f1 - highest).abs() < 1e-12);
        }
    }
}
