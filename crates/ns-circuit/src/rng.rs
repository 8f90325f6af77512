//! Random numbers as pure functions of (seed, label, epoch, step).
//!
//! They do not depend on earlier random numbers, on the backend, or on the platform. A stream is a ChaCha8 generator,
//! keyed by a hash that this module implements. Floats are built from a fixed number of bits. The logarithm is
//! implemented here too, because the platform's math library may differ in the last bit. A resumed run therefore needs
//! no saved generator state.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Returns the random generator for `label` in a run with `seed`, at `epoch` and `step`.
///
/// Equal arguments return equal streams. Streams that differ in any argument are independent.
pub fn stream(seed: u64, label: &str, epoch: u64, step: u64) -> impl Rng + use<> {
    generator(seed, label, epoch, step)
}

/// Samples the first `n` values of [`uniform01`] from [`stream`] on all threads, and applies `map` to each block of
/// them in place.
pub(crate) fn map_uniform(
    (seed, label, epoch, step): (u64, &str, u64, u64),
    n: usize,
    map: impl Fn(&mut [f32]) + Sync,
) -> Vec<f32> {
    /// Values per block.
    const BLOCK: usize = 1 << 10;
    /// Minimum number of blocks per thread task.
    const TASK: usize = 1 << 4;
    let rng = generator(seed, label, epoch, step);
    let sample_block = |index: usize| {
        let (mut rng, mut words, mut values) = (rng.clone(), [0; BLOCK * size_of::<u32>()], [0.0; BLOCK]);
        rng.set_word_pos((index * BLOCK) as u128); // each value uses one 32-bit word
        rng.fill_bytes(&mut words);
        for (value, word) in values.iter_mut().zip(words.as_chunks().0) {
            *value = uniform01_of(u32::from_le_bytes(*word));
        }
        map(&mut values);
        values
    };
    let blocks: Vec<[f32; BLOCK]> =
        (0..n.div_ceil(BLOCK)).into_par_iter().with_min_len(TASK).map(sample_block).collect();
    let mut values = blocks.into_flattened();
    values.truncate(n);
    values
}

fn generator(seed: u64, label: &str, epoch: u64, step: u64) -> ChaCha8Rng {
    let mut state = mix(seed);
    for word in [fnv1a(label.as_bytes()), label.len() as u64, epoch, step] {
        state = mix(state ^ word);
    }
    let mut key = [0_u8; 32];
    for chunk in key.chunks_exact_mut(8) {
        state = mix(state);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Samples uniformly from `[0, 1)` with 24 random bits, so that every value is exact in `f32`.
pub fn uniform01(rng: &mut impl Rng) -> f32 {
    uniform01_of(rng.next_u32())
}

fn uniform01_of(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Samples from the standard normal distribution with Marsaglia's polar method.
pub fn standard_normal(rng: &mut impl Rng) -> f32 {
    loop {
        let x = 2.0 * f64::from(uniform01(rng)) - 1.0;
        let y = 2.0 * f64::from(uniform01(rng)) - 1.0;
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return (x * (-2.0 * ln(square) / square).sqrt()) as f32;
        }
    }
}

/// Samples uniformly from `0..n` without modulo bias (Lemire 2019). Returns 0 if `n` is 0.
pub fn below(rng: &mut impl Rng, n: usize) -> usize {
    let n = n as u64;
    let threshold = n.wrapping_neg().checked_rem(n).unwrap_or(0);
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= threshold {
            return (product >> 64) as usize;
        }
    }
}

/// Shuffles `items` into a uniformly random order (Fisher–Yates).
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last + 1));
    }
}

/// Returns the numbers `0..n` in a uniformly random order.
pub fn permutation(rng: &mut impl Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(rng, &mut order);
    order
}

/// Samples `k` distinct numbers from `0..n`, in random order. Returns all `n` numbers if `k > n`.
pub fn sample_without_replacement(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    let k = k.min(n);
    let mut pool: Vec<usize> = (0..n).collect();
    for i in 0..k {
        let other = i + below(rng, n - i);
        pool.swap(i, other);
    }
    pool.truncate(k);
    pool
}

