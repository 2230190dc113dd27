//! A model of one's own in a federation: linear regression on synthetic data, plugged in as a [`Trainer`].
//!
//! `cargo run -p nibble-client --example own_trainer -- http://127.0.0.1:7443 3` takes part as client 3 of an insecure
//! coordinator whose run has the architecture `line` with a tensor `w` of shape `[2]`.

use std::{env, ops::Range, path::Path};

use nibble_client::{agent, agent::Agent, link, link::Credentials, state::Store};
use nibble_learning::{Evaluation, LearningError, Task, TensorSpec, TrainReport, Trainer};
use nibble_seed::{ClientId, Seed};

/// y = w0 + w1 x, with samples on the line 1 + 2x.
struct Line {
    tensors: Vec<TensorSpec>,
}

impl Trainer for Line {
    fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    fn init(&self, _: Seed) -> Vec<f32> {
        vec![0.0; 2]
    }

    fn train(&mut self, global: &[f32], task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
        let (mut w, mut loss, mut steps) = ([global[0], global[1]], 0.0, 0);
        let batches = task.samples.chunks(task.sgd.batch).cycle();
        for batch in batches.take(task.sgd.steps_on(task.samples.len()) as usize) {
            for &sample in batch {
                let x = sample as f32 / task.samples.len() as f32;
                let error = w[0] + w[1] * x - (1.0 + 2.0 * x);
                w = [w[0] - task.sgd.lr * error, w[1] - task.sgd.lr * error * x];
                (loss, steps) = (loss + f64::from(error * error), steps + 1);
            }
        }
        delta.copy_from_slice(&[w[0] - global[0], w[1] - global[1]]);
        Ok(TrainReport { samples: task.samples.len() as u64, steps, mean_loss: loss / steps.max(1) as f64 })
    }

    fn evaluate(&mut self, _: &[f32], _: Range<usize>) -> Result<Evaluation, LearningError> {
        Ok(Evaluation::default())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7443".into());
    let client = env::args().nth(2).map_or(Ok(0), |number| number.parse())?;
    let trainers = |architecture: &str| -> Result<Box<dyn Trainer>, agent::BoxError> {
        let tensors = vec![TensorSpec { name: "w".into(), shape: vec![2] }];
        if architecture == "line" { Ok(Box::new(Line { tensors })) } else { Err("only lines are known here".into()) }
    };
    let link = link::Link::new(server.parse()?, Credentials::Insecure(ClientId(client)))?;
    let store = Store::open(Path::new(&format!("own-trainer-{client}")))?;
    let config = agent::AgentConfig::new(Seed(client));
    Agent::new(config, link, store, trainers, (0..100).collect()).run(std::future::pending()).await?;
    Ok(())
}
