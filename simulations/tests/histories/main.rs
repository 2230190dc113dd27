//! Histories of a network that loses, delays, parts and doubles, and of processes that die in it, each from one seed.
//!
//! Every history is one simulated network, in simulated time, with the coordinator's own process and the clients' own
//! agents; only sockets, clock and training are the test's. Once the run has ended, all of it is computed again from the
//! store: models and residuals must agree to the bit, and every client was told what the store says.
//!
//! `NIBBLE_HISTORY=SEED cargo test -p nibble-sim --test histories` plays one history and prints what happens in it.
//!
//! Absent on purpose: crashes between two writes to a disk (tests/network kills processes there), TLS, bandwidth, and
//! retransmission: what is lost of a simulated connection stays lost, so its connection stands still until a deadline.

mod check;
mod model;
mod network;
mod receipts;
mod replay;
mod script;
mod world;

use std::{ops::Range, thread};

use check::Record;
use script::History;

/// Plays and checks a history.
fn history(seed: u64, aloud: bool) -> Record {
    let _tell = Tell(seed);
    let history = History::of(seed);
    let played = world::play(&history, aloud);
    check::check(&history, &played)
}

/// Says how to replay a history that failed.
struct Tell(u64);

impl Drop for Tell {
    #[expect(clippy::print_stderr, reason = "a test that fails says how to see it fail again")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("history {seed} failed; replay it with NIBBLE_HISTORY={seed}", seed = self.0);
        }
    }
}

/// The histories that are asked for: those of a block, or the one that the environment names.
fn asked(block: Range<u64>) -> (Vec<u64>, bool) {
    match std::env::var("NIBBLE_HISTORY") {
        Ok(seed) => {
            let seed = seed.parse().expect("NIBBLE_HISTORY is the number of a history");
            (block.contains(&seed).then_some(seed).into_iter().collect(), true)
        }
        Err(_) => (block.collect(), false),
    }
}

fn play(block: Range<u64>) {
    let (seeds, aloud) = asked(block);
    let mut kinds = Vec::new();
    for seed in seeds {
        kinds.push(history(seed, aloud));
    }
    let sum = |count: fn(&Record) -> usize| kinds.iter().map(count).sum::<usize>();
    println!(
        "{} histories: {} rounds committed, {} updates accepted, {} discarded",
        kinds.len(),
        sum(|record| record.committed),
        sum(|record| record.accepted),
        sum(|record| record.discarded),
    );
}

#[test]
fn histories_0_to_99_keep_every_promise() {
    play(0..100);
}

#[test]
fn histories_100_to_199_keep_every_promise() {
    play(100..200);
}

#[test]
fn histories_200_to_299_keep_every_promise() {
    play(200..300);
}

#[test]
fn histories_300_to_399_keep_every_promise() {
    play(300..400);
}

#[test]
fn a_seed_is_a_history() {
    let (seeds, aloud) = asked(0..400);
    for seed in seeds {
        let _tell = Tell(seed);
        assert_eq!(history(seed, aloud), history(seed, aloud), "history {seed} goes the same way every time");
    }
}
