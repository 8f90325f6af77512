//! MPNet's relative position bias: a learned attention score for each head and token distance, shared by all blocks.

use burn::nn::Embedding;
use burn::tensor::{Int, Tensor, TensorData};

/// Number of distance buckets. HF's `compute_position_bias` always uses 32; `relative_attention_num_buckets` only sets
/// the size of the table.
pub(super) const N_BUCKETS: usize = 32;
/// From this distance on, all distances share the last bucket.
const MAX_DISTANCE: f32 = 128.0;

/// Attention bias by the distance between key and query.
///
/// # Shapes
/// - table: `[buckets, heads]`
/// - output: `[1, heads, seq, seq]`
pub(super) fn relative_scores(table: &Embedding, seq: usize) -> Tensor<4> {
    let buckets_of_query = |query| (0..seq).map(move |key| bucket(key as i64 - query as i64));
    let buckets: Vec<i64> = (0..seq).flat_map(buckets_of_query).collect();
    let device = table.weight.lazy_device();
    let buckets = Tensor::<2, Int>::from_data(TensorData::new(buckets, [seq, seq]), &device);
    table.forward(buckets).permute([2, 0, 1]).unsqueeze()
}

/// Bucket of the distance `key position − query position`. Small distances have a bucket each; larger ones share
/// buckets whose size grows logarithmically ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683)). Computed in f32
/// like HF's `relative_position_bucket`.
fn bucket(distance: i64) -> i64 {
    let half = N_BUCKETS as i64 / 2;
    let exact = half / 2;
    let side = if distance > 0 { half } else { 0 };
    let far = distance.abs();
    if far < exact {
        return side + far;
    }
    let range = (far as f32 / exact as f32).ln() / (MAX_DISTANCE / exact as f32).ln() * (half - exact) as f32;
    side + (exact + range as i64).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_distance() {
        let before = [(0, 0), (7, 7), (8, 8), (11, 8), (12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14)];
        for (distance, expected) in before {
            assert_eq!(bucket(-distance), expected, "{distance} before");
            let after = if distance == 0 { 0 } else { expected + 16 };
            assert_eq!(bucket(distance), after, "{distance} after");
        }
        assert_eq!([bucket(-91), bucket(-127), bucket(-1000), bucket(1000)], [15, 15, 15, 31]);
    }
}
