//! Formats numbers as text: `34,944`, `0.05`, `1.2×10⁻⁷`.

/// Whether a value can be drawn: it is finite, and small enough that the difference of two such values is finite.
pub(in crate::report) fn drawable(value: f64) -> bool {
    value.abs() < 1e300
}

/// Formats a count with thousands separators, such as `19,712`.
///
/// A value that is not whole has one decimal. A value of 10¹⁵ or more is written as `3.0×10¹⁸`, and a value that is not
/// finite as `n/a`.
pub fn count(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    if value.abs() >= 1e15 {
        return scientific(value, 1);
    }
    decimal(value, usize::from(value.fract() != 0.0))
}

/// Formats the value of a tick with as many decimals as are needed to distinguish ticks at a distance of `step`.
pub(super) fn tick(value: f64, step: f64) -> String {
    let largest = value.abs().max(step);
    if largest >= 1e9 || step < 1e-5 {
        let digits = (largest.log10().floor() - step.log10().floor()).clamp(0.0, 6.0);
        return scientific(value, digits as usize);
    }
    decimal(value, (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize)
}

/// Formats the value of a tick on a logarithmic axis: 1, 2 or 5 times a power of ten.
pub(super) fn log_tick(value: f64) -> String {
    let exponent = (value.log10() + 1e-9).floor();
    if (-4.0..7.0).contains(&exponent) { decimal(value, (-exponent).max(0.0) as usize) } else { scientific(value, 0) }
}

/// Formats a value with thousands separators and a fixed number of decimals.
fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_zero = text.chars().all(|character| matches!(character, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    format!("{sign}{}{fraction}", grouped(whole))
}

/// Inserts a comma between groups of three digits.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a value as mantissa and power of ten, with `digits` decimals in the mantissa.
fn scientific(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{value:.digits$e}").replace('-', "−");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let power = format!("10{}", superscript(exponent));
    match mantissa {
        "1" => power,
        mantissa => format!("{mantissa}×{power}"),
    }
}

/// Writes an exponent in superscript characters.
fn superscript(exponent: &str) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    exponent.chars().map(|character| character.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(19_712.0), "19,712");
        assert_eq!(count(7.0), "7");
        assert_eq!(count(-1_234_567.5), "−1,234,567.5");
        assert_eq!(count(f64::NAN), "n/a");
        assert_eq!(count(3e18), "3.0×10¹⁸");
    }

    #[test]
    fn ticks_have_the_decimals_of_their_step() {
        assert_eq!(tick(0.25, 0.05), "0.25");
        assert_eq!(tick(0.2, 0.2), "0.2");
        assert_eq!(tick(35_000.0, 5_000.0), "35,000");
        assert_eq!(tick(-0.0, 1.0), "0");
        assert_eq!(tick(2e-7, 1e-7), "2×10⁻⁷");
        assert_eq!(log_tick(0.001), "0.001");
        assert_eq!(log_tick(1e-6), "10⁻⁶");
        assert_eq!(log_tick(500.0), "500");
    }
}
