//! Samples without replacement from spaces that are too large to list.

use std::collections::HashMap;

use rand::Rng;

/// The numbers below `len` in a uniformly random order (Fisher–Yates), of which only the exchanged ones are in memory.
/// The order depends only on the stream and on `len`, and is the same on every machine.
pub(super) struct SparseShuffle<R> {
    rng: R,
    len: u128,
    next: u128,
    /// What is at a place in which another number was.
    exchanged: HashMap<u128, u128>,
}

impl<R: Rng> SparseShuffle<R> {
    pub(super) fn new(len: u128, rng: R) -> Self {
        Self { rng, len, next: 0, exchanged: HashMap::new() }
    }
}

impl<R: Rng> Iterator for SparseShuffle<R> {
    type Item = u128;

    fn next(&mut self) -> Option<u128> {
        if self.next == self.len {
            return None;
        }
        let first = self.exchanged.remove(&self.next).unwrap_or(self.next);
        let place = self.next + below(&mut self.rng, self.len - self.next);
        let drawn = match place == self.next {
            true => first,
            false => self.exchanged.insert(place, first).unwrap_or(place),
        };
        self.next += 1;
        Some(drawn)
    }
}

/// Samples uniformly from `0..n`; 0 if `n` is 0. `ns_circuit::rng::below` ends at the size of a pointer.
fn below(rng: &mut impl Rng, n: u128) -> u128 {
    let bits = u128::BITS - n.saturating_sub(1).leading_zeros();
    let mask = if bits == 0 { 0 } else { u128::MAX >> (u128::BITS - bits) };
    loop {
        let low = u128::from(rng.next_u64());
        let high = if bits > u64::BITS { u128::from(rng.next_u64()) } else { 0 };
        let number = (high << u64::BITS | low) & mask;
        if number < n || n == 0 {
            return number;
        }
    }
}
