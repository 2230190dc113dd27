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

use super::{
    buffered::UnderWay,
    checkpoint::{Checkpoint, Models, sha256},
    own::Own,
    vectors::Vectors,
    workers::Workers,
};
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
    /// What is under way between rounds, where those do not wait.
    pub(super) under_way: UnderWay,
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
        let loaded = Checkpoint::load(dir)?;
        let fleet = links::fleet(experiment, seed)?;
        let clients = (0..experiment.raw.data.clients as u64).map(ClientId);
        let budgets: Vec<_> = clients.map(|client| budgets::of(experiment, fleet.as_ref(), client)).collect();
        let none = BTreeMap::new();
        let (kept, own) =
            loaded.as_ref().map_or((&none, &none), |(checkpoint, ..)| (&checkpoint.kept, &checkpoint.own));
        let (kept, own) = (
            Vectors::restore(dir.join("kept"), cap_bytes, kept)?,
            Own::restore(federation, seed, dir, cap_bytes, own)?,
        );
        let attack = experiment.raw.attack.as_ref();
        let attackers = attack.map(|attack| {
            Attackers::new(attack.kind, attack.fraction, attack.strength, experiment.raw.data.clients, seed)
        });
        let mislabels = attackers.as_ref().is_some_and(Attackers::any_mislabels);
        let mislabelled = mislabels.then(|| Workers::new(&federation.mislabelled(), threads)).transpose()?;
        let classes = classes::all(experiment, fleet.as_ref(), &budgets);
        let progress =
            Progress { rows: Vec::new(), global: Vec::new(), memories: Vec::new(), clock: Duration::ZERO, classes };
        let run = Self {
            experiment,
            federation,
            codecs,
            seed,
            workers,
            kept,
            own,
            progress,
            broadcast: None,
            versions: BTreeMap::new(),
            control: None,
            under_way: UnderWay::default(),
            fleet,
            budgets,
            accounts: BTreeMap::new(),
            knowledge: Knowledge::default(),
            attackers,
            mislabelled,
            spare: Vec::new(),
            save_updates: None,
            dir: dir.into(),
        };
        match loaded {
            Some((checkpoint, models, payloads)) => {
                check_same(&checkpoint, codecs, seed, dir)?;
                run.resumed(checkpoint, models, &payloads)
            }
            None => Ok(run.begun()),
        }
    }

    /// At its beginning.
    fn begun(self) -> Self {
        let global = self.federation.trainer().init(self.seed);
        let memories = vec![0.0; self.experiment.strategy.memories() * global.len()];
        let broadcast = self.broadcasting((global.clone(), global.clone()), Vec::new());
        Self { progress: Progress { global, memories, ..self.progress }, broadcast, ..self }
    }

    /// Where a checkpoint says.
    fn resumed(
        self,
        checkpoint: Checkpoint,
        [global, memories, held, anchor]: Models,
        payloads: &[u8],
    ) -> Result<Self, SimError> {
        let mut under_way = UnderWay::restore(&checkpoint.flights, payloads).ok_or_else(|| SimError::File {
            path: self.dir.clone(),
            problem: "what its checkpoint says of updates under way makes no sense".into(),
            mend: "start afresh with --fresh".into(),
        })?;
        let late = checkpoint.late.iter().map(|(&client, &comes)| (ClientId(client), Duration::from_nanos(comes)));
        under_way.late = late.collect();
        let broadcast = self.broadcasting((anchor, held), checkpoint.frames);
        let of = |client| ClientId(client);
        Ok(Self {
            progress: Progress {
                rows: checkpoint.rows,
                global,
                memories,
                clock: Duration::from_nanos(checkpoint.clock_nanos),
                classes: checkpoint.classes,
            },
            broadcast,
            versions: checkpoint.versions.into_iter().map(|(client, version)| (of(client), version)).collect(),
            under_way,
            accounts: checkpoint.accounts.into_iter().map(|(client, account)| (of(client), account)).collect(),
            knowledge: checkpoint.known.into_iter().map(|(client, known)| (of(client), known)).collect(),
            ..self
        })
    }

    fn broadcasting(&self, models: (Vec<f32>, Vec<f32>), frames: Vec<u64>) -> Option<Broadcast> {
        let downlink = self.codecs.down.map(|scheme| Downlink { scheme, span: self.experiment.span });
        downlink.map(|downlink| Broadcast::new(downlink, self.federation.layout(), models, frames))
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
        let mut row = match self.experiment.round.buffer() {
            None => self.play_round()?,
            Some(_) => self.play_buffered()?,
        };
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
        let (flights, payloads) = self.under_way.to_rows();
        let checkpoint = Checkpoint {
            scheme: self.codecs.to_string(),
            seed: self.seed.0,
            clock_nanos: nanos(self.progress.clock),
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
            flights,
            late: self.under_way.late.iter().map(|(client, comes)| (client.0, nanos(*comes))).collect(),
            payloads: sha256(&payloads),
        };
        checkpoint.save(&self.dir, [global, &self.progress.memories, held, anchor], &payloads)?;
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

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
