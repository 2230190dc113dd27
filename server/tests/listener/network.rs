//! A network in memory. What crosses it is counted on the way, by other means than the listener's.

use std::{collections::VecDeque, io, net::SocketAddr};

use nibble_server::listener::Accept;
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, copy, duplex, split},
    sync::mpsc,
    task::JoinHandle,
};

const BUFFER: usize = 64 * 1024;

pub struct Network {
    arrivals: mpsc::Receiver<(DuplexStream, SocketAddr)>,
    /// Failures that come before any connection.
    pub failures: VecDeque<io::Error>,
}

#[derive(Clone)]
pub struct Dialer(mpsc::Sender<(DuplexStream, SocketAddr)>);

/// A connection's end, and what its wires carried once each direction has ended.
pub struct Line {
    pub io: DuplexStream,
    pub wires: Wires,
}

pub struct Wires {
    /// Ends when the client closes, with the bytes that it sent.
    pub up: JoinHandle<u64>,
    /// Ends when the server closes, with the bytes that it sent.
    pub down: JoinHandle<u64>,
}

pub fn network() -> (Network, Dialer) {
    let (sender, arrivals) = mpsc::channel(16);
    (Network { arrivals, failures: VecDeque::new() }, Dialer(sender))
}

impl Accept for Network {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        match self.arrivals.recv().await {
            Some(arrival) => Ok(arrival),
            None => std::future::pending().await,
        }
    }
}

impl Dialer {
    /// Connects; `None` once the listener takes no more.
    pub async fn dial(&self, from: &str) -> Option<Line> {
        let (io, near) = duplex(BUFFER);
        let (far, theirs) = duplex(BUFFER);
        self.0.send((theirs, from.parse().unwrap())).await.ok()?;
        let (mut near_reads, mut near_writes) = split(near);
        let (mut far_reads, mut far_writes) = split(far);
        let up = tokio::spawn(async move {
            let bytes = copy(&mut near_reads, &mut far_writes).await.unwrap_or(0);
            let _ = far_writes.shutdown().await;
            bytes
        });
        let down = tokio::spawn(async move {
            let bytes = copy(&mut far_reads, &mut near_writes).await.unwrap_or(0);
            let _ = near_writes.shutdown().await;
            bytes
        });
        Some(Line { io, wires: Wires { up, down } })
    }
}
