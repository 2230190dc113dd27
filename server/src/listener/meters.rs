//! Bytes on the wire, counted between socket and TLS, and whose they are.
//!
//! A connection's bytes wait for their owner: they are reported once it is known, or once it never will be. Absent on
//! purpose: what TCP and IP add.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use nibble_seed::ClientId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    /// Bytes of known owners, taken off their connections' counters.
    settled: BTreeMap<Option<ClientId>, (u64, u64)>,
    refused: u64,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Unknown,
    Known(Option<ClientId>),
}

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
        for entry in open.values() {
            if let Owner::Known(client) = entry.owner {
                settle(settled, client, &entry.counters);
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
        registry.open.insert(id, Entry { owner: Owner::Unknown, counters: Arc::clone(&counters) });
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
            Owner::Known(former) if former != client => settle(settled, former, &entry.counters),
            _ => {}
        }
        entry.owner = Owner::Known(client);
    }

    /// All bytes received and not yet taken; grows but at a [`Meters::take`].
    fn count(&self, received: usize, sent: usize) {
        // usize has at most 64 bits on every target.
        self.counters.received.fetch_add(received as u64, Relaxed);
        self.counters.sent.fetch_add(sent as u64, Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut registry = lock(&self.meters.0);
        let Some(entry) = registry.open.remove(&self.id) else { return };
        let client = match entry.owner {
            Owner::Unknown => None,
            Owner::Known(client) => client,
        };
        settle(&mut registry.settled, client, &self.counters);
    }
}

fn settle(settled: &mut BTreeMap<Option<ClientId>, (u64, u64)>, client: Option<ClientId>, counters: &Counters) {
    let (received, sent) = (counters.received.swap(0, Relaxed), counters.sent.swap(0, Relaxed));
    if received > 0 || sent > 0 {
        let total = settled.entry(client).or_default();
        total.0 += received;
        total.1 += sent;
    }
}

/// A socket whose bytes are counted.
pub(super) struct Metered<Io> {
    io: Io,
    meter: Arc<Meter>,
}

impl<Io> Metered<Io> {
    pub(super) fn new(io: Io, meter: Arc<Meter>) -> Self {
        Self { io, meter }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Metered<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        self.meter.count(buf.filled().len() - before, 0);
        result
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Metered<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.meter.count(0, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.meter.count(0, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
