//! Binary logarithms by plain arithmetic: fast, the same on every machine, and as good as sizes and scales need them.
//!
//! Absent on purpose: precision beyond 10^-5.

/// log2(1 + t) for t from 0 to 1, exact at 0: interpolated at the zeros of a Chebyshev polynomial.
#[inline(always)]
fn log2_from_one(t: f32) -> f32 {
    let terms = [1.442_681_5, -0.720_358_8, 0.468_658_9, -0.301_638, 0.144_471_1, -0.033_822_05f32];
    t * terms.iter().rev().fold(0.0, |sum, term| sum * t + term)
}

/// log2 of a whole number of at least 1.
#[inline(always)]
pub(super) fn log2_of_count(count: u32) -> f32 {
    let bits = (count as f32).to_bits();
    let mantissa = f32::from_bits(bits & 0x7f_ffff | 1.0f32.to_bits());
    ((bits >> 23) as i32 - 127) as f32 + log2_from_one(mantissa - 1.0)
}

/// log2 of a number that is neither denormal nor below 0; of 0, minus infinity.
#[inline(always)]
pub(super) fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    let mantissa = f32::from_bits((bits >> 29) as u32 & 0x7f_ffff | 1.0f32.to_bits());
    let exponent = (bits >> 52) as i32 - 1023;
    let log = f64::from(exponent) + f64::from(log2_from_one(mantissa - 1.0));
    if x > 0.0 { log } else { f64::NEG_INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_logarithms() {
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        for count in 1..10_000u32 {
            let exact = libm::log2(f64::from(count));
            assert!((f64::from(log2_of_count(count)) - exact).abs() < 1e-5, "{count}");
            for scale in [1.0, 1e-45, 1e36] {
                assert!((log2(f64::from(count) * scale) - exact - libm::log2(scale)).abs() < 1e-5, "{count} {scale}");
            }
        }
    }
}
