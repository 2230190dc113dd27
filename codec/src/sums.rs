//! Sums over coordinates in f64, in 16 interleaved lanes: the same order on every CPU, and one that vectorises.

const LANES: usize = 16;

/// ‖x‖², <x, y> and ‖y‖².
pub(crate) fn products(x: &[f32], y: &[f32]) -> [f64; 3] {
    pairwise(x, y, |x, y| [x * x, x * y, y * y])
}

/// ‖x − y‖² and ‖x‖².
pub(crate) fn error_and_norm(x: &[f32], y: &[f32]) -> [f64; 2] {
    pairwise(x, y, |x, y| [(x - y) * (x - y), x * x])
}

fn pairwise<const N: usize>(x: &[f32], y: &[f32], terms: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    let mut sums = [[0.0; LANES]; N];
    let mut add = |x: &[f32], y: &[f32]| {
        for (lane, (&x, &y)) in x.iter().zip(y).enumerate() {
            for (sums, term) in sums.iter_mut().zip(terms(f64::from(x), f64::from(y))) {
                sums[lane] += term;
            }
        }
    };
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        add(x, y);
    }
    add(x_tail, y_tail);
    sums.map(|sums| sums.iter().sum())
}
