//! What a client's part in a round takes on the socket: frames, and around them messages, HTTP/2 and TLS.
//!
//! Upper bounds, to plan with, for one connection that lasts. They were fitted to the ledger of runs over mutual TLS
//! (updates and models of 125 bytes to 800 kB) and leave a fifth more for the fixed part; `simulations/tests/network`
//! holds the ledger of real runs against them. TCP and IP headers, some 3 %, come on top of what a socket sees.

use nibble_codec::Layout;

/// Bytes that a client sends for an update of so many bytes, with all that it asks and says in the round.
#[must_use]
pub fn up(update: u64) -> u64 {
    framed(update).saturating_add(ROUND_UP)
}

/// Bytes that a client is sent for a model of so many bytes, with all that it is told in the round: every tensor, too.
#[must_use]
pub fn down(model: u64, layout: &Layout) -> u64 {
    let described = layout.tensors().iter().map(|tensor| tensor.name.len() + 4 * tensor.shape.len() + 8).sum::<usize>();
    framed(model).saturating_add(ROUND_DOWN + described as u64)
}

/// The largest update whose bytes on the socket are at most so many; `None` if none is.
#[must_use]
pub fn update_within(bytes: u64) -> Option<u64> {
    let content = bytes.min(MOST).checked_sub(ROUND_UP)?;
    let guess = (content as f64 / (1.0 + FRAMING)) as u64;
    (guess.saturating_sub(4)..=guess + 4).rev().find(|update| framed(*update) <= content)
}

/// Sent for messages without their frames: check-ins, requests, the update's header.
const ROUND_UP: u64 = 1250;
/// Received for messages without their frames: the assignment without its tensors, and the receipt.
const ROUND_DOWN: u64 = 800;
/// A chunk's message, its HTTP/2 frames, and TLS records of 16 KiB.
const FRAMING: f64 = 0.0042;

/// More than any link carries.
const MOST: u64 = 1 << 60;

fn framed(bytes: u64) -> u64 {
    bytes.saturating_add((bytes as f64 * FRAMING).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_names_every_tensor() {
        let few = Layout::new([("w", vec![3])]).unwrap();
        let many = Layout::new((0..100).map(|i| (format!("block.{i:02}.weight"), vec![3, 3]))).unwrap();
        assert_eq!(down(0, &few), 800 + 1 + 4 + 8);
        assert_eq!(down(0, &many), 800 + 100 * (15 + 8 + 8));
    }

    #[test]
    fn the_largest_update_is_just_within() {
        assert_eq!(update_within(ROUND_UP - 1), None);
        for bytes in (ROUND_UP..20_000).chain([1 << 20, (1 << 20) + 1, 123_456_789, 1 << 40]) {
            let update = update_within(bytes).unwrap();
            assert!(up(update) <= bytes && up(update + 1) > bytes, "{update} within {bytes}");
        }
        assert!(update_within(u64::MAX).is_some_and(|update| up(update) <= MOST) && up(u64::MAX) == u64::MAX);
    }
}
