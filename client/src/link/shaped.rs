//! A slower link than there is, for trials: bytes take their turn at the link's rate, and then the time of the way.
//!
//! Absent on purpose: packets and their loss; what loss leaves of TCP's rate is for whoever gives the rate.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use nibble_seed::{Seed, Stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{Address, BoxedStream, Dial};

/// Bytes that take their turn at a time.
const PACKET: usize = 1460;
/// Bytes that wait for their turn.
const BUFFER: usize = 16 * 1024;
/// A turn that comes sooner than this is not waited for, as timers are no finer; turns that were missed by no more are
/// made up for.
const SLACK: Duration = Duration::from_millis(2);

/// How slow a link is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Bits a second towards this client.
    pub down: f64,
    /// Bits a second from it.
    pub up: f64,
    /// One way.
    pub latency: Duration,
    /// Most that is added to the latency whenever bytes come after a pause, uniformly.
    pub jitter: Duration,
}

/// Opens streams that are as slow as a link of that shape.
pub struct Shaped {
    inner: Arc<dyn Dial>,
    shape: Shape,
    jitter: Seed,
}

impl Shaped {
    /// What `inner` opens, slowed down. The stream of `jitter` says what is added to each latency.
    #[must_use]
    pub fn new(inner: Arc<dyn Dial>, shape: Shape, jitter: Seed) -> Self {
        Self { inner, shape, jitter }
    }
}

impl Dial for Shaped {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let (from_network, to_network) = split(self.inner.dial(address).await?);
            let Shape { down, up, latency, jitter } = self.shape;
            sleep(2 * latency).await; // TCP's handshake
            let (near, far) = duplex(BUFFER);
            let (from_client, to_client) = split(far);
            let way = |rate, turn| Way { rate, latency, jitter, draws: Seed(self.jitter.0 ^ turn).stream() };
            let (up, down) = (way(up, 1), way(down, 2));
            tokio::spawn(async move {
                // Whichever way ends first has delivered what was on it; the other end of the stream then sees its end.
                tokio::select! {
                    result = up.carry(from_client, to_network) => result,
                    result = down.carry(from_network, to_client) => result,
                }
            });
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// One direction of a link.
struct Way {
    rate: f64,
    latency: Duration,
    jitter: Duration,
    draws: Stream,
}

impl Way {
    /// Carries bytes until there are no more.
    async fn carry(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        // No more is on its way than the link's rate makes of its latency.
        let (sender, mut on_its_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let take = async move {
            let mut free = Instant::now();
            let mut latency = self.latency;
            loop {
                let mut bytes = vec![0; PACKET];
                let count = from.read(&mut bytes).await?;
                if count == 0 {
                    return io::Result::Ok(());
                }
                bytes.truncate(count);
                let now = Instant::now();
                if free + SLACK < now {
                    free = now;
                    latency = self.latency + self.jitter.mul_f64(self.draws.next_unit());
                }
                free += Duration::from_secs_f64(8.0 * count as f64 / self.rate);
                if free > now + SLACK {
                    sleep_until(free).await;
                }
                if sender.send((free + latency, bytes)).is_err() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        };
        let give = async {
            while let Some((at, bytes)) = on_its_way.recv().await {
                sleep_until(at).await;
                to.write_all(&bytes).await?;
                to.flush().await?;
            }
            to.shutdown().await
        };
        tokio::try_join!(take, give).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Stream as Both;

    /// A network whose far end is here.
    struct Wire(std::sync::Mutex<Option<tokio::io::DuplexStream>>);

    impl Dial for Wire {
        fn dial<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
            let stream = self.0.lock().unwrap().take().unwrap();
            Box::pin(async { Ok(Box::new(stream) as BoxedStream) })
        }
    }

    async fn connected(shape: Shape) -> (BoxedStream, tokio::io::DuplexStream) {
        let (near, far) = duplex(1 << 20);
        let dial = Shaped::new(Arc::new(Wire(Some(near).into())), shape, Seed(5));
        (dial.dial(&"http://127.0.0.1:1".parse().unwrap()).await.unwrap(), far)
    }

    fn lte_m() -> Shape {
        Shape { down: 300e3, up: 375e3, latency: Duration::from_millis(100), jitter: Duration::ZERO }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_at_the_rate_and_on_the_way() {
        let start = Instant::now();
        let (mut near, mut far) = connected(lte_m()).await;
        assert_eq!(start.elapsed(), Duration::from_millis(200), "a round trip to connect");
        let mut bytes = vec![7; 75_000];
        for (up, seconds) in [(true, 8.0 * 75e3 / 375e3), (false, 8.0 * 75e3 / 300e3)] {
            let start = Instant::now();
            let (sender, receiver): (&mut dyn Both, &mut dyn Both) =
                if up { (&mut near, &mut far) } else { (&mut far, &mut near) };
            let sent = bytes.clone();
            let (sent, received) = tokio::join!(sender.write_all(&sent), receiver.read_exact(&mut bytes));
            sent.unwrap();
            received.unwrap();
            let took = start.elapsed().as_secs_f64();
            assert!((took - seconds - 0.1).abs() < 0.005, "{took} s, not {}", seconds + 0.1);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_link_is_not_held_up_by_timers() {
        let fast = Shape { down: 1e9, up: 1e9, latency: Duration::from_micros(200), jitter: Duration::ZERO };
        let (mut near, mut far) = connected(fast).await;
        let start = Instant::now();
        let (sent, mut received) = (vec![1; 10_000_000], vec![0; 10_000_000]);
        let (written, read) = tokio::join!(near.write_all(&sent), far.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        let took = start.elapsed().as_secs_f64();
        assert!((took - 0.08).abs() < 0.008, "{took} s, not 0.08");
    }

    #[tokio::test(start_paused = true)]
    async fn every_message_draws_its_jitter_and_an_end_is_seen() {
        let shape = Shape { jitter: Duration::from_millis(50), ..lte_m() };
        let (mut near, mut far) = connected(shape).await;
        let mut times = Vec::new();
        for _ in 0..50 {
            let start = Instant::now();
            near.write_all(&[1]).await.unwrap();
            far.read_u8().await.unwrap();
            times.push(start.elapsed());
            sleep(Duration::from_secs(1)).await;
        }
        let within = Duration::from_millis(100)..Duration::from_millis(153);
        assert!(times.iter().all(|time| within.contains(time)), "{times:?}");
        // 50 draws: one of them is in the upper, and one in the lower tenth of the range but once in 190.
        assert!(times.iter().max() > Some(&Duration::from_millis(145)), "{times:?}");
        assert!(times.iter().min() < Some(&Duration::from_millis(106)), "{times:?}");
        near.write_all(b"last").await.unwrap();
        drop(near);
        let mut last = Vec::new();
        far.read_to_end(&mut last).await.unwrap();
        assert_eq!(last, b"last");
    }
}
