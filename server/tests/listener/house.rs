//! A coordinator's listener with a small service behind it, and the devices that know it.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use nibble_seed::ClientId;
use nibble_server::{
    identity::{Authority, Clock, Issued, server_config},
    listener::{Accept, Limits, Listener, Meters, Security, serve},
    peer::{Directory, Fingerprint, Identity, Peer, Unavailable},
};
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};
use tonic::body::Body;
use tower::service_fn;

use crate::{
    client::Pieces,
    network::{Dialer, Line, network},
};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Knows what was issued, until it is told to forget it.
#[derive(Default)]
pub(crate) struct Book {
    known: Mutex<HashMap<Fingerprint, Identity>>,
    /// Whether nothing can be looked up.
    pub(crate) is_lost: AtomicBool,
}

impl Directory for Book {
    fn identify(&self, fingerprint: &Fingerprint, now_unix: u64) -> Result<Option<Identity>, Unavailable> {
        if self.is_lost.load(SeqCst) {
            return Err(Unavailable);
        }
        let known = self.known.lock().unwrap().get(fingerprint).cloned();
        let good = |identity: &Identity| identity.certificate.as_ref().is_some_and(|it| now_unix < it.not_after_unix);
        Ok(known.filter(good))
    }
}

impl Book {
    pub(crate) fn revoke(&self, device: &Device) {
        self.known.lock().unwrap().remove(&device.issued.facts.fingerprint).unwrap();
    }
}

/// A device's key and certificate.
pub(crate) struct Device {
    pub(crate) key: KeyPair,
    pub(crate) issued: Issued,
}

/// What the service behind the listener shows of itself.
pub(crate) struct Back {
    /// A request of `/hold` has begun.
    pub(crate) held: Notify,
    /// Lets one request of `/hold` end.
    pub(crate) release: Semaphore,
    /// Handlers of `/hold` that were dropped or ended.
    pub(crate) ended: AtomicU64,
}

impl Back {
    fn new() -> Self {
        Self { held: Notify::new(), release: Semaphore::new(0), ended: AtomicU64::new(0) }
    }
}

pub(crate) struct House {
    pub(crate) authority: Authority,
    pub(crate) book: Arc<Book>,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) meters: Meters,
    pub(crate) back: Arc<Back>,
    pub(crate) dialer: Dialer,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
    dir: tempfile::TempDir,
}

pub(crate) fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), &["fl.example.org".into()], NOW).unwrap();
    (dir, authority)
}

pub(crate) fn house(limits: Limits) -> House {
    let (network, dialer) = network();
    open(network, dialer, limits, false)
}

pub(crate) fn insecure_house(limits: Limits) -> House {
    let (network, dialer) = network();
    open(network, dialer, limits, true)
}

pub(crate) fn open(accept: impl Accept + 'static, dialer: Dialer, limits: Limits, insecure: bool) -> House {
    let (dir, authority) = authority();
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || now.load(SeqCst)
    });
    let (book, meters, back) = (Arc::<Book>::default(), Meters::default(), Arc::new(Back::new()));
    let security = match insecure {
        true => Security::Insecure,
        false => Security::Tls(server_config(&authority, clock.clone()).unwrap()),
    };
    let listener = Listener { security, directory: Arc::<Book>::clone(&book), limits, clock, meters: meters.clone() };
    let service = service_fn({
        let back = Arc::clone(&back);
        move |request| answer(request, Arc::clone(&back))
    });
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(accept, service, listener, async {
        let _ = stopped.await;
    }));
    House { authority, book, clock: now, meters, back, dialer, stop: Some(stop), task, dir }
}

impl House {
    pub(crate) fn device(&self, client: u64, validity: Duration) -> Device {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let name = format!("device-{client}");
        let issued = self.authority.issue_client(csr.der(), ClientId(client), &name, NOW, validity).unwrap();
        let certificate = Some(issued.facts.clone());
        let identity = Identity { client: ClientId(client), name: name.into(), certificate };
        self.book.known.lock().unwrap().insert(issued.facts.fingerprint, identity);
        Device { key, issued }
    }

    pub(crate) async fn dial(&self) -> Line {
        self.dialer.dial("192.0.2.1:1000").await.unwrap()
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) fn shut_down(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Lets virtual time pass until `true`.
    pub(crate) async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

struct CountsItsEnd(Arc<Back>);

impl Drop for CountsItsEnd {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

/// `/who` answers at once, `/hold` when released, `/read` after the body's end, `/nap` the same after doing nothing for
/// a minute, `/big` with 4 MiB, `/stream` with as much in 64 pieces. All say who asked.
async fn answer(request: Request<Body>, back: Arc<Back>) -> Result<Response<Body>, Infallible> {
    let peer = request.extensions().get::<Peer>().unwrap().clone();
    let who = match peer.identity {
        Ok(Some(identity)) => format!("{}:{}", identity.client, identity.name),
        Ok(None) => "nobody".into(),
        Err(Unavailable) => "cannot be said".into(),
    };
    let mut response = Response::builder().header("who", who).header("address", peer.address.to_string());
    let mut body = Body::empty();
    match request.uri().path() {
        "/hold" => {
            let _end = CountsItsEnd(Arc::clone(&back));
            back.held.notify_one();
            back.release.acquire().await.unwrap().forget();
        }
        path @ ("/read" | "/nap") => {
            if path == "/nap" {
                sleep(Duration::from_secs(60)).await;
            }
            match read(request.into_body()).await {
                Ok(bytes) => response = response.header("bytes", bytes),
                Err(status) => response = response.header("error", status.message().to_owned()),
            }
        }
        "/big" => body = Body::new("x".repeat(4 << 20)),
        "/stream" => {
            let (pieces, stream) = mpsc::channel(64);
            (0..64).for_each(|_| pieces.try_send(vec![0; 64 << 10].into()).unwrap());
            body = Body::new(Pieces(stream));
        }
        _ => {}
    }
    Ok(response.body(body).unwrap())
}

/// Reads a body to its end.
pub(crate) async fn read<B>(mut body: B) -> Result<usize, B::Error>
where
    B: hyper::body::Body<Data = bytes::Bytes> + Unpin,
{
    let mut bytes = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(bytes)
}
