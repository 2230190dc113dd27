//! Cohorts: who takes part in a round, and how each codes its update.

use std::{collections::BTreeMap, time::Duration};

use nibble_codec::Scheme;
use nibble_seed::{ClientId, RoundId};
use rusqlite::OptionalExtension;

use super::{Store, StoreError, duration, nanos, signed, unsigned};
use crate::{
    round::Flight,
    selection::{Heard, Knowledge},
};

impl Store {
    /// Adds to the cohort of a round, with how its members code their updates.
    ///
    /// # Errors
    /// If the store fails.
    pub fn assign(
        &self,
        run: &str,
        round: RoundId,
        cohort: &[(ClientId, Scheme)],
        at: Duration,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE rounds SET state = 'collecting', assigned = coalesce(assigned, ?3) WHERE run = ?1 AND round = ?2";
        self.connection.execute(sql, (run, signed(round.0), nanos(at)))?;
        let sql = "SELECT count(*) FROM cohort WHERE run = ?1 AND round = ?2";
        let before: i64 = self.connection.prepare_cached(sql)?.query_row((run, signed(round.0)), |row| row.get(0))?;
        let sql = "INSERT INTO cohort (run, round, place, client, scheme, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut insert = self.connection.prepare_cached(sql)?;
        for (place, (client, scheme)) in (before..).zip(cohort) {
            insert.execute((run, signed(round.0), place, signed(client.0), scheme.to_string(), nanos(at)))?;
        }
        Ok(())
    }

    /// The cohort of a round in the order it was drawn.
    ///
    /// # Errors
    /// If the store fails.
    pub fn cohort(&self, run: &str, round: RoundId) -> Result<Vec<ClientId>, StoreError> {
        let sql = "SELECT client FROM cohort WHERE run = ?1 AND round = ?2 ORDER BY place";
        let mut rows = self.connection.prepare_cached(sql)?;
        let clients = rows.query_map((run, signed(round.0)), |row| Ok(ClientId(unsigned(row.get(0)?))))?;
        Ok(clients.collect::<Result<_, _>>()?)
    }

    /// How the members of a round's cohort code their updates.
    ///
    /// # Errors
    /// If the store fails, or holds a scheme that there is not.
    pub fn schemes(&self, run: &str, round: RoundId) -> Result<BTreeMap<ClientId, Scheme>, StoreError> {
        let sql = "SELECT client, scheme FROM cohort WHERE run = ?1 AND round = ?2";
        let mut rows = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((ClientId(unsigned(row.get(0)?)), row.get::<_, String>(1)?));
        let rows = rows.query_map((run, signed(round.0)), read)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(|(client, name)| Ok((client, scheme_of(name)?))).collect()
    }

    /// Clients of all rounds that have reported nothing, with when they were assigned, in which round, and their schemes.
    ///
    /// # Errors
    /// If the store fails, or holds a scheme that there is not.
    pub fn flights(&self, run: &str) -> Result<BTreeMap<ClientId, (Flight, Scheme)>, StoreError> {
        let sql = "SELECT client, round, since, scheme FROM cohort WHERE run = ?1 AND NOT EXISTS \
                   (SELECT 1 FROM reports WHERE reports.run = cohort.run AND reports.round = cohort.round \
                   AND reports.client = cohort.client) ORDER BY round";
        let mut rows = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| -> Result<_, StoreError> {
            let flight = Flight { round: RoundId(unsigned(row.get(1)?)), since: duration(row.get(2)?) };
            Ok((ClientId(unsigned(row.get(0)?)), (flight, scheme_of(row.get(3)?)?)))
        };
        rows.query_and_then([run], read)?.collect()
    }

    /// What a round taught of its cohort: who was assigned it, and what came with the good updates.
    ///
    /// # Errors
    /// If the store fails.
    pub fn learn(&self, run: &str, round: RoundId, knowledge: &mut Knowledge) -> Result<(), StoreError> {
        let sql = "SELECT cohort.client, samples, train_loss, at - assigned FROM cohort JOIN rounds USING (run, round) \
                   LEFT JOIN reports ON reports.run = cohort.run AND reports.round = cohort.round \
                   AND reports.client = cohort.client AND kind = 'update' WHERE cohort.run = ?1 AND cohort.round = ?2";
        let mut rows = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            let heard = match row.get::<_, Option<i64>>(1)? {
                Some(samples) => Some(Heard {
                    samples: unsigned(samples),
                    loss: row.get(2)?,
                    took: row.get::<_, Option<i64>>(3)?.map(duration),
                }),
                None => None,
            };
            Ok((ClientId(unsigned(row.get(0)?)), heard))
        };
        for row in rows.query_map((run, signed(round.0)), read)? {
            let (client, heard) = row?;
            knowledge.selected(client, round);
            heard.into_iter().for_each(|heard| knowledge.heard(client, heard));
        }
        Ok(())
    }

    /// Whether `client` was of the cohort of a round.
    ///
    /// # Errors
    /// If the store fails.
    pub fn was_selected(&self, run: &str, round: RoundId, client: ClientId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM cohort WHERE run = ?1 AND round = ?2 AND client = ?3";
        let key = (run, signed(round.0), signed(client.0));
        Ok(self.connection.prepare_cached(sql)?.query_row(key, |_| Ok(())).optional()?.is_some())
    }
}

fn scheme_of(name: String) -> Result<Scheme, StoreError> {
    name.parse().map_err(|_| StoreError::Value { what: "a scheme", value: name })
}
