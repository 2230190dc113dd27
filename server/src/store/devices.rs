//! Devices, their certificates, and the one-time tokens by which they come in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nibble_seed::ClientId;
use rusqlite::OptionalExtension;

use super::{Store, StoreError, duration, nanos, signed, unsigned};
use crate::peer::{CertificateFacts, Fingerprint, Identity};

/// A device as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// When it was enrolled, since 1970.
    pub enrolled: Duration,
    /// When it was revoked.
    pub revoked: Option<Duration>,
    /// When it last checked in.
    pub seen: Option<Duration>,
    /// What it then said it may spend.
    pub allowance: Allowance,
    /// When its last certificate ends, in seconds since 1970.
    pub not_after_unix: Option<u64>,
}

/// Bytes on the socket that a device may still spend, as it says; none, if any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Sent in its next round.
    pub up: Option<u64>,
    /// Received in its next round.
    pub down: Option<u64>,
    /// Sent in the rest of the run.
    pub up_in_run: Option<u64>,
    /// Received in the rest of the run.
    pub down_in_run: Option<u64>,
    /// When it may spend more than that, if ever.
    pub renews_in: Option<Duration>,
}

/// A token as it is kept: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// The number of the device that it is for.
    pub client: ClientId,
    /// The device's name.
    pub name: String,
    /// When it stops working, in seconds since 1970.
    pub expires_unix: u64,
}

/// Certificates of a device that are known at a time: so many answers to renewals may be lost before the one that it still
/// has is forgotten, and no device can fill the store by renewing.
pub(super) const CERTIFICATES: i64 = 32;

impl Store {
    /// The identity behind a certificate; `None` if it is unknown, expired at `now_unix`, or its device revoked.
    ///
    /// # Errors
    /// If the store fails.
    pub fn identify(&self, fingerprint: &Fingerprint, now_unix: u64) -> Result<Option<Identity>, StoreError> {
        let sql = "SELECT id, name, public_key, not_after FROM certificates JOIN clients ON clients.id = client \
                   WHERE fingerprint = ?1 AND not_after >= ?2 AND revoked IS NULL";
        let key = (fingerprint, signed(now_unix));
        let found = self.connection.prepare_cached(sql)?.query_row(key, |row| {
            let public_key: Vec<u8> = row.get(2)?;
            let certificate = CertificateFacts {
                fingerprint: *fingerprint,
                public_key: public_key.into(),
                not_after_unix: unsigned(row.get(3)?),
            };
            let name = Arc::from(row.get::<_, String>(1)?);
            Ok(Identity { client: ClientId(unsigned(row.get(0)?)), name, certificate: Some(certificate) })
        });
        Ok(found.optional()?)
    }

    /// A number that no device and no token has: one above the highest, 0 to begin with.
    ///
    /// # Errors
    /// If the store fails.
    pub fn free_number(&self) -> Result<ClientId, StoreError> {
        let sql =
            "SELECT MAX((SELECT COALESCE(MAX(id), -1) FROM clients), (SELECT COALESCE(MAX(client), -1) FROM tokens))";
        let highest: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(ClientId(unsigned(highest + 1)))
    }

