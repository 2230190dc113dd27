//! Which block gets how many bytes of signs.
//!
//! The error of a block of n coordinates and energy E is π/2 · n E / m, for m signs: least in sum where m is proportional to
//! √(n E). A block has a byte at least, as one without signs could not be unbiased, and no more than a sign for each of its rows.

use alloc::vec::Vec;

use super::Block;

/// A block, and what it gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) block: Block,
    /// The largest magnitude, as the bits of a float.
    pub(super) magnitude: u32,
    /// Sum of its squares.
    pub(super) energy: f64,
    /// Bytes of signs; 0 where all is zero.
    pub(super) bytes: usize,
}

impl Share {
    fn weight(&self) -> f64 {
        libm::sqrt(self.energy * self.block.len as f64)
    }

    /// Bytes at `factor` to one of weight, before they are rounded.
    fn at(&self, factor: f64) -> f64 {
        if self.energy == 0.0 { 0.0 } else { (factor * self.weight()).clamp(1.0, (self.block.size / 8) as f64) }
    }
}

/// Divides `total` bytes among blocks. It may be less than all of it, and more only where a byte for each block is.
pub(super) fn divide(shares: &mut [Share], total: usize) {
    let sum = |shares: &[Share], factor: f64| shares.iter().map(|share| share.at(factor)).sum::<f64>();
    let least = shares.iter().map(Share::weight).filter(|&weight| weight > 0.0).fold(f64::INFINITY, f64::min);
    // At the upper end all have all they can take.
    let (mut below, mut above) = (0.0, if least.is_finite() { 8192.0 / least } else { 0.0 });
    if sum(shares, above) <= total as f64 {
        below = above;
    } else {
        for _ in 0..100 {
            let middle = 0.5 * (below + above);
            if sum(shares, middle) <= total as f64 { below = middle } else { above = middle }
        }
    }
    // Rounded down, and what that leaves goes on to the next block.
    let mut left = 0.0;
    for share in &mut *shares {
        let bytes = share.at(below) + left;
        share.bytes = if share.energy == 0.0 { 0 } else { (bytes as usize).clamp(1, share.block.size / 8) };
        left = if share.energy == 0.0 { left } else { (bytes - share.bytes as f64).max(0.0) };
    }
    let used: usize = shares.iter().map(|share| share.bytes).sum();
    top_up(shares, total.saturating_sub(used));
}

/// Gives what rounding left to the first blocks that can take it.
fn top_up(shares: &mut [Share], mut left: usize) {
    for share in shares.iter_mut().filter(|share| share.energy > 0.0) {
        let more = left.min(share.block.size / 8 - share.bytes);
        share.bytes += more;
        left -= more;
    }
}

/// The squared error that is to be expected, over that of sending zeros.
pub(super) fn expected_nmse(shares: &[Share]) -> f64 {
    let error = |share: &Share| match share.bytes {
        0 => 0.0,
        bytes => {
            let (len, size, rows) = (share.block.len as f64, share.block.size as f64, 8.0 * bytes as f64);
            share.energy * (core::f64::consts::FRAC_PI_2 * len / rows - len / size)
        }
    };
    let energy: f64 = shares.iter().map(|share| share.energy).sum();
    if energy == 0.0 { 0.0 } else { shares.iter().map(error).sum::<f64>() / energy }
}

/// Memory for shares.
pub(super) type Shares = Vec<Share>;
