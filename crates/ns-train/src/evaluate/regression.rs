//! Regression on numbers: how the labels are scaled, and how well predictions fit them.

use serde::Serialize;

use crate::data::{Dataset, Examples};
use crate::statistics::ranks;

/// Mean and standard deviation of the training labels of a regression, and the numbers that the labels are indices of,
/// with mean 0 and standard deviation 1. It is serialised without the numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LabelScale {
    #[serde(skip)]
    standardised: Vec<f64>,
    label_mean: f64,
    label_sd: f64,
}

/// How well predictions fit the labels of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fit {
    /// See [`r_squared`].
    pub(crate) r2: Option<f64>,
    /// See [`spearman`].
    pub(crate) spearman: Option<f64>,
}

impl LabelScale {
    /// The scale of numeric examples, whose training set has at least two different labels.
    pub(crate) fn of(examples: &Examples) -> Self {
        let train = examples.values(&examples.split().train);
        let label_mean = mean(&train);
        // Relative to the largest deviation, so that no square overflows or underflows.
        let largest = train.iter().fold(0.0, |largest: f64, value| largest.max((value - label_mean).abs()));
        let relative: Vec<f64> = train.iter().map(|value| (value - label_mean) / largest).collect();
        let label_sd = largest * (squares_about(&relative, 0.0) / train.len() as f64).sqrt();
        let standardised = examples.numbers().iter().map(|number| (number - label_mean) / label_sd).collect();
        Self { standardised, label_mean, label_sd }
    }

    /// The standardised numbers, which the probe predicts.
    pub(crate) fn standardised(&self) -> Vec<f32> {
        self.standardised.iter().map(|number| *number as f32).collect()
    }

    /// Compares standardised predictions with labels. Both measures are the same for predictions that are scaled back.
    pub(crate) fn fit(&self, predicted: &[f32], labels: &[i64]) -> Fit {
        let predicted: Vec<f64> = predicted.iter().map(|number| f64::from(*number)).collect();
        let values: Vec<f64> = labels.iter().map(|label| self.standardised[*label as usize]).collect();
        Fit { r2: r_squared(&predicted, &values), spearman: spearman(&predicted, &values) }
    }
}

/// The coefficient of determination, `1 − SSE / SST` with SST about the mean of `values`, as scikit-learn's `r2_score`.
/// It is 1 for equal numbers, 0 for the mean of `values`, and negative for worse predictions. `None` for constant
/// `values`.
pub(crate) fn r_squared(predicted: &[f64], values: &[f64]) -> Option<f64> {
    if is_constant(values) {
        return None;
    }
    let errors = predicted.iter().zip(values).map(|(predicted, value)| (predicted - value).powi(2));
    Some(1.0 - errors.sum::<f64>() / squares_about(values, mean(values)))
}

/// Spearman's rank correlation, from −1 to 1, as scipy's `spearmanr`: Pearson's correlation of the ranks, where equal
/// numbers have the mean of their ranks. `None` if a side is constant.
pub(crate) fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    if is_constant(left) || is_constant(right) {
        return None;
    }
    let (left, right) = (ranks(left), ranks(right));
    // Both sides have the ranks 1 to n, with the same mean.
    let middle = (left.len() + 1) as f64 / 2.0;
    let products: f64 = left.iter().zip(&right).map(|(left, right)| (left - middle) * (right - middle)).sum();
    Some(products / (squares_about(&left, middle) * squares_about(&right, middle)).sqrt())
}

/// Whether there are no two different numbers.
fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn squares_about(values: &[f64], centre: f64) -> f64 {
    values.iter().map(|value| (value - centre).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ModelLimits;

    #[track_caller]
    fn assert_near(found: Option<f64>, expected: f64) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}, but {expected} was expected");
    }

    #[test]
    fn r_squared_compares_with_the_mean_of_the_labels() {
        // The example of scikit-learn's r2_score: SSE 1.5, SST 29.1875.
        let values = [3.0, -0.5, 2.0, 7.0];
        assert_near(r_squared(&[2.5, 0.0, 2.0, 8.0], &values), 1.0 - 1.5 / 29.1875);
        assert_near(r_squared(&values, &values), 1.0);
        assert_near(r_squared(&[2.875; 4], &values), 0.0);
        // SSE 8, SST 2.
        assert_near(r_squared(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0]), -3.0);
        assert_eq!((r_squared(&[0.1, 0.2, 0.3], &[0.1; 3]), r_squared(&[1.0], &[2.0])), (None, None));
        assert_eq!(r_squared(&[], &[]), None);
    }

    #[test]
    fn spearman_correlates_ranks() {
        // The example of scipy's spearmanr: the ranks of the second side are 1, 2, 3.5, 5 and 3.5.
        assert_near(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]), 0.820_782_681_668_123_3);
        // Without ties it is 1 − 6·Σd² / (n³ − n), here 1 − 6·20 / 120.
        assert_near(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 1.0]), 0.0);
        assert_near(spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 1e9]), 1.0);
        assert_near(spearman(&[1.0, 2.0, 3.0], &[-1.0, -10.0, -1e9]), -1.0);
        assert_eq!((spearman(&[1.0, 1.0], &[1.0, 2.0]), spearman(&[1.0, 2.0], &[3.0, 3.0])), (None, None));
    }

    fn numbers(train: [&str; 2], test: [&str; 2]) -> Examples {
        let folder = tempfile::tempdir().unwrap();
        let rows = |labels: [&str; 2], set: &str| labels.map(|label| format!("1,{label},{set}\n")).concat();
        let table = format!("ids,y,set\n{}{}", rows(train, "train"), rows(test, "test"));
        std::fs::write(folder.path().join("a.csv"), table).unwrap();
        let section = "path = \"a.csv\"\ntokens = \"ids\"\nlabel = \"y\"\nnumeric = true\nsplit.column = \"set\"";
        let section: crate::recipe::DataSection = toml::from_str(section).unwrap();
        let section = section.resolve(&folder.path().join("recipe.toml"));
        Examples::read(&section, None, ModelLimits::default()).unwrap()
    }

    #[test]
    fn labels_are_standardised_by_the_training_set() {
        let examples = numbers(["10", "30"], ["50", "20"]);
        let scale = LabelScale::of(&examples);
        assert_eq!((scale.label_mean, scale.label_sd), (20.0, 10.0));
        assert_eq!(scale.standardised(), [-1.0, 0.0, 1.0, 3.0], "the numbers are 10, 20, 30, 50");
        assert_eq!(serde_json::to_string(&scale).unwrap(), r#"{"label_mean":20.0,"label_sd":10.0}"#);
        // Predictions 40 and 25 for 50 and 20: SSE 125, SST 450.
        let fit = scale.fit(&[2.0, 0.5], &examples.labels(&[2, 3]));
        assert_near(fit.r2, 1.0 - 125.0 / 450.0);
        assert_near(fit.spearman, 1.0);
        for size in ["300", "-300"] {
            let [low, high] = [format!("1e{size}"), format!("3e{size}")];
            let found = LabelScale::of(&numbers([&low, &high], [&low, &high])).standardised();
            assert!((found[0] + 1.0).abs() < 1e-6 && (found[1] - 1.0).abs() < 1e-6, "{found:?}");
        }
    }
}
