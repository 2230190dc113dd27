//! What an attacker makes of its own delta.

use nibble_seed::Seed;

pub(super) fn scaled(delta: &[f32], factor: f64) -> Vec<f32> {
    delta.iter().map(|&value| (f64::from(value) * factor) as f32).collect()
}

/// Normal values whose expected squared norm is `strength`² times that of `delta`: N(0, (strength ‖delta‖)² / d).
pub(super) fn noise(delta: &[f32], strength: f64, seed: Seed) -> Vec<f32> {
    let squares: f64 = delta.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let deviation = strength * (squares / delta.len().max(1) as f64).sqrt();
    let mut stream = seed.stream();
    let mut normal = || {
        // Box-Muller; 1 - u is never 0.
        let radius = (-2.0 * libm::log(1.0 - stream.next_unit())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * stream.next_unit())
    };
    delta.iter().map(|_| (deviation * normal()) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_is_turned_or_blown_up() {
        assert_eq!(scaled(&[1.0, -0.5, 0.0], -5.0), [-5.0, 2.5, 0.0]);
        assert_eq!(scaled(&[1.0, -0.5, 0.0], 10.0), [10.0, -5.0, 0.0]);
    }

    #[test]
    fn noise_has_the_norm_of_the_delta_times_the_strength_and_no_direction() {
        let delta: Vec<f32> = (0..100_000).map(|i| (i % 7) as f32 - 3.0).collect(); // mean square 4
        let noise = noise(&delta, 3.0, Seed(1));
        // Deviation 6: the mean deviates by 6 / sqrt(n) = 0.019, the mean square of 36 by 36 sqrt(2 / n) = 0.161; 5 of each.
        let n = delta.len() as f64;
        let mean = noise.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let square = noise.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        let along = noise.iter().zip(&delta).map(|(&x, &d)| f64::from(x * d)).sum::<f64>() / n;
        assert!(mean.abs() < 0.095 && (square - 36.0).abs() < 0.81, "{mean} {square}");
        assert!(along.abs() < 5.0 * 12.0 / n.sqrt(), "{along}");
        assert_ne!(super::noise(&delta, 3.0, Seed(2)), noise);
    }
}
