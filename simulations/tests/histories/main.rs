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
mod processes;
mod receipts;
mod replay;
mod script;
mod world;

use std::{collections::BTreeMap, ops::Range, thread};

use check::Record;
use script::History;

/// What happens in every block of histories, or it proves less than it says.
const KINDS: &[&str] = &[
    "Part",
    "PartUp",
    "PartDown",
    "Mend",
    "Hold",
    "Release",
    "Crash",
    "Vanish",
    "Start",
    "CrashCoordinator",
    "VanishCoordinator",
    "StopCoordinator",
    "StartCoordinator",
    "Double",
    "failed call",
    "resumed transfer",
    "receipt of a double",
    "committed",
    "abandoned",
    "OUTCOME_ACCEPTED",
    "OUTCOME_DISCARDED",
];

/// Numbers from here on are histories of rounds that do not wait.
const ASYNCHRONOUS: u64 = 1_000;

/// Plays and checks a history.
fn history(seed: u64, aloud: bool) -> Record {
    let _tell = Tell(seed);
    let history = if seed < ASYNCHRONOUS { History::of(seed) } else { History::asynchronous(seed) };
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

/// The history that the environment names.
fn asked() -> Option<u64> {
    let seed = std::env::var("NIBBLE_HISTORY").ok()?;
    Some(seed.parse().expect("NIBBLE_HISTORY is the number of a history"))
}

/// Plays and checks a block of histories, in which every kind of thing is to happen.
#[expect(clippy::print_stdout, reason = "whoever asks for it sees what a block was made of")]
fn play(block: Range<u64>) {
    if asked().is_some() {
        return;
    }
    let mut counts = BTreeMap::new();
    for seed in block {
        for (kind, count) in history(seed, false).counts {
            *counts.entry(kind).or_insert(0) += count;
        }
    }
    println!("{counts:?}");
    for kind in KINDS {
        let happened = counts.get(*kind).is_some_and(|count| *count > 0);
        assert!(happened, "no {kind} in a whole block of histories: {counts:?}");
    }
}

#[test]
fn histories_0_to_249_keep_every_promise() {
    play(0..250);
}

#[test]
fn histories_250_to_499_keep_every_promise() {
    play(250..500);
}

#[test]
fn histories_500_to_749_keep_every_promise() {
    play(500..750);
}

#[test]
fn histories_750_to_999_keep_every_promise() {
    play(750..1_000);
}

#[test]
fn histories_of_rounds_that_do_not_wait_keep_every_promise_1000_to_1249() {
    play(1_000..1_250);
}

#[test]
fn histories_of_rounds_that_do_not_wait_keep_every_promise_1250_to_1499() {
    play(1_250..1_500);
}

#[test]
fn a_seed_is_a_history() {
    let some = || (0..75).chain(1_000..1_025).collect();
    let (seeds, aloud): (Vec<_>, _) = asked().map_or_else(|| (some(), false), |seed| (vec![seed], true));
    for seed in seeds {
        let _tell = Tell(seed);
        let (first, second) = (history(seed, aloud), history(seed, false));
        assert_eq!(first, second, "it goes the same way every time");
    }
}
