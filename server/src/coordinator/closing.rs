//! From a fixed counted set to the next model.

use std::{sync::Mutex, thread};

use nibble_proto::crash;
use nibble_seed::RoundId;

use super::{Coordinator, CoordinatorError, ModelRef, counters, publishing::keyframe_bytes};
use crate::{
    Aggregate, Contribution, Facts, FoldError, Round, models,
    round::{Counted, Event},
    spool::{Place, Spooled},
    store::RoundState,
    strategy::{self, Folding},
};

impl Coordinator {
    /// Writes down who counts and what became of everyone else.
    pub(super) fn fix_counted_set(&mut self) -> Result<(), CoordinatorError> {
        let Some(record) = self.round.as_ref().and_then(Round::record) else { return Ok(()) };
        let (run, why) = (&self.parts.plan.name, record.closed.to_string());
        self.parts.store.close((run, record.round), RoundState::Closing, &why, record.ended, record.updates())?;
        Ok(())
    }

    /// Folds the counted set into the next model, if one is fixed: stored first, then committed, then served. With nobody
    /// to wait for, the next round may fix its own at once.
    pub(super) async fn finish_closing(&mut self) -> Result<(), CoordinatorError> {
        while let Some(counted) = self.closing.take() {
            let Some(id) = self.round.as_ref().map(Round::id) else { return Ok(()) };
            crash::point("counted-set-fixed");
            let began = self.parts.clock.now();
            self.fold(id, &counted)?;
            crash::point("folded");
            let layout = &self.parts.plan.layout;
            let (name, frame_bytes) = self.parts.models.put(layout, id.next(), &self.global)?;
            let memories = models::name_of(&self.memories);
            self.parts.models.put_memories(&memories, &self.memories)?;
            crash::point("model-written");
            let before = self.served;
            self.newest = ModelRef { name, frame_bytes };
            self.parts.store.begin()?;
            self.parts.store.commit(&self.parts.plan.name, id, (&name, &memories), self.parts.clock.now())?;
            self.tell(Event::Aggregated)?;
            self.commit()?;
            crash::point("round-committed");
            counters::folded(self.parts.clock.now().saturating_sub(began));
            self.parts.tell_of(id, name);
            // Clients may still be fetching the model before; those before that are of no use to anyone.
            let kept = [Some(before.name), Some(self.served.name), Some(name), Some(memories), self.control_name()];
            let mut kept: Vec<_> = kept.into_iter().flatten().collect();
            let (under_way, oldest) = self.under_way(id.next());
            for round in under_way {
                kept.push(self.model_of(round)?.name);
            }
            self.parts.models.keep_only(&kept, keyframe_bytes(&self.parts))?;
            self.parts.spool.forget_before(oldest)?;
        }
        Ok(())
    }

    /// Adds the rule's mean of the counted updates to the global model, chunk by chunk, on all threads.
    fn fold(&mut self, round: RoundId, counted: &[Counted]) -> Result<(), CoordinatorError> {
        let (parts, layout) = (&self.parts, &self.parts.plan.layout);
        let contribution = |counted: &Counted| -> Result<Contribution<Spooled<'_>>, CoordinatorError> {
            let (client, of) = (counted.client, counted.round);
            let report = parts.store.report_by(&parts.plan.name, of, client)?;
            let missing =
                || CoordinatorError::Resume { round, problem: format!("the report of client {client} is gone") };
            let report = report.ok_or_else(missing)?;
            let digest = report.digest.ok_or_else(missing)?;
            let place = Place { round: of, client, digest, bytes: report.bytes };
            let chunks = parts.spool.payload(&place, layout);
            let chunks = chunks.map_err(|error| CoordinatorError::Fold { round, client, error })?;
            let facts = Facts {
                client,
                samples: counted.samples,
                steps: parts.plan.training.steps(counted.samples),
                loss: report.metrics.and_then(|metrics| metrics.start_loss),
                age: counted.age(round),
            };
            Ok(Contribution { facts, chunks })
        };
        let aggregate = Aggregate::new(counted.iter().map(contribution).collect::<Result<_, _>>()?)?
            .under(&parts.plan.aggregation, layout, parts.threads)
            .map_err(|error| match error {
                FoldError::Aggregate(error) => CoordinatorError::Aggregate(error),
                FoldError::Chunk { client, error } => CoordinatorError::Fold { round, client, error },
            })?;
        let folding = Folding {
            aggregate: &aggregate,
            strategy: parts.plan.strategy,
            lr: parts.plan.training.lr.in_round(round.0, parts.plan.rounds),
            sent: self.control.as_ref().map_or(&[], |control| &control.values),
        };
        let tiles =
            strategy::tiles(layout, aggregate.together(layout, parts.threads), &mut self.global, &mut self.memories);
        let tiles = Mutex::new(tiles.into_iter());
        let work = || {
            let mut scratch = Default::default();
            loop {
                let next = tiles.lock().expect("no thread panics while it takes a tile").next();
                let Some(mut tile) = next else { return Ok(()) };
                folding.change(&mut tile, &mut scratch).map_err(|(client, error)| CoordinatorError::Fold {
                    round,
                    client,
                    error,
                })?;
            }
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..parts.threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            others.into_iter().fold(mine, |result, thread| result.and(thread.join().expect("folding does not panic")))
        })
    }
}
