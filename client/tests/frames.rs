//! Models that come as delta frames: the shortest way to them, and the long one when that does not lead there.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, time::Duration};

use nibble_client::agent::Ended;
use nibble_proto::v1::Outcome::{self, Accepted, Discarded};
use support::{Coordinator, Cut, Deltas, Network, Script, Toy, trainer};
use tokio::time::sleep;

const OUTCOMES: [Outcome; 5] = [Accepted, Discarded, Accepted, Accepted, Discarded];

/// Plays `script` to its end in the state of `dir`; gives the steps of every download.
async fn play(script: Script, dir: &Path, cuts: &[Cut]) -> Vec<u64> {
    let (network, connections) = Network::new(cuts.iter().copied());
    let coordinator = Coordinator::new(script.clone());
    coordinator.serve(connections);
    let ended = support::agent(dir, network).run(sleep(Duration::from_secs(3600))).await.unwrap();
    assert!(matches!(ended, Ended::Finished { .. }));
    support::check(&support::core(&script, Toy::boxed(), &trainer::SAMPLES), &coordinator, dir);
    let log = coordinator.log();
    assert!(log.declined.is_empty(), "{:?}", log.declined);
    log.steps.clone()
}

fn script(deltas: Deltas) -> Script {
    Script { deltas, ..Script::new("int4+ef", &OUTCOMES) }
}

#[tokio::test(start_paused = true)]
async fn every_model_comes_in_one_frame_after_the_first_which_is_made_here() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(play(script(Deltas::Good), dir.path(), &[]).await, [1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_gone_torn_or_of_another_model_cost_a_whole_model_and_no_round() {
    for deltas in [Deltas::Gone, Deltas::Torn, Deltas::Others] {
        let dir = tempfile::tempdir().unwrap();
        // One try of a frame and then the model, in every round but the first; the next round starts from what came.
        let steps = play(script(deltas), dir.path(), &[]).await;
        assert_eq!(steps, [1, 0, 1, 0, 1, 0, 1, 0], "{deltas:?}");
    }
}

/// Stops a client in round 4, does something to its state, and starts it again; gives the steps of every download.
async fn come_back(deltas: Deltas, damage: impl FnOnce(&Path)) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(Script { deltas, ..Script::new("int4", &[Discarded; 9]) });
    coordinator.serve(connections);
    let four = async {
        while coordinator.log().arrived.len() < 4 {
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(support::agent(dir.path(), network.clone()).run(four).await.unwrap(), Ended::Stopped);
    damage(dir.path());
    let ended = support::agent(dir.path(), network).run(sleep(Duration::from_secs(3600))).await.unwrap();
    assert!(matches!(ended, Ended::Finished { .. }));
    coordinator.log().steps.clone()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_goes_on_from_the_model_on_its_disk() {
    assert_eq!(come_back(Deltas::Good, |_| ()).await, [1; 8]);
}

#[tokio::test(start_paused = true)]
async fn without_that_file_it_goes_on_from_the_first_model() {
    let flip = |dir: &Path| {
        let mut bytes = fs::read(dir.join("model")).unwrap();
        bytes[1000] ^= 1;
        fs::write(dir.join("model"), bytes).unwrap();
    };
    let cut = |dir: &Path| fs::write(dir.join("model"), [1, 2, 3]).unwrap();
    let other_size = |dir: &Path| fs::write(dir.join("model"), [0; 8]).unwrap();
    let remove = |dir: &Path| fs::remove_file(dir.join("model")).unwrap();
    for damage in [flip as fn(&Path), cut, other_size, remove] {
        assert_eq!(come_back(Deltas::Good, damage).await, [1, 1, 1, 4, 1, 1, 1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_nothing_fetches_a_model_to_start_from_and_keeps_it() {
    assert_eq!(play(script(Deltas::Fetched), tempfile::tempdir().unwrap().path(), &[]).await, [0, 1, 1, 1, 1]);
    let remove = |dir: &Path| fs::remove_file(dir.join("model")).unwrap();
    assert_eq!(come_back(Deltas::Fetched, remove).await, [0, 1, 1, 1, 0, 4, 1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_break_at_any_point_changes_nothing() {
    for read in (1_000..40_000).step_by(3_000) {
        let dir = tempfile::tempdir().unwrap();
        let steps = play(script(Deltas::Good), dir.path(), &[Cut { read, ..Cut::NEVER }]).await;
        assert!(steps.iter().all(|steps| *steps == 1) && steps.len() <= 5, "{steps:?}");
    }
}
