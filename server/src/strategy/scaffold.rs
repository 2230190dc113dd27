//! SCAFFOLD (Karimireddy, Kale, Mohri, Reddi, Stich, Suresh: "SCAFFOLD: stochastic controlled averaging for federated
//! learning", ICML 2020, algorithm 1 with option II):
//!
//! ```text
//! client  y <- y - lr_l (g(y) - c_i + c)            K steps, from x
//!         c_i+ = c_i - c + (x - y) / (K lr_l)
//! server  x <- x + lr mean(y - x)                   over the n counted of N clients
//!         c <- c + n / N mean(c_i+ - c_i)
//! ```
//!
//! Here y - x is what the payload of the update decodes to, and c what its frame does, on both ends (`control.rs`): so c
//! stays the mean of all c_i.

use nibble_codec::Scheme;

use super::{Algorithm, Control, Gain, Step};
use crate::aggregation::{Mean, Rule, Weights};

/// A step along the update, and what is remembered of all clients' gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaffold {
    /// Server learning rate.
    pub lr: f64,
    /// Clients there are in all.
    pub clients: u64,
    /// How c is coded on its way to clients.
    pub downlink: Scheme,
}

impl Algorithm for Scaffold {
    fn rule(&self) -> Option<Rule> {
        Some(Rule::Mean(Mean { weights: Weights::Equal }))
    }

    fn control(&self) -> Option<Control> {
        Some(Control { gain: Gain::PerStep, downlink: Some(self.downlink) })
    }

    fn memories(&self) -> usize {
        1
    }

    fn needs_slope(&self) -> bool {
        true
    }

    fn apply(&self, step: &Step<'_>, global: &mut [f32], memories: &mut [&mut [f32]]) {
        let control = &mut *memories[0];
        let share = step.counted as f64 / self.clients as f64;
        let sent = step.sent.iter().copied().chain(std::iter::repeat(0.0));
        for (((global, update), slope), (c, sent)) in
            global.iter_mut().zip(step.update).zip(step.slope).zip(control.iter_mut().zip(sent))
        {
            *global = (f64::from(*global) + self.lr * update) as f32;
            *c = (f64::from(*c) - share * (f64::from(sent) + slope)) as f32;
        }
    }
}
