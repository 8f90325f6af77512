//! Axes: range, scale and tick labels.

use super::number::{drawable, log_tick, tick};

/// Approximate number of labels on a linear axis.
const TARGET_TICKS: f64 = 6.0;
/// Largest number of labels on an axis.
const MAX_TICKS: usize = 14;

/// Numbers below this are treated as zero, so that the step between ticks never becomes zero.
const TINY: f64 = 1e-290;

/// A linear or logarithmic axis from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Whether all ticks are whole numbers.
    whole: bool,
}

/// A value of an axis and its label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// The axis of a direction without a scale.
    pub(super) const UNIT: Self = Self::new(0.0, 1.0);

    /// Creates a linear axis from `low` to `high`.
    pub(super) const fn new(low: f64, high: f64) -> Self {
        Self { low, high, log: false, whole: false }
    }

    /// Creates a linear axis that contains all drawable `values`, or returns `None` if no value is drawable.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|&value| drawable(value)))?;
        let (low, high) = padded(low, high);
        Some(Self::new(low, high))
    }

    /// Creates a logarithmic axis that contains all drawable `values` above zero, or returns `None` if there are no
    /// such values.
    pub(super) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|&value| shown_on_log(value)))?;
        let (low, high) = padded(low.log10(), high.log10());
        Some(Self { log: true, ..Self::new(10f64.powf(low.max(-300.0)), 10f64.powf(high.min(300.0))) })
    }

    /// Restricts the ticks of the axis to whole numbers if its range is at least 2.
    pub(super) fn whole_ticks(self) -> Self {
        Self { whole: self.high - self.low >= 2.0, ..self }
    }

    /// Whether `value` can be drawn on this axis.
    pub(super) fn shows(&self, value: f64) -> bool {
        if self.log { shown_on_log(value) } else { drawable(value) }
    }

    /// Returns the relative position of `value`: 0 at the low end, 1 at the high end.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        if self.log {
            let (low, high) = (self.low.log10(), self.high.log10());
            (value.log10() - low) / (high - low)
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Returns the ticks in ascending order.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        if self.log {
            let ticks = self.log_ticks();
            if ticks.len() >= 3 {
                return ticks;
            }
        }
        self.linear_ticks()
    }

    fn linear_ticks(&self) -> Vec<Tick> {
        let mut step = nice_step((self.high - self.low) / TARGET_TICKS);
        if self.whole {
            step = step.max(1.0);
        }
        let first = (self.low / step - 1e-6).ceil();
        (0..MAX_TICKS)
            .map(|index| (first + index as f64) * step)
            .take_while(|&value| value <= self.high + step * 1e-6)
            .map(|value| Tick { value, label: tick(value, step) })
            .collect()
    }

    fn log_ticks(&self) -> Vec<Tick> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = (last - first).max(1);
        let stride = (decades as usize).div_ceil(MAX_TICKS / 2);
        let factors: &[f64] = if decades <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        (first..=last)
            .step_by(stride)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)))
            .filter(|&value| (-1e-9..=1.0 + 1e-9).contains(&self.fraction(value)))
            .map(|value| Tick { value, label: log_tick(value) })
            .collect()
    }
}

fn shown_on_log(value: f64) -> bool {
    drawable(value) && value > TINY
}

/// Returns the smallest and the largest value.
fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// Adds a margin at both ends. A range of a single value is centred on it.
fn padded(low: f64, high: f64) -> (f64, f64) {
    let largest = low.abs().max(high.abs());
    let span = high - low;
    let room = if span > (largest * 1e-9).max(TINY) {
        span * 0.05
    } else if largest > TINY {
        largest * 0.1
    } else {
        1.0
    };
    (low - room, high + room)
}

/// Rounds up to the next number of the form 1, 2 or 5 times a power of ten.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(labels(Axis::new(0.0, 100.0)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Axis::new(0.0, 1.12)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Axis::new(0.9, 3.1).whole_ticks()), ["1", "2", "3"]);
    }

    #[test]
    fn log_ticks_are_powers() {
        let axis = Axis::logarithmic([1e-4, f64::NAN, -3.0, 10.0]);
        assert_eq!(axis.map(labels), Some(["0.0001", "0.001", "0.01", "0.1", "1", "10"].map(String::from).to_vec()));
    }

    #[test]
    fn odd_values_never_break_an_axis() {
        assert_eq!(Axis::linear([f64::NAN, f64::INFINITY]), None);
        assert_eq!(Axis::logarithmic([0.0, -1.0]), None);
        for value in [0.0, 5e-324, 1e299, -1e299, 3.5] {
            let axis = Axis::linear([value]);
            assert!(axis.is_some_and(|axis| axis.ticks().len() <= MAX_TICKS), "{value}");
        }
        assert!(Axis::linear([-9e299, 9e299]).is_some_and(|axis| axis.fraction(0.0) == 0.5));
        assert!(Axis::logarithmic([1e-289, 1e299]).is_some_and(|axis| axis.ticks().len() <= MAX_TICKS));
    }
}
