//! A coordinator in this process, with its authority, its devices, and a view of what it keeps.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use nibble_codec::{Layout, Scheme};
use nibble_seed::{ClientId, RoundId, Seed};
use nibble_server::{
    budget::Budgets,
    clock::{Clock as _, SystemClock},
    coordinator::{Plan, Training},
    identity::{Authority, Clock, Issued, Token, server_config},
    listener::{Limits, Meters, Security},
    process::{Process, ProcessError},
    round::RoundConfig,
    service::{DiskWork, Enrolment},
    store::{NewToken, Report, RoundRow, Store},
};
use rcgen::{CertificateParams, KeyPair};
use rusqlite::{Connection, OpenFlags, types::Value};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{logs, memory};

pub(crate) const RUN: &str = "hostile";
/// Two chunks.
pub(crate) const COORDINATES: usize = 70_000;
/// Bytes that a payload may have beyond what a good one has, so that surplus bytes get as far as the payload's checks.
pub(crate) const SLACK: u64 = 1_000;
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What a house is opened with.
pub(crate) struct Options {
    /// Clients of a cohort; one good update is its quorum.
    pub(crate) cohort: usize,
    pub(crate) scheme: &'static str,
    pub(crate) rounds: u64,
    pub(crate) limits: Limits,
}

impl Options {
    pub(crate) fn of(cohort: usize) -> Self {
        Self { cohort, scheme: "int4", rounds: 3, limits: Limits::default() }
    }
}

/// A device: its number, its key, its certificate.
pub(crate) struct Device {
    pub(crate) client: u64,
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
}

/// A running coordinator.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) plan: Arc<Plan>,
    pub(crate) directory: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ProcessError>>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Everything that a coordinator keeps, but for times at which devices were seen and counts of bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) tables: BTreeMap<String, Vec<Vec<Value>>>,
    /// Files below the state directory, with their bytes; SQLite's own are left out.
    pub(crate) files: BTreeMap<PathBuf, u64>,
}

/// A directory in memory, where there is one: what is durable is not tested here, and waiting for a disk takes long.
pub(crate) fn memory() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

pub(crate) fn now() -> Duration {
    SystemClock.now()
}

pub(crate) fn layout() -> Layout {
    Layout::new([("w", vec![COORDINATES])]).unwrap()
}

fn plan(options: &Options) -> Plan {
    let (layout, scheme) = (layout(), options.scheme.parse::<Scheme>().unwrap());
    Plan {
        downlink: None,
        initial_seed: None,
        name: RUN.into(),
        config: "of a test".into(),
        seed: Seed(7),
        rounds: options.rounds,
        round: RoundConfig::new(options.cohort).unwrap().quorum(1).unwrap(),
        decline_pause: Duration::ZERO,
        max_payload_bytes: scheme.coding.payload_bytes(&layout) + SLACK,
        layout,
        architecture: "none".into(),
        policy: scheme.into(),
        cohort_uplink_bytes: None,
        personal: Vec::new(),
        aggregation: Default::default(),
        strategy: Default::default(),
        training: Training { batch: 1, ..Training::default() },
    }
}

impl House {
    pub(crate) async fn open(options: Options) -> Self {
        let alone = memory::alone().await;
        logs::watch();
        let directory = memory().unwrap_or_else(|| tempfile::tempdir().unwrap());
        let (state, keys) = (directory.path().join("state"), directory.path().join("authority"));
        fs::create_dir(&state).unwrap();
        let own = Authority::create(&keys, &[], now().as_secs()).unwrap();
        let authority = Authority::load(&keys).unwrap();
        let security = Security::Tls(server_config(&own, Clock::new(|| now().as_secs())).unwrap());
        let store = Mutex::new(Store::open(&state).unwrap());
        let plan = Arc::new(plan(&options));
        let process = Process {
            plan: Arc::clone(&plan),
            state,
            models: None,
            threads: 1,
            limits: options.limits,
            budgets: Budgets::default(),
            security,
            enrolment: Some(Arc::new(Enrolment { authority: own, store, validity: YEAR })),
            evaluator: None,
            clock: Arc::new(SystemClock),
            disk: DiskWork::OnThreads,
            meters: Meters::default(),
            over: watch::channel(false).0,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(process.serve(listener, || vec![0.0; COORDINATES], async {
            let _ = stopped.await;
        }));
        Self { address, authority, plan, directory, stop, serving, _alone: alone }
    }

    /// Stops the coordinator, which must still be well.
    pub(crate) async fn close(self) {
        assert!(!self.serving.is_finished(), "the coordinator has ended by itself: {:?}", self.serving.await);
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
        logs::assert_no_trouble();
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.state()).unwrap()
    }

