//! Rotary position embeddings (Su et al. 2021) in the form used by GPT-NeoX.

use burn::tensor::{Device, Tensor, TensorData};

use crate::positions::Positions;

/// Rotary position embeddings: the cosines and sines that rotate the first `rotary` entries of each head by position.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// `[1 or batch, 1, seq, rotary]`
    cos: Tensor<4>,
    /// `[1 or batch, 1, seq, rotary]`
    sin: Tensor<4>,
}

impl Rotary {
    /// Computes the angles `position · base^(−2 i / rotary)` for positions `0..seq` and `i` in `0..rotary / 2`.
    /// `rotary` must be even.
    pub fn new(seq: usize, rotary: usize, base: f64, device: &Device) -> Self {
        // HF computes frequencies and angles in f32. In f64 the angles of large positions would differ.
        let frequencies: Vec<f32> =
            (0..rotary / 2).map(|i| 1.0 / (base as f32).powf((2 * i) as f32 / rotary as f32)).collect();
        let angles = (0..seq).flat_map(|position| frequencies.iter().map(move |f| position as f32 * f));
        let angles: Vec<f32> = angles.collect();
        let table = |of: fn(f32) -> f32| {
            let rows = angles.chunks(rotary / 2).flat_map(|row| row.iter().chain(row));
            let values: Vec<f32> = rows.map(|angle| of(*angle)).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, seq, rotary]), device)
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// Selects the angles of the given positions.
    pub fn select(&self, positions: &Positions) -> Self {
        Self { cos: positions.select_queries(self.cos.clone()), sin: positions.select_queries(self.sin.clone()) }
    }

    /// Rotates the first `rotary` entries of each head. The other entries do not change.
    ///
    /// # Shapes
    /// - x and output: `[batch, heads, seq, head_dim]`
    pub fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, _, _, head_dim], [_, _, _, rotary]) = (x.dims(), self.cos.dims());
        let rotated = x.clone().narrow(3, 0, rotary);
        let half = rotary / 2;
        let swapped =
            Tensor::cat(vec![rotated.clone().narrow(3, half, half).neg(), rotated.clone().narrow(3, 0, half)], 3);
        let rotated = rotated * self.cos.clone() + swapped * self.sin.clone();
        match head_dim == rotary {
            true => rotated,
            false => Tensor::cat(vec![rotated, x.narrow(3, rotary, head_dim - rotary)], 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    #[test]
    fn position_zero_is_unchanged_and_other_positions_rotate() {
        let rotary = Rotary::new(2, 2, 10_000.0, &Device::default());
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0, 9.0], [1.0, 2.0, 9.0]]]], &Device::default());
        let (sin, cos) = 1.0_f32.sin_cos();
        let expected = [[[[1.0, 2.0, 9.0], [cos - 2.0 * sin, 2.0 * cos + sin, 9.0]]]];
        rotary.turn(x).into_data().assert_approx_eq::<f32>(&expected.into(), Tolerance::default());
    }
}
