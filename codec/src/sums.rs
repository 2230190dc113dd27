//! Sums over coordinates in f64, in 16 interleaved lanes: the same order on every CPU, and one that vectorises.

const LANES: usize = 16;

/// <x, y> and ‖y‖².
pub(crate) fn dot_and_norm(x: &[f32], y: &[f32]) -> (f64, f64) {
    pairwise(x, y, |x, y| (x * y, y * y))
}

/// ‖x − y‖² and ‖x‖².
pub(crate) fn error_and_norm(x: &[f32], y: &[f32]) -> (f64, f64) {
    pairwise(x, y, |x, y| ((x - y) * (x - y), x * x))
}

fn pairwise(x: &[f32], y: &[f32], terms: impl Fn(f64, f64) -> (f64, f64)) -> (f64, f64) {
    let (mut firsts, mut seconds) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |x: &[f32], y: &[f32]| {
        for (((first, second), &x), &y) in firsts.iter_mut().zip(&mut seconds).zip(x).zip(y) {
            let terms = terms(f64::from(x), f64::from(y));
            (*first, *second) = (*first + terms.0, *second + terms.1);
        }
    };
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        add(x, y);
    }
    add(x_tail, y_tail);
    (firsts.iter().sum(), seconds.iter().sum())
}
