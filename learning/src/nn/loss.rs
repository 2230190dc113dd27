//! Softmax cross-entropy over columns of logits, `[classes, lanes]`.
//!
//! Exponentials and logarithms come from `libm`, the same code on every platform, so that results do not depend on the
//! C library.

/// Replaces logits by the gradient of the batch's mean loss, `(softmax - onehot) / batch`, zero in the padding lanes,
/// and gives the sum of the losses in nats.
pub(crate) fn cross_entropy(logits: &mut [f32], lanes: usize, labels: &[u8]) -> f64 {
    let scale = 1.0 / labels.len() as f32;
    let mut loss_sum = 0.0;
    for (lane, &label) in labels.iter().enumerate() {
        let (loss, max, total) = lane_loss(logits, lanes, lane, label);
        loss_sum += loss;
        for z in logits[lane..].iter_mut().step_by(lanes) {
            *z = libm::expf(*z - max) / total * scale;
        }
        logits[usize::from(label) * lanes + lane] -= scale;
    }
    for row in logits.chunks_exact_mut(lanes) {
        row[labels.len()..].fill(0.0);
    }
    loss_sum
}

/// The sum of the losses in nats, and how many samples have their label's logit as the first of the largest.
pub(crate) fn evaluate(logits: &[f32], lanes: usize, labels: &[u8]) -> (f64, u64) {
    let mut loss_sum = 0.0;
    let mut correct = 0;
    for (lane, &label) in labels.iter().enumerate() {
        let (loss, max, _) = lane_loss(logits, lanes, lane, label);
        loss_sum += loss;
        let best = logits[lane..].iter().step_by(lanes).position(|&z| z == max);
        correct += u64::from(best == Some(usize::from(label)));
    }
    (loss_sum, correct)
}

/// Loss of one lane, its largest logit and the sum of exponentials relative to it.
fn lane_loss(logits: &[f32], lanes: usize, lane: usize, label: u8) -> (f64, f32, f32) {
    let column = || logits[lane..].iter().step_by(lanes);
    let max = column().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = column().map(|z| libm::expf(z - max)).sum();
    let of_label = logits[usize::from(label) * lanes + lane];
    (libm::log(f64::from(total)) - f64::from(of_label - max), max, total)
}
