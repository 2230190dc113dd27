//! Robust means of compressed updates, chunk by chunk.
//!
//! Updates are taken in ClientId order, whatever order they came in, and every sum has one order, in f64: the result is
//! the same to the bit on any number of threads. A [`Rule`] sees what is known of the updates ([`Facts`]) and, if it needs
//! them, their norms or inner products (`geometry.rs`); it answers with a [`Combination`], which is then carried out chunk
//! by chunk, or by a few. Rules have one trait ([`Combine`]) and a file each. Chunks are independent: whoever has threads spreads the chunks over them.
//!
//! Memory beyond the payloads: a chunk of f64 a thread for sums, or four; a chunk of f32 an update and thread for what sorts
//! columns or takes inner products, O(cohort x chunk); n² f64 for n updates. Never O(cohort x model).
//!
//! Absent on purpose: how the result changes the model (`strategy`), and anything that remembers a round.

mod bound;
mod bulyan;
mod clipping;
mod columns;
mod combination;
mod config;
mod contribution;
mod fednova;
mod geometric_median;
mod geometry;
mod krum;
mod mean;
mod median;
mod qfedavg;
mod rule;
mod threads;
mod trimmed_mean;

use std::ops::Range;

pub use bulyan::Bulyan;
pub use clipping::CenteredClipping;
pub use combination::{Columns, Combination};
pub use config::{Aggregation, KeyError, Keys, NormBound};
pub use contribution::{Chunks, Contribution, Facts, Scratch};
pub use fednova::MeanPerStep;
pub use geometric_median::GeometricMedian;
pub use geometry::Products;
pub use krum::{Krum, MultiKrum};
pub use mean::Mean;
pub use median::Median;
use nibble_codec::{CHUNK_COORDINATES, Layout};
use nibble_seed::ClientId;
pub use qfedavg::FairMean;
pub use rule::{Combine, Known, Rule, Weights};
pub use trimmed_mean::TrimmedMean;

use crate::error::{AggregateError, FoldError};

/// Counted updates, ready to be folded.
#[derive(Clone, Debug)]
pub struct Aggregate<C> {
    contributions: Vec<Contribution<C>>,
    /// What norm bounding and age leave of each update, at most 1.
    scales: Vec<f64>,
    combination: Combination,
}

impl<C: Chunks> Aggregate<C> {
    /// The sample-weighted mean of these updates.
    ///
    /// # Errors
    /// If a client contributes twice, or all samples together are 0.
    pub fn new(mut contributions: Vec<Contribution<C>>) -> Result<Self, AggregateError> {
        contributions.sort_by_key(|contribution| contribution.facts.client);
        if let Some(twice) = contributions.windows(2).find(|pair| pair[0].facts.client == pair[1].facts.client) {
            return Err(AggregateError::Duplicate { client: twice[0].facts.client });
        }
        let facts: Vec<_> = contributions.iter().map(|contribution| contribution.facts).collect();
        if facts.iter().all(|facts| facts.samples == 0) {
            return Err(AggregateError::NoWeight { updates: facts.len() });
        }
        let known = Known { facts: &facts, products: &Products::default(), norms: &[] };
        let combination = Mean { weights: Weights::Samples }.combine(&known);
        Ok(Self { scales: vec![1.0; contributions.len()], contributions, combination })
    }

    /// The same updates under another configuration; measures what it needs, on `threads` threads.
    ///
    /// # Errors
    /// If the rule needs more updates than there are, or a chunk cannot be had.
    pub fn under(
        mut self,
        aggregation: &Aggregation,
        layout: &Layout,
        threads: usize,
    ) -> Result<Self, FoldError<C::Error>>
    where
        C::Error: Send,
    {
        let (rule, updates) = (&aggregation.rule, self.contributions.len());
        if updates < rule.fewest() {
            let error = AggregateError::TooFew { rule: rule.name(), needed: rule.fewest(), found: updates };
            return Err(error.into());
        }
        let bound = aggregation.norm_bound.filter(|&factor| bound::can_bite(factor, updates));
        let mut products = Products::default();
        if rule.needs_products() {
            products = geometry::products(&self.contributions, layout, threads)?;
        }
        let mut norms = match (rule.needs_products(), bound.is_some() || rule.needs_norms()) {
            (true, _) => products.norms(),
            (false, true) => geometry::norms(&self.contributions, layout, threads)?,
            (false, false) => Vec::new(),
        };
        if let Some(factor) = bound {
            self.scales = bound::scales(&norms, factor);
        }
        let facts: Vec<_> = self.contributions.iter().map(|contribution| contribution.facts).collect();
        if aggregation.staleness != 0.0 {
            for (scale, facts) in self.scales.iter_mut().zip(&facts) {
                *scale *= (1.0 + facts.age as f64).powf(-aggregation.staleness);
            }
        }
        products.scale(&self.scales);
        norms.iter_mut().zip(&self.scales).for_each(|(norm, scale)| *norm *= scale);
        self.combination = rule.combine(&Known { facts: &facts, products: &products, norms: &norms });
        Ok(self)
    }

