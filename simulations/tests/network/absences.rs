//! A model that goes out as delta frames: whoever missed rounds, came late or lost everything has, after one download, the
//! model of whoever was always there, and pays for the shortest way to it.

use nibble_codec::{Layout, Payload};
use nibble_proto::v1::Assignment;
use nibble_seed::Seed;
use nibble_server::models::name_of;
use nibble_sim::model_file;

use crate::harness::{Deployment, Peer, Update, layout_of, runtime};

const COORDINATES: usize = 20_000;
/// A whole model: 32 bits a coordinate, and the frame around them.
const KEYFRAME: usize = 80_000;

/// A client, and the model that it has.
struct Follower {
    peer: Peer,
    parameters: Vec<f32>,
    /// The anchor that it keeps.
    anchor: Vec<f32>,
    /// Bytes and delta frames that its last model took.
    paid: (usize, usize),
}

impl Follower {
    fn new(address: &str, client: u64) -> Self {
        Self { peer: Peer::new(address, client), parameters: Vec::new(), anchor: Vec::new(), paid: (0, 0) }
    }

    /// Gets the model of an assignment the way it says.
    async fn pull(&mut self, assignment: &Assignment) {
        let (layout, model) = (layout_of(assignment), assignment.model.clone().unwrap());
        let steps = match &assignment.path {
            None => {
                self.parameters = self.peer.model(&model.sha256, &layout).await.unwrap();
                self.paid = (model.frame_bytes as usize, 0);
                0
            }
            Some(path) => {
                if path.base_bytes > 0 {
                    self.anchor = self.peer.model(&path.base_sha256, &layout).await.unwrap();
                    self.peer.held = path.base_sha256.clone();
                }
                assert_eq!(path.base_sha256, self.peer.held, "it starts from what the client has");
                self.parameters = self.anchor.clone();
                let mut frames = Vec::new();
                if !path.frame_bytes.is_empty() {
                    frames = self.peer.frames(&model.sha256, &path.base_sha256).await.unwrap();
                }
                let mut rest = &frames[..];
                for (bytes, followed) in path.frame_bytes.iter().zip(1..) {
                    let (frame, later) = rest.split_at(*bytes as usize);
                    Payload::parse(frame, &layout).unwrap().add_to(&mut self.parameters).unwrap();
                    rest = later;
                    if followed == path.anchor_frames {
                        self.anchor = self.parameters.clone();
                        self.peer.held = name_of(&self.anchor).to_vec().into();
                    }
                }
                assert!(rest.is_empty());
                self.paid = (frames.len() + path.base_bytes as usize, path.frame_bytes.len());
                path.frame_bytes.len()
            }
        };
        assert_eq!(name_of(&self.parameters)[..], model.sha256, "after {steps} frames");
    }
}

/// Plays a round with just these clients.
async fn round(followers: &mut [&mut Follower]) {
    let mut updates = Vec::new();
    let assigned = futures_util::future::join_all(followers.iter().map(|follower| follower.peer.assigned())).await;
    for (follower, assignment) in followers.iter_mut().zip(&assigned) {
        follower.pull(assignment).await;
        let noise = |i: usize| Seed(assignment.order_seed).unit_at(i as u64) - 0.5;
        let delta: Vec<f32> = (0..COORDINATES).map(noise).collect();
        updates.push(Update::encode(assignment, &delta, 1));
    }
    for (follower, update) in followers.iter().zip(&updates) {
        follower.peer.send(update).await.unwrap();
    }
    for (follower, update) in followers.iter().zip(&updates) {
        follower.peer.receipt(update).await;
    }
}

#[test]
fn after_1_5_or_50_missed_rounds_a_late_start_or_a_loss_all_have_the_same_model() {
    let mut deployment = Deployment::insecure(
        "[run]\nname = \"absences\"\nrounds = 1000\n[model]\nname = \"none\"\ninitial = \"zero.safetensors\"\n\
         [data]\ndataset = \"none\"\n[compression]\nuplink = \"int4\"\ndownlink = \"auto:1\"\n\
         [cohort]\nsize = 2\navailable = 2\n",
    );
    let layout = Layout::new([("all", vec![COORDINATES])]).unwrap();
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout, &[0.0; COORDINATES]).unwrap();
    let mut coordinator = deployment.start();
    let runtime = runtime();
    let follower = |client| Follower::new(deployment.address(), client);
    let entered = runtime.enter();
    let (mut steady, mut other, mut absent, mut late) = (follower(0), follower(1), follower(2), follower(3));
    drop(entered);
    runtime.block_on(round(&mut [&mut steady, &mut absent]));
    let mut paid = Vec::new();
    for missed in [1, 5, 50] {
        for _ in 0..missed {
            runtime.block_on(round(&mut [&mut steady, &mut other]));
        }
        if missed == 5 {
            coordinator.kill_after(std::time::Duration::ZERO);
            coordinator = deployment.start();
        }
        runtime.block_on(round(&mut [&mut steady, &mut absent]));
        assert!(absent.parameters == steady.parameters && steady.paid.1 == 1, "after {missed} missed rounds");
        paid.push((missed, absent.paid, steady.paid.0 * (missed + 1)));
    }
    println!("rounds missed, (bytes and frames of the way back), some bytes of a client that was there");
    paid.iter().for_each(|row| println!("{row:?}"));
    // One frame from the anchor, and those of the anchors between.
    assert_eq!(paid.iter().map(|row| row.1.1).collect::<Vec<_>>(), [1, 1, 4]);
    assert!(paid[1].1.0 < KEYFRAME / 10 && paid[2].1.0 < KEYFRAME / 4 && paid[2].2 > KEYFRAME, "{paid:?}");

    runtime.block_on(round(&mut [&mut steady, &mut late]));
    assert!(late.parameters == steady.parameters && late.paid.0 >= KEYFRAME && late.paid.1 <= 1, "the late one");
    (late.peer.held, late.anchor) = Default::default();
    runtime.block_on(round(&mut [&mut steady, &mut late]));
    assert!(
        late.parameters == steady.parameters && late.paid.0 >= KEYFRAME && late.paid.1 <= 1,
        "one that lost its disk"
    );
    drop(runtime);
    coordinator.terminate();
    coordinator.ends_with(0);
}
