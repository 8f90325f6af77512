//! Magnitude pruning: the mask keeps all values that are at least the `p`-quantile. Nothing is learned.
//!
//! By default, absolute values are compared, `p = 1` prunes everything, and `p = 0` prunes nothing. The reference
//! compares signed values. [`MagnitudeCriterion::Raw`] reproduces it, including its `zero_ablate` (`w < quantile`),
//! which is not the complement of the mask at `p = 1`.

use crate::config::MagnitudeCriterion;

/// The two masks of a parameter, in storage order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pruned {
    /// The hard mask: 1 for values that the circuit keeps.
    pub(crate) hard: Vec<f32>,
    /// The mask under `zero_ablate`: 1 for values that remain without the circuit.
    pub(crate) ablated: Vec<f32>,
}

/// Computes the masks that prune the fraction `percentage` of `values`.
pub(crate) fn prune(values: &[f32], percentage: f32, criterion: MagnitudeCriterion) -> Pruned {
    match criterion {
        MagnitudeCriterion::Absolute => {
            let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            let threshold = quantile(&magnitudes, percentage);
            let hard = select(&magnitudes, |m| percentage < 1.0 && m >= threshold);
            let ablated = hard.iter().map(|m| 1.0 - m).collect();
            Pruned { hard, ablated }
        }
        MagnitudeCriterion::Raw => {
            let threshold = quantile(values, percentage);
            let hard =
                if percentage == 1.0 { select(values, |w| w > threshold) } else { select(values, |w| w >= threshold) };
            let ablated = select(values, |w| w < threshold);
            Pruned { hard, ablated }
        }
    }
}

fn select(values: &[f32], keep: impl Fn(f32) -> bool) -> Vec<f32> {
    values.iter().map(|value| f32::from(u8::from(keep(*value)))).collect()
}

/// The `q`-quantile with linear interpolation; 0 if there are no values.
///
/// It uses the arithmetic of `torch.quantile` (rank and weights in `f32`). So a threshold that equals a value in
/// PyTorch equals it here too.
fn quantile(values: &[f32], q: f32) -> f32 {
    let mut values = values.to_vec();
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = (q * last as f32).min(last as f32);
    let (below, above) = (rank.floor(), rank.ceil());
    let weight = rank - below;
    let (below, above) = ((below as usize).min(last), (above as usize).min(last));
    let (_, low, rest) = values.select_nth_unstable_by(below, f32::total_cmp);
    let low = *low;
    let high = if above == below { low } else { rest.iter().copied().min_by(f32::total_cmp).unwrap_or(low) };
    let step = high - low;
    if weight < 0.5 { low + weight * step } else { high - step * (1.0 - weight) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 5] = [-4.0, 3.0, -1.0, 0.5, 2.0];

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&VALUES, 0.0), -4.0);
        assert_eq!(quantile(&VALUES, 0.5), 0.5);
        assert_eq!(quantile(&VALUES, 0.625), 1.25); // rank 2.5, between 0.5 and 2
        assert_eq!(quantile(&VALUES, 1.0), 3.0);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
        assert_eq!(quantile(&[], 0.3), 0.0);
    }

    #[test]
    fn absolute_keeps_the_largest_magnitudes() {
        let half = prune(&VALUES, 0.5, MagnitudeCriterion::Absolute);
        assert_eq!(half.hard, [1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(half.ablated, [0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(prune(&VALUES, 0.0, MagnitudeCriterion::Absolute).hard, [1.0; 5]);
        let all = prune(&VALUES, 1.0, MagnitudeCriterion::Absolute);
        assert_eq!((all.hard, all.ablated), (vec![0.0; 5], vec![1.0; 5]));
    }

    #[test]
    fn raw_reproduces_the_reference() {
        let half = prune(&VALUES, 0.5, MagnitudeCriterion::Raw);
        assert_eq!(half.hard, [0.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!(half.ablated, [1.0, 0.0, 1.0, 0.0, 0.0]);
        let all = prune(&VALUES, 1.0, MagnitudeCriterion::Raw);
        assert_eq!(all.hard, [0.0; 5]);
        assert_eq!(all.ablated, [1.0, 0.0, 1.0, 1.0, 1.0]); // neither mask keeps the largest value
    }
}
