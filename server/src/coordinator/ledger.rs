//! Bytes that moved since they were last written to the store.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use nibble_seed::ClientId;

use crate::{
    listener::{Meters, Traffic},
    store::Bytes,
};

/// Counts as it goes; the coordinator takes what is there and enters it under the open round.
#[derive(Debug, Default)]
pub struct Ledger {
    bytes: Mutex<BTreeMap<Option<ClientId>, Bytes>>,
    sockets: Meters,
}

impl Ledger {
    /// A ledger that also takes what `sockets` counted.
    #[must_use]
    pub fn new(sockets: Meters) -> Self {
        Self { bytes: Mutex::default(), sockets }
    }

    /// Adds bytes of a client; `None` stands for peers that never said who they were.
    pub fn add(&self, client: Option<ClientId>, bytes: Bytes) {
        if bytes != Bytes::default() {
            *self.bytes.lock().unwrap_or_else(PoisonError::into_inner).entry(client).or_default() += bytes;
        }
    }

    /// Everything since the last time.
    #[must_use]
    pub fn take(&self) -> BTreeMap<Option<ClientId>, Bytes> {
        let mut bytes = std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        for Traffic { client, received, sent } in self.sockets.take() {
            *bytes.entry(client).or_default() += Bytes { wire_up: received, wire_down: sent, ..Bytes::default() };
        }
        bytes.retain(|_, bytes| *bytes != Bytes::default());
        bytes
    }
}
