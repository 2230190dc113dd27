//! Numbers as people read them. What is not a number is shown as [`ABSENT`], never as `NaN`.

/// Stands for a value that is missing or not finite.
pub(super) const ABSENT: &str = "–";

/// Bytes in binary units with three digits: `512 B`, `1.25 KiB`, `796 KiB`.
pub(super) fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut scaled, mut unit) = (value, 0);
    while scaled.abs() >= 1023.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 { 0 } else { three_digits(scaled) };
    format!("{scaled:.decimals$} {}", UNITS[unit])
}

/// A share in [0, 1] as percent, without the sign: `71.23`.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    fixed(100.0 * share, decimals)
}

/// A fixed number of decimals.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    let text = format!("{:.decimals$}", value.abs());
    let zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    if value < 0.0 && !zero { format!("−{text}") } else { text }
}

/// A difference with its sign: `+0.12`, `−0.21`, `0.00`.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let plus = value.is_finite() && value > 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if plus { format!("+{text}") } else { text }
}

/// A factor: `7.8×`, `128×`.
pub(super) fn factor(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    let decimals = match value.abs() {
        v if v < 0.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}×")
}

/// Seconds in the unit that fits: `412 ms`, `1.23 s`, `2.50 min`.
pub(super) fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    let (scaled, unit) = match value.abs() {
        v if v < 0.9995 => (value * 1e3, "ms"),
        v if v < 99.95 => (value, "s"),
        _ => (value / 60.0, "min"),
    };
    format!("{scaled:.*} {unit}", three_digits(scaled))
}

/// A count with thin groups of three: `1 663 370`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 seed`, `3 seeds`.
pub(super) fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Text whose control characters neither a terminal nor an XML reader has to take: a name may hold anything.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn three_digits(value: f64) -> usize {
    match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_the_digits_run_out() {
        let shown = [0.0, 512.0, 1023.0, 1024.0, 10_230.0, 815_000.0, 1_048_575.0, 3.2e9].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "512 B", "1023 B", "1.00 KiB", "9.99 KiB", "796 KiB", "1.00 MiB", "2.98 GiB"].map(String::from)
        );
        assert_eq!(
            [0.0123, 1.234, 75.0, 600.0].map(seconds),
            ["12.3 ms", "1.23 s", "75.0 s", "10.0 min"].map(String::from)
        );
        assert_eq!([0.5, 1.0, 7.84, 127.6].map(factor), ["0.50×", "1.0×", "7.8×", "128×"].map(String::from));
        assert_eq!(count(1_663_370), "1\u{202f}663\u{202f}370");
    }

    #[test]
    fn a_sign_is_shown_only_where_a_digit_is() {
        assert_eq!(
            [0.12, -0.21, 0.001, -0.001].map(|v| signed(v, 2)),
            ["+0.12", "−0.21", "0.00", "0.00"].map(String::from)
        );
    }

    #[test]
    fn what_is_no_number_is_absent() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                [bytes(odd), percent(odd, 1), signed(odd, 2), factor(odd), seconds(odd)].iter().all(|t| t == ABSENT)
            );
        }
    }
}
