//! Mean softmax cross-entropy and its gradient.

/// Sums over a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    /// Summed cross-entropy in nats.
    pub(crate) sum: f64,
    /// Samples whose largest logit, the first if several, was the label's.
    pub(crate) correct: u64,
}

/// Turns `logits`, `[classes, capacity]`, into the gradient of the mean loss over the labelled columns; clears those
/// from there to `lanes`.
pub(super) fn softmax_cross_entropy(logits: &mut [f32], capacity: usize, labels: &[u8], lanes: usize) -> Loss {
    let classes = logits.len() / capacity;
    let share = 1.0 / labels.len() as f32;
    let mut loss = Loss::default();
    for (b, &label) in labels.iter().enumerate() {
        let label = usize::from(label);
        let logit = |c: usize| logits[c * capacity + b];
        let best = (1..classes).fold(0, |best, c| if logit(c) > logit(best) { c } else { best });
        let top = logit(best);
        let offset = logit(label) - top;
        let mut total = 0.0;
        for c in 0..classes {
            let power = (logits[c * capacity + b] - top).exp();
            logits[c * capacity + b] = power;
            total += power;
        }
        for c in 0..classes {
            let target = if c == label { share } else { 0.0 };
            let p = &mut logits[c * capacity + b];
            *p = *p * (share / total) - target;
        }
        loss.sum += f64::from(total.ln() - offset);
        loss.correct += u64::from(best == label);
    }
    for row in logits.chunks_exact_mut(capacity) {
        row[labels.len()..lanes].fill(0.0);
    }
    loss
}
