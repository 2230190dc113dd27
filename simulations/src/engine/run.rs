//! A run: its state between rounds, how it begins, goes on and is summed up.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nibble_client::budget::{Account, Budget};
use nibble_learning::Evaluation;
use nibble_seed::{ClientId, Seed};
use nibble_server::{
    broadcast::{Broadcast, Downlink},
    selection::Knowledge,
    strategy::Published,
};

use super::{checkpoint::Checkpoint, own::Own, vectors::Vectors, workers::Workers};
use crate::{
    attacks::Attackers,
    budgets, classes,
    clock::peak_rss_bytes,
    error::SimError,
    experiment::{Codecs, Experiment},
    federation::Federation,
    links::{self, Fleet},
    model_file,
    results::{ClassRow, RoundRow, RunResult, RunSummary},
};

/// What a run has come to.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The rounds so far.
    pub rows: Vec<RoundRow>,
    /// The global model.
    pub global: Vec<f32>,
    /// What the optimiser remembers, one vector after the other.
    pub memories: Vec<f32>,
    /// Virtual time.
    pub clock: Duration,
    /// What clients did, by kind of link, where there are links.
    pub classes: Vec<ClassRow>,
}

/// One scheme under one seed.
pub struct Run<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) federation: &'a Federation,
    pub(super) codecs: Codecs,
    pub(super) seed: Seed,
    pub(super) workers: Workers,
    /// What each client keeps from round to round: its residual, or its control variate.
    pub(super) kept: Vectors,
    /// What clients have of the model for themselves, if they have.
    pub(super) own: Option<Own>,
    pub(super) progress: Progress,
    /// What clients have, where the model's changes are compressed.
    pub(super) broadcast: Option<Broadcast>,
    /// Which version of it each client has, if it has any.
    pub(super) versions: BTreeMap<ClientId, u64>,
    /// The server's control variate in the round that is played, if clients are sent one.
    pub(super) control: Option<Published>,
    /// Who has which link, where there are links.
    pub(super) fleet: Option<Fleet>,
    /// What each client may spend.
    pub(super) budgets: Vec<Budget>,
    /// Bytes on the socket that each client has spent.
    pub(super) accounts: BTreeMap<ClientId, Account>,
    /// What the rounds so far taught of clients; cohorts may be chosen by it.
    pub(super) knowledge: Knowledge,
    /// Who attacks, if anybody does.
    pub(super) attackers: Option<Attackers>,
    /// Workers with wrong labels, for attackers that train on them.
    pub(super) mislabelled: Option<Workers>,
    /// Buffers of payloads that were folded, for the next round's.
    pub(super) spare: Vec<Vec<u8>>,
    /// Where every delta goes as a file, if anywhere.
    pub(super) save_updates: Option<PathBuf>,
    /// Where vectors spill and checkpoints lie.
    dir: PathBuf,
}

impl<'a> Run<'a> {
    /// Goes on from the checkpoint in `dir`, or begins where there is none.
    ///
    /// # Errors
    /// If `dir` cannot be used, or holds a checkpoint that is damaged or of another run.
    pub fn open(
        experiment: &'a Experiment,
        federation: &'a Federation,
        (codecs, seed): (Codecs, Seed),
        threads: usize,
        dir: &Path,
    ) -> Result<Self, SimError> {
        fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        let workers = Workers::new(federation, threads)?;
        let cap_bytes = experiment.raw.compression.residual_memory_mib.saturating_mul(1 << 20);
        // Where clients keep two vectors each, each kind has half of the memory.
        let cap_bytes = if experiment.raw.local.personal.is_empty() { cap_bytes } else { cap_bytes / 2 };
        let spill = dir.join("kept");
        let broadcast = |models, frames| {
            let downlink = codecs.down.map(|scheme| Downlink { scheme, span: experiment.span });
            downlink.map(|downlink| Broadcast::new(downlink, federation.layout(), models, frames))
        };
        let fleet = links::fleet(experiment, seed)?;
        let clients = (0..experiment.raw.data.clients as u64).map(ClientId);
        let budgets: Vec<_> = clients.map(|client| budgets::of(experiment, fleet.as_ref(), client)).collect();
        let (progress, kept, own, broadcast, versions, accounts, knowledge) = match Checkpoint::load(dir)? {
            Some((checkpoint, [global, memories, held, anchor])) => {
                check_same(&checkpoint, codecs, seed, dir)?;
                let kept = Vectors::restore(spill, cap_bytes, &checkpoint.kept)?;
                let clock = Duration::from_nanos(checkpoint.clock_nanos);
                let versions = checkpoint.versions.into_iter().map(|(client, version)| (ClientId(client), version));
                let broadcast = broadcast((anchor, held), checkpoint.frames);
                let account = |(client, account)| (ClientId(client), account);
                let accounts = checkpoint.accounts.into_iter().map(account).collect();
                let progress = Progress { rows: checkpoint.rows, global, memories, clock, classes: checkpoint.classes };
                let knowledge = checkpoint.known.into_iter().map(|(client, known)| (ClientId(client), known));
                let own = Own::restore(federation, seed, dir, cap_bytes, &checkpoint.own)?;
                (progress, kept, own, broadcast, versions.collect(), accounts, knowledge.collect())
            }
            None => {
                let global = federation.trainer().init(seed);
                let memories = vec![0.0; experiment.optimizer.memories() * global.len()];
                let broadcast = broadcast((global.clone(), global.clone()), Vec::new());
                let classes = classes::all(experiment, fleet.as_ref(), &budgets);
                let progress = Progress { rows: Vec::new(), global, memories, clock: Duration::ZERO, classes };
                let kept = Vectors::restore(spill, cap_bytes, &Default::default())?;
                let own = Own::restore(federation, seed, dir, cap_bytes, &Default::default())?;
                (progress, kept, own, broadcast, BTreeMap::new(), BTreeMap::new(), Knowledge::default())
            }
        };
        let attack = experiment.raw.attack.as_ref();
        let attackers = attack.map(|attack| {
            Attackers::new(attack.kind, attack.fraction, attack.strength, experiment.raw.data.clients, seed)
        });
        let mislabels = attackers.as_ref().is_some_and(Attackers::any_mislabels);
        let mislabelled = mislabels.then(|| Workers::new(&federation.mislabelled(), threads)).transpose()?;
        Ok(Self {
            experiment,
            federation,
            codecs,
            seed,
            workers,
            kept,
            own,
            progress,
            broadcast,
            versions,
            control: None,
            fleet,
            budgets,
            accounts,
            knowledge,
            attackers,
            mislabelled,
            spare: Vec::new(),
            save_updates: None,
            dir: dir.into(),
        })
    }

