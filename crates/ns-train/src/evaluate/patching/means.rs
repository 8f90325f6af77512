//! Means of the metric over the examples, by position.

use crate::error::TrainError;

/// Differences below this share of the size of the values are rounding errors.
const ROUNDING: f64 = 1e-6;

/// A mean that is not complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    pub(super) fn add(&mut self, values: &[f64]) {
        self.sum += values.iter().sum::<f64>();
        self.count += values.len();
    }

    /// The mean; `None` without values.
    pub(super) fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// Means of the clean and the corrupted runs, which normalise those of patched runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline {
    clean: Mean,
    corrupted: Mean,
    /// Mean size of the values of both.
    size: Mean,
}

impl Baseline {
    pub(super) fn add(&mut self, clean: &[f64], corrupted: &[f64]) {
        self.clean.add(clean);
        self.corrupted.add(corrupted);
        let sizes: Vec<f64> = clean.iter().chain(corrupted).map(|value| value.abs()).collect();
        self.size.add(&sizes);
    }

    /// Means of the clean and the corrupted runs; `None` without values.
    pub(super) fn means(&self) -> Option<(f64, f64)> {
        self.clean.get().zip(self.corrupted.get())
    }

    /// The share of the difference between the clean and the corrupted runs that a patched run restores; `None` without
    /// values, and without a difference.
    pub(super) fn normalise(&self, patched: Option<f64>) -> Option<f64> {
        let (clean, corrupted) = self.means().filter(|(clean, corrupted)| self.differ(*clean, *corrupted))?;
        Some((patched? - corrupted) / (clean - corrupted))
    }

    /// Means of the clean and the corrupted runs.
    ///
    /// # Errors
    /// Returns [`TrainError::ConstantMetric`] if they do not differ, or are not finite.
    pub(super) fn check(&self) -> Result<(f64, f64), TrainError> {
        let (clean, corrupted) = self.means().unwrap_or_default();
        match self.differ(clean, corrupted) {
            true => Ok((clean, corrupted)),
            false => Err(TrainError::ConstantMetric { clean, corrupted }),
        }
    }

    fn differ(&self, clean: f64, corrupted: f64) -> bool {
        let difference = (clean - corrupted).abs();
        difference.is_finite() && difference > ROUNDING * self.size.get().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(clean: &[f64], corrupted: &[f64]) -> Baseline {
        let mut baseline = Baseline::default();
        baseline.add(clean, corrupted);
        baseline
    }

    #[test]
    fn zero_restores_nothing_and_one_restores_all() {
        let baseline = baseline(&[3.0, 5.0], &[-1.0, -5.0]);
        assert_eq!(baseline.check().unwrap(), (4.0, -3.0));
        assert_eq!([-3.0, 4.0, 0.5, 11.0].map(|value| baseline.normalise(Some(value))), [0.0, 1.0, 0.5, 2.0].map(Some));
        assert_eq!(baseline.normalise(None), None);
    }

    #[test]
    fn without_a_difference_nothing_is_normalised() {
        for (clean, corrupted) in
            [(vec![], vec![]), (vec![2.0, 4.0], vec![3.0 + 1e-7, 3.0]), (vec![f64::NAN], vec![1.0])]
        {
            let baseline = baseline(&clean, &corrupted);
            assert_eq!(baseline.normalise(Some(1.0)), None, "{clean:?}");
            assert!(baseline.check().is_err(), "{clean:?}");
        }
        let error = baseline(&[2.5], &[2.5]).check().unwrap_err().to_string();
        assert!(error.contains("2.5000 on the examples and 2.5000 on their partners"), "{error}");
    }
}
