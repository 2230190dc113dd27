//! What connections cost: memory of one that is idle, and speed of one that is busy, over loopback with client
//! certificates. `cargo test -p nibble-server --test listener_costs` prints both and fails if the first is above its goal.
//!
//! The clients are a process of their own, so that the server's memory is the server's. Absent: the kernel's buffers.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a failing helper is a failing test

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        convert::Infallible,
        env, fs,
        future::poll_fn,
        io::{BufRead as _, BufReader, Write as _},
        path::Path,
        pin::Pin,
        process::{Command, Stdio},
        sync::Arc,
        time::Duration,
    };

    use bytes::Bytes;
    use http::{Request, Response};
    use hyper::{
        body::Frame,
        client::conn::http2::{SendRequest, handshake},
    };
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use nibble_seed::ClientId;
    use nibble_server::{
        identity::{Authority, Clock, server_config},
        listener::{Limits, Listener, Meters, Security, serve},
        peer::{Directory, Fingerprint, Identity, Unavailable},
    };
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ClientConfig, RootCertStore, crypto::ring, version::TLS13};
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use tokio::{
        net::{TcpListener, TcpStream},
        time::Instant,
    };
    use tokio_rustls::TlsConnector;
    use tonic::body::Body;
    use tower::service_fn;

    const NOW: u64 = 1_800_000_000;
    const CONNECTIONS: usize = 1_000;
    const GOAL_BYTES: usize = 50_000;
    const TRANSFER_BYTES: usize = 256 << 20;
    const CLIENTS: &str = "NIBBLE_TEST_CLIENTS";

    struct Everyone;

    impl Directory for Everyone {
        fn identify(&self, _: &Fingerprint, _: u64) -> Result<Option<Identity>, Unavailable> {
            Ok(Some(Identity { client: ClientId(1), name: "device".into(), certificate: None }))
        }
    }

    pub(crate) fn main() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        match env::var(CLIENTS) {
            Ok(place) => {
                let (dir, port) = place.rsplit_once(':').unwrap();
                runtime.block_on(clients(Path::new(dir), port.parse().unwrap()));
            }
            Err(_) => runtime.block_on(server()),
        }
    }

    async fn server() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path(), &[], NOW).unwrap();
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let year = Duration::from_secs(365 * 86_400);
        let issued = authority.issue_client(csr.der(), ClientId(1), "device", NOW, year).unwrap();
        fs::write(dir.path().join("device.der"), issued.der).unwrap();
        fs::write(dir.path().join("device-key.der"), key.serialize_der()).unwrap();
        fs::write(dir.path().join("ca.der"), authority.ca_der()).unwrap();

        let clock = Clock::new(|| NOW);
        let meters = Meters::default();
        let listener = Listener {
            security: Security::Tls(server_config(&authority, clock.clone()).unwrap()),
            directory: Arc::new(Everyone),
            limits: Limits { per_identity: 100_000, per_address: 100_000, ..Limits::default() },
            clock,
            meters: meters.clone(),
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let _serving = tokio::spawn(serve(socket, service_fn(answer), listener, std::future::pending()));

        let mut child = Command::new(env::current_exe().unwrap())
            .env(CLIENTS, format!("{}:{port}", dir.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        assert_eq!(next(), "first");
        let before = resident_bytes();
        writeln!(child.stdin.as_mut().unwrap()).unwrap();
        assert_eq!(next(), "all");
        assert_eq!(meters.connections().identified as usize, CONNECTIONS + 1);
        let each = (resident_bytes() - before) / CONNECTIONS;
        println!("{each} bytes for each of {CONNECTIONS} idle connections (goal: below {GOAL_BYTES})");
        writeln!(child.stdin.as_mut().unwrap()).unwrap();
        println!("{}", next());
        println!("{}", next());
        assert!(child.wait().unwrap().success());
        assert!(each < GOAL_BYTES, "{each} bytes for an idle connection");
    }

    fn resident_bytes() -> usize {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// `/up` reads the body, `/down` sends one, anything else answers at once.
    async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let body = match request.uri().path() {
            "/down" => Body::new(Chunks(TRANSFER_BYTES)),
            "/up" => {
                assert_eq!(read(request.into_body()).await, TRANSFER_BYTES);
                Body::empty()
            }
            _ => Body::empty(),
        };
        Ok(Response::new(body))
    }

    async fn clients(dir: &Path, port: u16) {
        let read_file = |name: &str| fs::read(dir.join(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read_file("ca.der").into()).unwrap();
        let clock = Arc::new(Clock::new(|| NOW));
        let mut config = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), clock)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![read_file("device.der").into()],
                PrivateKeyDer::Pkcs8(read_file("device-key.der").into()),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let mut line = String::new();
        let mut wait = || std::io::stdin().read_line(&mut line).unwrap();

        // The first connection warms what all share.
        let mut first = connect(&connector, port).await;
        println!("first");
        wait();
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(connect(&connector, port).await);
        }
        println!("all");
        wait();
        for (path, body) in [("/up", Body::new(Chunks(TRANSFER_BYTES))), ("/down", Body::empty())] {
            let began = Instant::now();
            ask(&mut first, path, body).await;
            let rate = TRANSFER_BYTES as f64 / began.elapsed().as_secs_f64() / 1e6;
            println!("{path}: {rate:.0} MB/s beside them");
        }
    }

    async fn connect(connector: &TlsConnector, port: u16) -> SendRequest<Body> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let tls = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let (mut requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        ask(&mut requests, "/", Body::empty()).await;
        requests
    }

    async fn ask(requests: &mut SendRequest<Body>, path: &str, body: Body) {
        let request = Request::post(format!("http://localhost{path}")).body(body).unwrap();
        let response = requests.send_request(request).await.unwrap();
        read(response.into_body()).await;
    }

    async fn read<B: hyper::body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin>(mut body: B) -> usize {
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        bytes
    }

    /// So many bytes, in chunks of 64 KiB.
    struct Chunks(usize);

    impl hyper::body::Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            static CHUNK: [u8; 65_536] = [7; 65_536];
            let length = self.0.min(CHUNK.len());
            self.0 -= length;
            std::task::Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
        }
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
