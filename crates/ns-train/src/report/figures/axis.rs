//! An axis: which values it covers, where each lies, and which of them are labelled.

use super::number::{drawable, log_tick, tick};

/// About how many labels an axis gets.
const WANTED_TICKS: f64 = 6.0;
/// No axis gets more labels than this.
const MOST_TICKS: usize = 14;

/// Smaller numbers count as zero, so that no step between ticks vanishes.
const TINY: f64 = 1e-290;

/// The values from `low` to `high`, evenly or logarithmically spaced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    whole: bool,
}

/// A labelled value of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// A linear axis from `low` to `high`.
    pub(super) fn new(low: f64, high: f64) -> Self {
        Self { low, high, log: false, whole: false }
    }

    /// A linear axis around all drawable `values`, or nothing if there are none.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|&value| drawable(value)))?;
        let (low, high) = padded(low, high);
        Some(Self::new(low, high))
    }

    /// A logarithmic axis around all drawable `values` above zero, or nothing if there are none.
    pub(super) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|&value| shown_on_log(value)))?;
        let (low, high) = padded(low.log10(), high.log10());
        Some(Self { log: true, ..Self::new(10f64.powf(low.max(-300.0)), 10f64.powf(high.min(300.0))) })
    }

    /// The same axis with whole numbers at its ticks, where it is long enough for two of them.
    pub(super) fn whole_ticks(self) -> Self {
        Self { whole: self.high - self.low >= 2.0, ..self }
    }

    /// Whether `value` has a place on this kind of axis.
    pub(super) fn shows(&self, value: f64) -> bool {
        if self.log { shown_on_log(value) } else { drawable(value) }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        if self.log {
            let (low, high) = (self.low.log10(), self.high.log10());
            (value.log10() - low) / (high - low)
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The labelled values, ascending.
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
        let mut step = nice_step((self.high - self.low) / WANTED_TICKS);
        if self.whole {
            step = step.max(1.0);
        }
        let first = (self.low / step - 1e-6).ceil();
        (0..MOST_TICKS)
            .map(|index| (first + index as f64) * step)
            .take_while(|&value| value <= self.high + step * 1e-6)
            .map(|value| Tick { value, label: tick(value, step) })
            .collect()
    }

    fn log_ticks(&self) -> Vec<Tick> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = (last - first).max(1);
        let stride = (decades as usize).div_ceil(MOST_TICKS / 2);
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

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// Some room at both ends; a single value comes to lie in the middle.
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

/// The next larger number of the form 1, 2 or 5 times a power of ten.
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
            assert!(axis.is_some_and(|axis| axis.ticks().len() <= MOST_TICKS), "{value}");
        }
        assert!(Axis::linear([-9e299, 9e299]).is_some_and(|axis| axis.fraction(0.0) == 0.5));
        assert!(Axis::logarithmic([1e-289, 1e299]).is_some_and(|axis| axis.ticks().len() <= MOST_TICKS));
    }
}
