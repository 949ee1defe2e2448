//! Numbers as the tables show them.

/// Formats a number with three significant digits and groups of thousands: `98 400`, `12.3`, `0.0123`.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    // Rounding may carry into one more digit; that shows one digit more than needed, at worst.
    let shown = if digits >= 2.0 {
        let step = 10_f64.powf(digits - 2.0);
        format!("{:.0}", (value / step).round() * step)
    } else if digits >= 1.0 {
        format!("{value:.1}")
    } else if digits >= 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    grouped(&shown)
}

/// Formats a number with three significant digits, without zeros at the end: `0.5`, `1`.
pub(crate) fn short(value: f64) -> String {
    let text = number(value);
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

/// Formats a whole number with all its digits and groups of thousands: `19 000`.
pub(crate) fn whole(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

/// Formats a factor: `0.97`, `12.5`, `1 040`.
pub(crate) fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { number(value) }
}

fn grouped(shown: &str) -> String {
    let (whole, part) = shown.split_once('.').map_or((shown, None), |(a, b)| (a, Some(b)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    if let Some(part) = part {
        text.push('.');
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (value, shown) in [
            (0.0, "0.00"),
            (0.012_34, "0.012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (98_432.0, "98 400"),
            (1_234_567.0, "1 230 000"),
            (-1234.0, "-1 230"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn short_numbers_have_no_zeros_after_them() {
        assert_eq!([0.0, 0.5, 1.0, 12.5, 100.0].map(short), ["0", "0.5", "1", "12.5", "100"]);
        assert_eq!(whole(19_000.0), "19 000");
    }

    #[test]
    fn ratios_have_two_places_while_they_are_small() {
        assert_eq!(
            [ratio(0.974), ratio(9.99), ratio(12.34), ratio(1040.0)],
            ["0.97", "9.99", "12.3", "1 040"]
        );
    }
}
