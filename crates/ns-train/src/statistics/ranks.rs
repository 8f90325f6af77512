//! Ranks of numbers.

/// Ranks from 1; equal numbers have the mean of their ranks.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*left].total_cmp(&values[*right]));
    let (mut ranks, mut before) = (vec![0.0; values.len()], 0);
    for equal in order.chunk_by(|left, right| values[*left] == values[*right]) {
        equal.iter().for_each(|row| ranks[*row] = before as f64 + (equal.len() + 1) as f64 / 2.0);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_share_their_ranks() {
        assert_eq!(ranks(&[10.0, 20.0, 10.0, -1.0, 10.0]), [3.0, 5.0, 3.0, 1.0, 3.0]);
        assert_eq!(ranks(&[0.0, -0.0, -1.0]), [2.5, 2.5, 1.0]);
    }
}
