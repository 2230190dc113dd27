//! Federated averaging (McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-efficient learning of deep
//! networks from decentralized data", AISTATS 2017, algorithm 1): global ← global + Σ (n_k / n) delta_k.

use super::Strategy;

/// Adds the weighted mean delta to the global model. Has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FedAvg;

impl Strategy for FedAvg {
    fn apply(&self, mean: &[f64], global: &mut [f32]) {
        for (global, mean) in global.iter_mut().zip(mean) {
            *global = (f64::from(*global) + mean) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_added() {
        let mut global = [1.0, -2.0];
        FedAvg.apply(&[0.5, 0.25], &mut global);
        assert_eq!(global, [1.5, -1.75]);
    }
}
