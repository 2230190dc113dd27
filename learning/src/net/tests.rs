use nibble_seed::{Purpose, Seed};

use super::*;

/// Values in ±1 from a stream of their own.
fn noise(key: u64, n: usize) -> Vec<f32> {
    let stream = Seed(key).derive(Purpose::Behaviour, 0, 0);
    (0..n as u64).map(|i| 2.0 * stream.unit_at(i) - 1.0).collect()
}

/// The analytic gradient in single precision against central differences of the loss.
fn check_gradient(model: &Model, batch: usize) {
    let mut parameters = model.init(Seed(3));
    let (c, h, w) = model.shape;
    let images = noise(4, batch * c * h * w);
    let labels: Vec<u8> = (0..batch).map(|b| (b % model.classes) as u8).collect();
    let mut network = Network::new(model, batch);
    let read = |b: usize, out: &mut [f32]| out.copy_from_slice(&images[b * out.len()..][..out.len()]);
    network.forward(&parameters, batch, read);
    network.loss(&labels);
    let mut gradient = vec![f32::NAN; parameters.len()];
    network.backward(&mut parameters, batch, Sink::Gradient(&mut gradient));
    let mut loss = |parameters: &[f32]| {
        network.forward(parameters, batch, read);
        network.loss(&labels).sum / batch as f64
    };
    let mut start = 0;
    for tensor in model.tensors() {
        let part = start..start + tensor.numel();
        start = part.end;
        // Along the gradient itself the loss changes most, which leaves rounding and kinks behind.
        let norm = gradient[part.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
        assert!(norm > 1e-3, "{}: gradient norm {norm}", tensor.name);
        let moved = |by: f32| {
            let mut moved = parameters.clone();
            moved[part.clone()].iter_mut().zip(&gradient[part.clone()]).for_each(|(p, g)| *p += by * g / norm);
            moved
        };
        let h = 1e-3;
        let slope = (loss(&moved(h)) - loss(&moved(-h))) / (2.0 * f64::from(h));
        let error = (slope / f64::from(norm) - 1.0).abs();
        assert!(error < 0.01, "{}: slope {slope}, norm {norm}", tensor.name);
    }
}

#[test]
fn gradients_match_finite_differences() {
    check_gradient(&Model::from_name("mlp", (1, 5, 7), 4).unwrap(), 5);
    check_gradient(&Model::from_name("logreg", (1, 1, 13), 3).unwrap(), 3);
    check_gradient(&Model::from_name("cnn", (2, 8, 4), 4).unwrap(), 3);
}
