//! Strategies: how the mean of the updates changes the global model. One file each.

mod fedavg;

pub use fedavg::FedAvg;

/// Applies aggregated updates to the global model, chunk by chunk.
pub trait Strategy: Sync {
    /// Changes `global`, one chunk of the parameters, by `mean`, the weighted mean delta of that chunk.
    fn apply(&self, mean: &[f64], global: &mut [f32]);
}