    /// Whether every round was played.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.progress.rows.len() as u64 >= self.experiment.raw.rounds
    }

    /// Plays one round and evaluates the model after it: on the test part, or, where clients have tensors of their own,
    /// with those on what they kept back.
    ///
    /// # Errors
    /// If a client fails, or what clients keep cannot be kept.
    pub fn step(&mut self) -> Result<&RoundRow, SimError> {
        let mut row = self.play_round()?;
        let samples = self.federation.dataset().test.len();
        let evaluation = match self.evaluate_own()? {
            None => self.workers.evaluate(&self.progress.global, samples)?,
            Some(evaluations) => evaluations.into_iter().fold(Evaluation::default(), |mut sum, evaluation| {
                sum += evaluation;
                sum
            }),
        };
        (row.accuracy, row.loss) = (evaluation.accuracy(), evaluation.mean_loss());
        self.progress.rows.push(row);
        Ok(&self.progress.rows[self.progress.rows.len() - 1])
    }

    /// Keeps the delta of every client that trains as a safetensors file in `dir`, which is made when needed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn save_updates(&mut self, dir: &Path) -> Result<(), SimError> {
        fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        self.save_updates = Some(dir.into());
        Ok(())
    }

    /// Makes the run durable: whatever happens next, [`Run::open`] goes on from here.
    ///
    /// # Errors
    /// If it cannot be written; the checkpoint before is then as it was.
    pub fn checkpoint(&mut self) -> Result<(), SimError> {
        let kept = self.kept.save_all()?;
        let global = &self.progress.global[..];
        let sent = self.broadcast.as_ref().map(|broadcast| (broadcast.held(), broadcast.anchor()));
        let (held, anchor) = sent.unwrap_or((global, global));
        let own = self.own.as_mut().map_or(Ok(BTreeMap::new()), Own::save_all)?;
        let checkpoint = Checkpoint {
            scheme: self.codecs.to_string(),
            seed: self.seed.0,
            clock_nanos: u64::try_from(self.progress.clock.as_nanos()).unwrap_or(u64::MAX),
            rows: self.progress.rows.clone(),
            model: model_file::hash(global),
            memories: model_file::hash(&self.progress.memories),
            held: model_file::hash(held),
            anchor: model_file::hash(anchor),
            frames: self.broadcast.as_ref().map_or_else(Vec::new, |broadcast| broadcast.frames().to_vec()),
            versions: self.versions.iter().map(|(client, &version)| (client.0, version)).collect(),
            accounts: self.accounts.iter().map(|(client, &account)| (client.0, account)).collect(),
            classes: self.progress.classes.clone(),
            known: self.knowledge.iter().map(|(client, known)| (client.0, known)).collect(),
            kept,
            own,
        };
        checkpoint.save(&self.dir, [global, &self.progress.memories, held, anchor])?;
        self.kept.checkpointed(&checkpoint.kept)?;
        self.own.as_mut().map_or(Ok(()), |own| own.checkpointed(&checkpoint.own))
    }

    /// Gives up the global model.
    #[must_use]
    pub fn into_global(self) -> Vec<f32> {
        self.progress.global
    }

    /// What every client may spend, and what it has; none, if it never took part.
    pub fn accounts(&self) -> impl Iterator<Item = (&Budget, Option<&Account>)> {
        (0..).zip(&self.budgets).map(|(client, budget)| (budget, self.accounts.get(&ClientId(client))))
    }

    /// The run's state.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The rounds so far, summed up.
    #[must_use]
    pub fn result(&self) -> RunResult {
        let rows = &self.progress.rows;
        let coordinates = self.federation.layout().coordinates();
        let run = (self.codecs, self.seed);
        let summary = RunSummary::of(rows, run, coordinates, &self.progress.global, peak_rss_bytes());
        RunResult { summary, rounds: rows.clone(), classes: self.progress.classes.clone() }
    }
}

fn check_same(checkpoint: &Checkpoint, codecs: Codecs, seed: Seed, dir: &Path) -> Result<(), SimError> {
    if (checkpoint.scheme.as_str(), checkpoint.seed) == (codecs.to_string().as_str(), seed.0) {
        return Ok(());
    }
    Err(SimError::File {
        path: dir.into(),
        problem: format!("holds a run of {} with seed {}", checkpoint.scheme, checkpoint.seed),
        mend: "use another directory, or start afresh with --fresh".into(),
    })
}