    /// How many updates there are.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.contributions.len()
    }

    /// What norm bounding and age leave of every update, in ClientId order: 1 where they leave all.
    pub fn scales(&self) -> impl Iterator<Item = (ClientId, f64)> {
        self.contributions.iter().map(|contribution| contribution.facts.client).zip(self.scales.iter().copied())
    }

    /// What is done with the updates, in ClientId order.
    #[must_use]
    pub fn combination(&self) -> &Combination {
        &self.combination
    }

    /// How many chunks are best folded together, as some updates only decode so many: one where that would leave threads without
    /// work, or the rule takes a row for each update.
    #[must_use]
    pub fn together(&self, layout: &Layout, threads: usize) -> usize {
        let Combination { shares, columns } = &self.combination;
        let counted = self.contributions.iter().zip(shares).filter(|(_, share)| **share != 0.0);
        let most = counted.map(|(contribution, _)| contribution.chunks.together()).max().unwrap_or(1);
        if *columns == Columns::Sum && layout.chunks().div_ceil(most) >= threads { most } else { 1 }
    }

    /// The rule's mean of some chunks of `len` coordinates, left in `mean`, which is resized to them and is scratch before.
    ///
    /// # Errors
    /// If a chunk cannot be had, with the client it belongs to.
    pub fn mean_of(&self, chunks: Range<usize>, len: usize, mean: &mut Vec<f64>) -> Result<(), (ClientId, C::Error)> {
        mean.clear();
        mean.resize(len, 0.0);
        let mut scratch = Scratch::default();
        let Combination { shares, columns } = &self.combination;
        let counted = self.contributions.iter().zip(shares).zip(&self.scales).filter(|((_, share), _)| **share != 0.0);
        if *columns == Columns::Sum {
            for ((contribution, share), scale) in counted {
                contribution.fold(chunks.clone(), share * scale, &mut scratch, mean)?;
            }
            return Ok(());
        }
        // A row for each update takes enough memory for one chunk.
        for (index, mean) in chunks.zip(mean.chunks_mut(CHUNK_COORDINATES)) {
            let mut rows = vec![0.0f32; counted.clone().count() * mean.len()];
            let each = counted.clone().zip(rows.chunks_exact_mut(mean.len().max(1)));
            for (((Contribution { facts, chunks }, _), &scale), row) in each {
                chunks.decode_chunk(index, &mut scratch, row).map_err(|error| (facts.client, error))?;
                if scale != 1.0 {
                    row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
                }
            }
            columns::combine(&rows, *columns, mean);
        }
        Ok(())
    }

    /// The same with every update divided by the steps of SGD that it took; `mean` is the mean of these chunks, under a rule that
    /// adds updates up.
    ///
    /// # Errors
    /// As [`Aggregate::mean_of`].
    ///
    /// # Panics
    /// If the rule does not add updates up.
    pub fn mean_per_step_of(
        &self,
        chunks: Range<usize>,
        mean: &[f64],
        per_step: &mut Vec<f64>,
    ) -> Result<(), (ClientId, C::Error)> {
        assert_eq!(self.combination.columns, Columns::Sum, "what is sorted has no share to divide");
        let steps = |contribution: &Contribution<C>| contribution.facts.steps.max(1) as f64;
        per_step.clear();
        let first = self.contributions.first().map_or(1.0, steps);
        if self.contributions.iter().all(|contribution| steps(contribution) == first) {
            per_step.extend(mean.iter().map(|value| value / first));
            return Ok(());
        }
        per_step.resize(mean.len(), 0.0);
        let mut scratch = Scratch::default();
        for ((contribution, share), scale) in self.contributions.iter().zip(&self.combination.shares).zip(&self.scales)
        {
            contribution.fold(chunks.clone(), share * scale / steps(contribution), &mut scratch, per_step)?;
        }
        Ok(())
    }
}

impl<C: Chunks> Contribution<C> {
    /// Adds `weight` times some chunks to `sum`, which begins with the first of them.
    fn fold(
        &self,
        chunks: Range<usize>,
        weight: f64,
        scratch: &mut Scratch,
        sum: &mut [f64],
    ) -> Result<(), (ClientId, C::Error)> {
        for (index, sum) in chunks.zip(sum.chunks_mut(CHUNK_COORDINATES)) {
            self.chunks.fold_chunk(index, weight, scratch, sum).map_err(|error| (self.facts.client, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
