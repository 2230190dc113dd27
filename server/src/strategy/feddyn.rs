//! FedDyn (Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama: "Federated learning based on dynamic regularization",
//! ICLR 2021, algorithm 1):
//!
//! ```text
//! client  y = argmin L_k(y) - <g_k, y> + alpha / 2 |y - x|^2       from x, by as many steps as it is told
//!         g_k <- g_k - alpha (y - x)
//! server  h <- h - alpha / N sum(y - x)                            over the n counted of N clients
//!         x <- mean(y) - h / alpha
//! ```
//!
//! The client's part is a control variate (`control.rs`), with alpha as its gain and the server's left out, and FedProx's pull.

use super::{Algorithm, Control, Gain, Step};
use crate::aggregation::{Mean, Rule, Weights};

/// A step along the update, and along what all clients pulled at so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FedDyn {
    /// Strength of the regularisation.
    pub alpha: f64,
    /// Clients there are in all.
    pub clients: u64,
}

impl Algorithm for FedDyn {
    fn rule(&self) -> Option<Rule> {
        Some(Rule::Mean(Mean { weights: Weights::Equal }))
    }

    fn proximal(&self) -> f32 {
        self.alpha as f32
    }

    fn control(&self) -> Option<Control> {
        Some(Control { gain: Gain::Times(self.alpha as f32), downlink: None })
    }

    fn memories(&self) -> usize {
        1
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        let share = step.counted as f64 / self.clients as f64;
        for ((global, update), h) in global.iter_mut().zip(step.update).zip(&mut *memories[0]) {
            let pull = f64::from(*h) - self.alpha * share * update;
            *h = pull as f32;
            *global = (f64::from(*global) + update - pull / self.alpha) as f32;
        }
    }
}