    /// Enters a token. A device that is enrolled already gets a new certificate by it.
    ///
    /// # Errors
    /// If the name or the number belongs to another device, the device is revoked, or the store fails.
    pub fn add_token(&self, token: &NewToken) -> Result<(), StoreError> {
        let sql = "SELECT id, name FROM clients WHERE (id = ?1) != (name = ?2) \
                   UNION SELECT client, name FROM tokens WHERE (client = ?1) != (name = ?2) LIMIT 1";
        let clash: Option<(i64, String)> = self
            .connection
            .query_row(sql, (signed(token.client.0), &token.name), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((id, name)) = clash {
            let problem = format!(
                "client {} cannot be {:?}: client {id} is {name:?}; choose a free name and number",
                token.client, token.name
            );
            return Err(StoreError::Device(problem));
        }
        let sql = "SELECT 1 FROM clients WHERE id = ?1 AND revoked IS NOT NULL";
        if self.connection.query_row(sql, [signed(token.client.0)], |_| Ok(())).optional()?.is_some() {
            let problem = format!("{:?} is revoked, for good; enrol the device under a new name", token.name);
            return Err(StoreError::Device(problem));
        }
        let sql = "INSERT INTO tokens (digest, client, name, expires) VALUES (?1, ?2, ?3, ?4)";
        self.connection
            .execute(sql, (token.digest, signed(token.client.0), &token.name, signed(token.expires_unix)))?;
        Ok(())
    }

    /// The device that a token is for, if the token is good at `now` and the device not revoked.
    ///
    /// # Errors
    /// If the store fails.
    pub fn token(&self, digest: &[u8; 32], now: Duration) -> Result<Option<(ClientId, String, bool)>, StoreError> {
        let sql = "SELECT client, name, used IS NOT NULL FROM tokens WHERE digest = ?1 AND expires >= ?2 \
                   AND client NOT IN (SELECT id FROM clients WHERE revoked IS NOT NULL)";
        let found = self.connection.query_row(sql, (digest, signed(now.as_secs())), |row| {
            Ok((ClientId(unsigned(row.get(0)?)), row.get(1)?, row.get(2)?))
        });
        Ok(found.optional()?)
    }

    /// Uses up a token and enters the device with its certificate. The key that used it may do so again, as the answer may
    /// have been lost; `false` if another key used it first.
    ///
    /// # Errors
    /// If the store fails.
    pub fn enrol(
        &self,
        digest: &[u8; 32],
        (client, name): (ClientId, &str),
        certificate: &CertificateFacts,
        now: Duration,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE tokens SET used = ?2, public_key = ?3 \
                   WHERE digest = ?1 AND (used IS NULL OR public_key = ?3)";
        let key: &[u8] = &certificate.public_key;
        if self.connection.execute(sql, (digest, nanos(now), key))? == 0 {
            return Ok(false);
        }
        let sql = "INSERT INTO clients (id, name, enrolled) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
        self.connection.execute(sql, (signed(client.0), name, nanos(now)))?;
        self.add_certificate(client, certificate)?;
        Ok(true)
    }

    /// Enters a certificate of a device, and forgets all but the 32 that end last.
    ///
    /// # Errors
    /// If there is no such device, or the store fails.
    pub fn add_certificate(&self, client: ClientId, certificate: &CertificateFacts) -> Result<(), StoreError> {
        let sql = "INSERT INTO certificates (fingerprint, client, public_key, not_after) VALUES (?1, ?2, ?3, ?4)";
        let key: &[u8] = &certificate.public_key;
        let row = (certificate.fingerprint, signed(client.0), key, signed(certificate.not_after_unix));
        self.connection.execute(sql, row)?;
        let sql = "DELETE FROM certificates WHERE client = ?1 AND fingerprint NOT IN \
                   (SELECT fingerprint FROM certificates WHERE client = ?1 ORDER BY not_after DESC LIMIT ?2)";
        self.connection.execute(sql, (signed(client.0), CERTIFICATES))?;
        Ok(())
    }

    /// Revokes every certificate of the device of this name, for good. `false` if there is none, or it was revoked before.
    ///
    /// # Errors
    /// If the store fails.
    pub fn revoke(&self, name: &str, now: Duration) -> Result<bool, StoreError> {
        let sql = "UPDATE clients SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL";
        Ok(self.connection.execute(sql, (name, nanos(now)))? > 0)
    }

    /// Notes when devices last checked in, and what they then had left.
    ///
    /// # Errors
    /// If the store fails.
    pub fn seen(&self, seen: &BTreeMap<ClientId, (Duration, Allowance)>) -> Result<(), StoreError> {
        let sql = "UPDATE clients SET seen = ?2, may_send = ?3, may_receive = ?4, may_send_in_run = ?5, \
                   may_receive_in_run = ?6 WHERE id = ?1";
        let mut update = self.connection.prepare_cached(sql)?;
        for (client, (at, allowance)) in seen {
            let Allowance { up, down, up_in_run, down_in_run, .. } = *allowance;
            let [up, down, up_in_run, down_in_run] = [up, down, up_in_run, down_in_run].map(|bytes| bytes.map(signed));
            update.execute((signed(client.0), nanos(*at), up, down, up_in_run, down_in_run))?;
        }
        Ok(())
    }

    /// Every device, by number.
    ///
    /// # Errors
    /// If the store fails.
    pub fn devices(&self) -> Result<Vec<Device>, StoreError> {
        let sql = "SELECT id, name, enrolled, revoked, seen, (SELECT MAX(not_after) FROM certificates WHERE client = id), \
                   may_send, may_receive, may_send_in_run, may_receive_in_run FROM clients ORDER BY id";
        let mut rows = self.connection.prepare_cached(sql)?;
        let devices = rows.query_map([], |row| {
            let bytes = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(unsigned));
            Ok(Device {
                allowance: Allowance {
                    up: bytes(6)?,
                    down: bytes(7)?,
                    up_in_run: bytes(8)?,
                    down_in_run: bytes(9)?,
                    renews_in: None,
                },
                client: ClientId(unsigned(row.get(0)?)),
                name: row.get(1)?,
                enrolled: duration(row.get(2)?),
                revoked: row.get::<_, Option<i64>>(3)?.map(duration),
                seen: row.get::<_, Option<i64>>(4)?.map(duration),
                not_after_unix: row.get::<_, Option<i64>>(5)?.map(unsigned),
            })
        })?;
        Ok(devices.collect::<Result<_, _>>()?)
    }
}
