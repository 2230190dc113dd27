//! How many connections there are: in all, from an address, of a device.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use nibble_seed::ClientId;
use tokio::sync::Notify;

use super::{Limits, lock};

/// Why a connection has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("all {limit} connections are taken")]
    Total { limit: usize },
    #[error("its address has all of its {limit} connections")]
    Address { limit: usize },
}

/// All places.
pub(super) struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Oldest first.
    by_client: HashMap<ClientId, VecDeque<(u64, Arc<Notify>)>>,
}

/// One connection's place, given back on drop.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    address: IpAddr,
    evicted: Arc<Notify>,
    client: Mutex<Option<ClientId>>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// A place for a connection from `address`.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr) -> Result<Place, Full> {
        let address = network(address.ip());
        let Limits { total, per_address, .. } = self.limits;
        let mut taken = lock(&self.taken);
        if taken.total >= total {
            return Err(Full::Total { limit: total });
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= per_address {
            return Err(Full::Address { limit: per_address });
        }
        *here += 1;
        taken.total += 1;
        taken.next += 1;
        Ok(Place {
            places: Arc::clone(self),
            id: taken.next,
            address,
            evicted: Arc::default(),
            client: Mutex::default(),
        })
    }
}

impl Place {
    /// The connection is this device's. Its oldest makes way if it has too many: a half-dead connection must not lock
    /// its own device out.
    pub(super) fn belongs_to(&self, client: ClientId) {
        let mut own = lock(&self.client);
        if *own == Some(client) {
            return;
        }
        let mut taken = lock(&self.places.taken);
        if let Some(former) = own.replace(client) {
            taken.leave(former, self.id);
        }
        let connections = taken.by_client.entry(client).or_default();
        connections.push_back((self.id, Arc::clone(&self.evicted)));
        if connections.len() > self.places.limits.per_identity
            && let Some((_, oldest)) = connections.pop_front()
        {
            oldest.notify_one();
        }
    }

    /// Ends when the connection must make way.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Taken {
    fn leave(&mut self, client: ClientId, id: u64) {
        if let Some(connections) = self.by_client.get_mut(&client) {
            connections.retain(|(other, _)| *other != id);
            if connections.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.total -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        if let Some(client) = lock(&self.client).take() {
            taken.leave(client, self.id);
        }
    }
}

/// What counts as one address: whoever has an IPv6 address has the whole /64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}
