//! What a client declines, refuses, ignores and drops; its residual stays what it was.
#![allow(clippy::unwrap_used)]

mod support;

use std::{path::Path, time::Duration};

use nibble_client::{
    agent::{AgentError, Ended, Training},
    state::{Keeps, PendingUpdate, Store},
};
use nibble_proto::v1::{
    self,
    Outcome::{Accepted, Discarded},
};
use nibble_seed::RoundId;
use support::{Coordinator, Network, Script, trainer};
use tokio::time::sleep;

/// An hour of virtual time, which no script needs.
fn an_hour() -> impl Future<Output = ()> {
    sleep(Duration::from_secs(3600))
}

/// Keeps a residual of run `run`.
fn keep(dir: &Path, run: &str) -> Vec<f32> {
    let residual: Vec<f32> = (0..trainer::layout().coordinates()).map(|i| i as f32 * 1e-6).collect();
    Store::open(dir).unwrap().settle(run, &trainer::layout(), (Keeps::Residual, &residual)).unwrap();
    residual
}

/// Runs a script of one round whose assignment must be declined. Gives the reason.
async fn declined(script: Script) -> String {
    let dir = tempfile::tempdir().unwrap();
    let residual = keep(dir.path(), "levels");
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(script);
    coordinator.serve(connections);
    let ended = support::agent(dir.path(), network).run(an_hour()).await.unwrap();
    assert!(matches!(ended, Ended::Finished { .. }));
    let (summary, vector) = Store::peek(dir.path()).unwrap().unwrap();
    assert!(summary.pending.is_none() && vector == residual, "the residual is as it was");
    let log = coordinator.log();
    let [(0, reason)] = &log.declined[..] else { panic!("{:?}", log.declined) };
    assert!(log.arrived.is_empty() && reason.len() <= 200, "{reason}");
    reason.clone()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_declined_with_a_reason() {
    type Tamper = fn(&mut v1::Assignment);
    let cases: [(Tamper, &str); 15] = [
        (|assignment| assignment.architecture = "gpt".into(), "no model gpt"),
        (|assignment| assignment.layout[0].shape = vec![4000, 10], "fc.weight has shape [4000, 10], this client's"),
        (|assignment| drop(assignment.layout.pop()), "the run has 1 tensors, this client 2"),
        (|assignment| assignment.layout[1].name = "b".into(), "tensor b has shape [10], this client's fc.bias"),
        (|assignment| assignment.layout[1].name = "é".repeat(30_000), "the run's tensor éé"),
        (|assignment| assignment.layout[0].shape = vec![u64::MAX, u64::MAX], "this client's fc.weight"),
        (|assignment| assignment.scheme = "int9".into(), "does not know the scheme"),
        (|assignment| assignment.max_payload_bytes = 20_000, "int4+ef takes 20"),
        (|assignment| assignment.training = None, "how to train"),
        (|assignment| assignment.training.as_mut().unwrap().lr = 0.0, "training diverged"),
        (|assignment| assignment.training.as_mut().unwrap().lr = 1e10, "a mean loss of inf"),
        (|assignment| assignment.model = None, "names no model"),
        (|assignment| assignment.model.as_mut().unwrap().frame_bytes += 1, "the model's frame is said to have"),
        (|assignment| assignment.model.as_mut().unwrap().frame_bytes = u64::MAX, "the model's frame is said to have"),
        (|assignment| assignment.model.as_mut().unwrap().sha256.truncate(31), "not a SHA-256"),
    ];
    for (tamper, expected) in cases {
        let reason = declined(Script { tamper, ..Script::new("int4+ef", &[Accepted]) }).await;
        assert!(reason.contains(expected), "{expected:?} is not in {reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_not_the_announced_one_is_not_trained_on() {
    let reason = declined(Script { swap_model: true, ..Script::new("int4+ef", &[Accepted]) }).await;
    assert!(reason.contains("SHA-256 differ"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_for_anything_but_the_pending_update_moves_nothing() {
    let forgeries: [fn(&mut v1::Receipt); 5] = [
        |receipt| receipt.update.as_mut().unwrap().round += 1,
        |receipt| receipt.update.as_mut().unwrap().run.push('x'),
        |receipt| receipt.update.as_mut().unwrap().payload_sha256 = vec![0; 32].into(),
        |receipt| receipt.update = None,
        |receipt| receipt.outcome = 0,
    ];
    for receipt_on_upload in [false, true] {
        for forge in forgeries {
            let dir = tempfile::tempdir().unwrap();
            let (network, connections) = Network::new([]);
            let script = Script { forge, receipt_on_upload, ..Script::new("int4+ef", &[Accepted]) };
            let coordinator = Coordinator::new(script);
            coordinator.serve(connections);
            let ended = support::agent(dir.path(), network).run(an_hour()).await.unwrap();
            assert_eq!(ended, Ended::Stopped, "it asks on and on");
            let (summary, _) = Store::peek(dir.path()).unwrap().unwrap();
            assert!(summary.pending.is_some());
            // Half a minute on average between tries, once pauses have grown.
            let check_ins = coordinator.log().check_ins;
            assert!((50..500).contains(&check_ins), "{check_ins} check-ins in an hour");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_agent_and_anything_else_is_tried_again() {
    use tonic::Code::{Aborted, Internal, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable};
    for (code, refused) in [
        (Unauthenticated, true),
        (PermissionDenied, true),
        (Unavailable, false),
        (Aborted, false),
        (ResourceExhausted, false),
        (Internal, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([]);
        let coordinator = Coordinator::new(Script { refusal: Some(code), ..Script::new("int4+ef", &[]) });
        coordinator.serve(connections);
        let result = support::agent(dir.path(), network).run(an_hour()).await;
        assert_eq!(result.as_ref().is_err_and(AgentError::is_refusal), refused, "{code:?}: {result:?}");
        assert_eq!(coordinator.log().check_ins == 1, refused, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (network, connections) = Network::new([]);
    drop(connections);
    let ended = support::agent(dir.path(), network).run(an_hour()).await.unwrap();
    assert_eq!(ended, Ended::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_new_run_drops_the_residual_of_the_old_one() {
    let run = |kept: Option<&'static str>| async move {
        let dir = tempfile::tempdir().unwrap();
        if let Some(run) = kept {
            keep(dir.path(), run);
        }
        let (network, connections) = Network::new([]);
        let coordinator = Coordinator::new(Script::new("int4+ef", &[Accepted]));
        coordinator.serve(connections);
        support::agent(dir.path(), network).run(an_hour()).await.unwrap();
        coordinator.log().arrived[&0].0.clone()
    };
    let fresh = run(None).await;
    assert!(run(Some("another run")).await == fresh);
    assert!(run(Some("levels")).await != fresh, "the residual of this run is part of its updates");
}

#[tokio::test(start_paused = true)]
async fn a_pending_update_of_a_run_that_is_gone_gives_its_intent_back_and_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let intent = vec![1.0; trainer::layout().coordinates()];
    let update = PendingUpdate {
        round: RoundId(9),
        samples: 5,
        payload_sha256: [9; 32],
        payload_bytes: 0,
        train_loss: 1.0,
        start_loss: None,
        nmse: 0.1,
    };
    Store::open(dir.path())
        .unwrap()
        .pend("gone", &trainer::layout(), update, (Keeps::Residual, &intent), b"payload")
        .unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(Script::new("int4+ef", &[]));
    coordinator.serve(connections);
    let ended = support::agent(dir.path(), network).run(an_hour()).await.unwrap();
    assert!(matches!(ended, Ended::Finished { .. }));
    let (summary, vector) = Store::peek(dir.path()).unwrap().unwrap();
    assert!(summary.pending.is_none() && summary.run == "gone" && vector == intent);
}

#[tokio::test(start_paused = true)]
async fn training_on_a_thread_of_its_own_gives_the_same() {
    let mut payloads = Vec::new();
    for training in [Training::Inline, Training::OwnThread] {
        let dir = tempfile::tempdir().unwrap();
        let (network, connections) = Network::new([]);
        let coordinator = Coordinator::new(Script::new("int2+ef", &[Discarded, Accepted]));
        coordinator.serve(connections);
        support::agent_that_trains(training, dir.path(), network).run(an_hour()).await.unwrap();
        payloads.push(coordinator.log().arrived.clone());
    }
    assert!(payloads[0] == payloads[1]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_written_ends_the_agent_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    // A directory in the place of the slot that comes next: not even root can write to it as a file.
    std::fs::create_dir(dir.path().join("client.1")).unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = Coordinator::new(Script::new("int4+ef", &[Accepted]));
    coordinator.serve(connections);
    let error = support::agent(dir.path(), network).run(an_hour()).await.unwrap_err();
    assert!(matches!(error, AgentError::State(_)), "{error}");
    assert!(coordinator.log().uploads.is_empty());
}