/// The natural logarithm of a positive, finite, normal number (relative error below 1e-15).
///
/// It uses IEEE arithmetic only: `x = m·2^e` with `m` in `[√½, √2)`, then `ln m = 2 artanh((m−1)/(m+1))`.
#[inline(always)]
pub(crate) fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    /// `1 / (2k + 1)`, the coefficients of `artanh`.
    const COEFFICIENTS: [f64; 12] = {
        let mut coefficients = [0.0; 12];
        let mut k = 0;
        while k < coefficients.len() {
            coefficients[k] = 1.0 / (2 * k + 1) as f64;
            k += 1;
        }
        coefficients
    };
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let m = f64::from_bits((bits & MANTISSA) | (1023 << 52));
    let (m, exponent) = if m > std::f64::consts::SQRT_2 { (m * 0.5, exponent + 1) } else { (m, exponent) };
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let series = COEFFICIENTS.into_iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient);
    2.0 * t * series + f64::from(exponent) * std::f64::consts::LN_2
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The output function of SplitMix64.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_argument() {
        let first = |seed, label: &str, epoch, step| stream(seed, label, epoch, step).next_u64();
        let base = first(1, "a", 2, 3);
        assert_eq!(base, first(1, "a", 2, 3));
        for other in
            [first(2, "a", 2, 3), first(1, "b", 2, 3), first(1, "a", 3, 3), first(1, "a", 2, 4), first(1, "a", 3, 2)]
        {
            assert_ne!(base, other);
        }
    }

    /// These values must not change: otherwise no stored run could be reproduced.
    #[test]
    fn the_stream_is_frozen() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c); // published FNV-1a vector
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf); // first output of SplitMix64 seeded with 0
        let mut rng = stream(7, "noise/h.0.weight", 1, 2);
        let found: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        let expected = [4_330_183_030_445_173_272, 6_608_093_083_790_492_635, 6_854_300_755_535_329_634];
        assert_eq!(found, expected);
    }

    #[test]
    fn parallel_and_sequential_sampling_agree() {
        let mut rng = stream(7, "noise/h.0.weight", 1, 2);
        let expected: Vec<f32> = (0..40_000).map(|_| -uniform01(&mut rng)).collect();
        let negate = |values: &mut [f32]| values.iter_mut().for_each(|value| *value = -*value);
        assert_eq!(map_uniform((7, "noise/h.0.weight", 1, 2), 40_000, negate), expected);
    }

    #[test]
    fn the_logarithm_is_right() {
        for x in [1e-12, 1e-4, 0.3, 0.707, 0.708, 1.0, 1.414, 1.415, 2.0, 9999.0, 1e300] {
            let expected = f64::ln(x);
            assert!((ln(x) - expected).abs() <= 4e-16 * expected.abs().max(1.0), "{x}");
        }
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut rng = stream(3, "moments", 0, 0);
        let n = 20_000;
        let uniform: Vec<f64> = (0..n).map(|_| f64::from(uniform01(&mut rng))).collect();
        assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
        assert!((uniform.iter().sum::<f64>() / f64::from(n) - 0.5).abs() < 0.01);
        let normal: Vec<f64> = (0..n).map(|_| f64::from(standard_normal(&mut rng))).collect();
        assert!((normal.iter().sum::<f64>() / f64::from(n)).abs() < 0.03);
        assert!((normal.iter().map(|x| x * x).sum::<f64>() / f64::from(n) - 1.0).abs() < 0.05);
    }

    #[test]
    fn permutations_and_samples_are_sets() {
        let mut rng = stream(3, "sets", 0, 0);
        let mut order = permutation(&mut rng, 100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        let mut sample = sample_without_replacement(&mut rng, 50, 20);
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), 20);
        assert!(sample.iter().all(|i| *i < 50));
        assert_eq!(sample_without_replacement(&mut rng, 3, 9).len(), 3);
        assert_eq!(below(&mut rng, 0), 0);
    }

    #[test]
    fn below_reaches_every_value_about_equally() {
        let mut rng = stream(3, "below", 0, 0);
        let mut counts = [0_u32; 6];
        for _ in 0..6000 {
            counts[below(&mut rng, 6)] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