    /// A certificate that the store does not know of.
    pub(crate) fn issue(&self, client: u64, now_unix: u64, validity: Duration) -> (Device, Issued) {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let issued =
            self.authority.issue_client(csr.der(), ClientId(client), &name(client), now_unix, validity).unwrap();
        (Device { client, key, der: issued.der.clone() }, issued)
    }

    /// Devices that the store knows.
    pub(crate) fn devices(&self, clients: impl IntoIterator<Item = u64>) -> Vec<Device> {
        let made: Vec<_> = clients.into_iter().map(|client| self.issue(client, now().as_secs(), YEAR)).collect();
        self.store()
            .transaction(|store| {
                for (device, issued) in &made {
                    enter(store, device.client, issued)?;
                }
                Ok(())
            })
            .unwrap();
        made.into_iter().map(|(device, _)| device).collect()
    }

    pub(crate) fn device(&self, client: u64) -> Device {
        self.devices([client]).swap_remove(0)
    }

    /// A token for a device, which ends at `expires_unix`.
    pub(crate) fn token(&self, client: u64, expires_unix: u64) -> Token {
        let token = Token::generate(self.authority.fingerprint()).unwrap();
        let new = NewToken { digest: token.digest(), client: ClientId(client), name: name(client), expires_unix };
        self.store().add_token(&new).unwrap();
        token
    }

    pub(crate) fn rounds(&self) -> Vec<RoundRow> {
        Store::look_at(&self.state()).unwrap().rounds(RUN).unwrap()
    }

    pub(crate) fn reports(&self, round: u64) -> Vec<Report> {
        Store::look_at(&self.state()).unwrap().reports(RUN, RoundId(round)).unwrap()
    }

    /// What is kept now.
    pub(crate) fn kept(&self) -> Kept {
        let mut files = BTreeMap::new();
        walk(&self.state(), &mut files);
        files.retain(|path, _| !path.to_string_lossy().contains("nibble.sqlite"));
        Kept { tables: tables(&self.state()), files }
    }

    /// Files in the spool.
    pub(crate) fn spooled(&self) -> BTreeMap<PathBuf, u64> {
        let mut files = BTreeMap::new();
        walk(&self.state().join("spool"), &mut files);
        files
    }

    /// Waits until it is as `done` wants it.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if done(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within ten seconds");
    }
}

/// Enters a device and its certificate as enrolment does.
pub(crate) fn enter(store: &Store, client: u64, issued: &Issued) -> Result<(), nibble_server::store::StoreError> {
    let (digest, name) = (issued.facts.fingerprint, name(client));
    let expires_unix = now().as_secs() + 60;
    store.add_token(&NewToken { digest, client: ClientId(client), name: name.clone(), expires_unix })?;
    assert!(store.enrol(&digest, (ClientId(client), &name), &issued.facts, now())?);
    Ok(())
}

pub(crate) fn name(client: u64) -> String {
    format!("device-{client}")
}

fn walk(directory: &Path, files: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(facts) = entry.metadata() else { continue };
        match facts.is_dir() {
            true => walk(&entry.path(), files),
            false => drop(files.insert(entry.path(), facts.len())),
        }
    }
}

/// All rows of all tables.
fn tables(state: &Path) -> BTreeMap<String, Vec<Vec<Value>>> {
    let store = Connection::open_with_flags(state.join("nibble.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    let tables = ["runs", "rounds", "cohort", "reports", "certificates", "tokens"].map(|table| (table, "*"));
    let rows = |(table, columns): (&str, &str)| {
        let mut query = store.prepare(&format!("SELECT {columns} FROM {table} ORDER BY 1, 2, 3")).unwrap();
        let width = query.column_count();
        let rows = query.query_map([], |row| (0..width).map(|column| row.get(column)).collect()).unwrap();
        (table.to_owned(), rows.collect::<Result<_, _>>().unwrap())
    };
    tables.into_iter().chain([("clients", "id, name, enrolled, revoked")]).map(rows).collect()
}
