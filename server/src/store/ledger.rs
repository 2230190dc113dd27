//! The ledger: bytes really moved, by client and round, in both directions and on three levels.

use std::ops::AddAssign;

use nibble_seed::{ClientId, RoundId};

use super::{Store, StoreError, signed, unsigned};

/// Bytes in both directions. Up is from client to coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Payloads of updates.
    pub payload_up: u64,
    /// Frames of models.
    pub payload_down: u64,
    /// Protobuf messages, which carry the payloads.
    pub message_up: u64,
    /// As above.
    pub message_down: u64,
    /// Everything read from sockets: HTTP/2, TLS and handshakes included, TCP and IP not.
    pub wire_up: u64,
    /// Everything written to sockets.
    pub wire_down: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.payload_up += other.payload_up;
        self.payload_down += other.payload_down;
        self.message_up += other.message_up;
        self.message_down += other.message_down;
        self.wire_up += other.wire_up;
        self.wire_down += other.wire_down;
    }
}

/// What one client moved in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The round that was open at the time.
    pub round: RoundId,
    /// The client; `None` for peers that never said who they were.
    pub client: Option<ClientId>,
    /// The bytes.
    pub bytes: Bytes,
}

impl Store {
    /// Adds what moved to the ledger.
    ///
    /// # Errors
    /// If the store fails.
    pub fn add_to_ledger(&self, run: &str, row: &LedgerRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (run, round, client) \
                   DO UPDATE SET payload_up = payload_up + excluded.payload_up, \
                   payload_down = payload_down + excluded.payload_down, \
                   message_up = message_up + excluded.message_up, \
                   message_down = message_down + excluded.message_down, \
                   wire_up = wire_up + excluded.wire_up, wire_down = wire_down + excluded.wire_down";
        let bytes = row.bytes;
        self.connection.prepare_cached(sql)?.execute((
            run,
            signed(row.round.0),
            row.client.map_or(-1, |client| signed(client.0)),
            signed(bytes.payload_up),
            signed(bytes.payload_down),
            signed(bytes.message_up),
            signed(bytes.message_down),
            signed(bytes.wire_up),
            signed(bytes.wire_down),
        ))?;
        Ok(())
    }

    /// The ledger of a run, by round, then client.
    ///
    /// # Errors
    /// If the store fails.
    pub fn ledger(&self, run: &str) -> Result<Vec<LedgerRow>, StoreError> {
        let sql = "SELECT round, client, payload_up, payload_down, message_up, message_down, wire_up, wire_down \
                   FROM ledger WHERE run = ?1 ORDER BY round, client";
        let mut rows = self.connection.prepare_cached(sql)?;
        let rows = rows.query_map([run], |row| {
            let count = |index| Ok::<_, rusqlite::Error>(unsigned(row.get(index)?));
            let client: i64 = row.get(1)?;
            Ok(LedgerRow {
                round: RoundId(count(0)?),
                client: (client >= 0).then_some(ClientId(unsigned(client))),
                bytes: Bytes {
                    payload_up: count(2)?,
                    payload_down: count(3)?,
                    message_up: count(4)?,
                    message_down: count(5)?,
                    wire_up: count(6)?,
                    wire_down: count(7)?,
                },
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
