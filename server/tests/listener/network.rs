//! A network in memory. What crosses it is counted on the way, by other means than the listener's.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};

use nibble_server::listener::Accept;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

const BUFFER: usize = 64 * 1024;

pub(crate) struct Network {
    arrivals: mpsc::Receiver<(DuplexStream, SocketAddr)>,
    /// Failures that come before any connection.
    pub(crate) failures: VecDeque<io::Error>,
}

#[derive(Clone)]
pub(crate) struct Dialer(mpsc::Sender<(DuplexStream, SocketAddr)>);

/// A connection's end, and what its wires carried once each direction has ended.
pub(crate) struct Line {
    pub(crate) io: DuplexStream,
    pub(crate) wires: Wires,
}

pub(crate) struct Wires {
    /// Ends when the client closes, with the bytes that it sent.
    pub(crate) up: JoinHandle<u64>,
    /// Ends when the server closes, with the bytes that it sent.
    pub(crate) down: JoinHandle<u64>,
    /// Both directions stop, and neither closes: a peer that froze, a cable that was pulled.
    pub(crate) cut: [Arc<Notify>; 2],
}

pub(crate) fn network() -> (Network, Dialer) {
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
    pub(crate) async fn dial(&self, from: &str) -> Option<Line> {
        let (io, near) = duplex(BUFFER);
        let (far, theirs) = duplex(BUFFER);
        self.0.send((theirs, from.parse().unwrap())).await.ok()?;
        let ((near_reads, near_writes), (far_reads, far_writes)) = (split(near), split(far));
        let cut = [Arc::<Notify>::default(), Arc::default()];
        let up = tokio::spawn(carry(near_reads, far_writes, Arc::clone(&cut[0])));
        let down = tokio::spawn(carry(far_reads, near_writes, Arc::clone(&cut[1])));
        Some(Line { io, wires: Wires { up, down, cut } })
    }
}

impl Wires {
    pub(crate) fn cut(&self) {
        self.cut.iter().for_each(|cut| cut.notify_one());
    }
}

/// Carries bytes until there are no more, also those that nobody takes at the other end.
async fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, cut: Arc<Notify>) -> u64 {
    let mut bytes = 0;
    let mut buffer = vec![0; 4096];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = cut.notified() => std::future::pending().await,
        };
        if read == 0 {
            let _ = to.shutdown().await;
            return bytes;
        }
        bytes += read as u64;
        let _ = to.write_all(&buffer[..read]).await;
    }
}
