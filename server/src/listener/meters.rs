//! Bytes on the wire, counted between socket and TLS, and whose they are.
//!
//! A connection's bytes wait for their owner: they are reported once it is known, or once it never will be. Absent on
//! purpose: what TCP and IP add.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nibble_seed::ClientId;

use super::lock;

/// Bytes that one client moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Whose; `None` for all peers that had no identity.
    pub client: Option<ClientId>,
    /// Bytes from it.
    pub received: u64,
    /// Bytes to it.
    pub sent: u64,
}

/// Connections now, and all that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open ones.
    pub open: u64,
    /// Open ones whose peer is not known yet.
    pub handshaking: u64,
    /// Open ones without an identity.
    pub anonymous: u64,
    /// Open ones of devices.
    pub identified: u64,
    /// Those refused since the start because there were too many.
    pub refused: u64,
}

/// What all connections of a listener moved. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    open: HashMap<u64, Entry>,
    /// Bytes of connections that ended or changed their owner.
    settled: BTreeMap<Option<ClientId>, (u64, u64)>,
    refused: u64,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    counters: Arc<Counters>,
    /// How much of both directions has been settled.
    taken: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Unknown,
    Known(Option<ClientId>),
}

/// All bytes since the connection began.
#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Meters {
    /// What moved since the last call, by client; every byte in exactly one call.
    #[must_use]
    pub fn take(&self) -> Vec<Traffic> {
        let mut registry = lock(&self.0);
        let Registry { open, settled, .. } = &mut *registry;
        for entry in open.values_mut() {
            if let Owner::Known(client) = entry.owner {
                settle(settled, client, entry);
            }
        }
        std::mem::take(settled)
            .into_iter()
            .map(|(client, (received, sent))| Traffic { client, received, sent })
            .collect()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let registry = lock(&self.0);
        let mut counts = Connections { refused: registry.refused, ..Connections::default() };
        for entry in registry.open.values() {
            counts.open += 1;
            match entry.owner {
                Owner::Unknown => counts.handshaking += 1,
                Owner::Known(None) => counts.anonymous += 1,
                Owner::Known(Some(_)) => counts.identified += 1,
            }
        }
        counts
    }

    /// A connection had no place.
    pub(super) fn refuse(&self) {
        lock(&self.0).refused += 1;
    }

    /// A meter for a new connection.
    pub(super) fn open(&self) -> Arc<Meter> {
        let counters = Arc::<Counters>::default();
        let mut registry = lock(&self.0);
        registry.next += 1;
        let id = registry.next;
        registry.open.insert(id, Entry { owner: Owner::Unknown, counters: Arc::clone(&counters), taken: (0, 0) });
        Arc::new(Meter { meters: self.clone(), id, counters })
    }
}

/// One connection's meter. Whoever counts holds it, so when it drops no more bytes can come.
#[derive(Debug)]
pub(super) struct Meter {
    meters: Meters,
    id: u64,
    counters: Arc<Counters>,
}

impl Meter {
    /// The connection is this client's, or nobody's. What it moved as another client's stays that one's.
    pub(super) fn belongs_to(&self, client: Option<ClientId>) {
        let mut registry = lock(&self.meters.0);
        let Registry { open, settled, .. } = &mut *registry;
        let Some(entry) = open.get_mut(&self.id) else { return };
        match entry.owner {
            Owner::Known(former) if former != client => settle(settled, former, entry),
            _ => {}
        }
        entry.owner = Owner::Known(client);
    }

    /// Bytes from the peer since the connection began.
    pub(super) fn received(&self) -> u64 {
        self.counters.received.load(Relaxed)
    }

    /// Bytes to the peer since the connection began.
    pub(super) fn sent(&self) -> u64 {
        self.counters.sent.load(Relaxed)
    }

    /// So many more came and went.
    pub(super) fn count(&self, received: usize, sent: usize) {
        // usize has at most 64 bits on every target.
        self.counters.received.fetch_add(received as u64, Relaxed);
        self.counters.sent.fetch_add(sent as u64, Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut registry = lock(&self.meters.0);
        let Some(mut entry) = registry.open.remove(&self.id) else { return };
        let client = match entry.owner {
            Owner::Unknown => None,
            Owner::Known(client) => client,
        };
        settle(&mut registry.settled, client, &mut entry);
    }
}

fn settle(settled: &mut BTreeMap<Option<ClientId>, (u64, u64)>, client: Option<ClientId>, entry: &mut Entry) {
    let now = (entry.counters.received.load(Relaxed), entry.counters.sent.load(Relaxed));
    let (received, sent) = (now.0 - entry.taken.0, now.1 - entry.taken.1);
    entry.taken = now;
    if received > 0 || sent > 0 {
        let total = settled.entry(client).or_default();
        total.0 += received;
        total.1 += sent;
    }
}
