//! The processes of a history: the coordinator, its clients, and now and then a client's second process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nibble_client::{
    agent::{Agent, AgentConfig, Training},
    link::{Credentials, Link},
    state::Store,
};
use nibble_codec::Scheme;
use nibble_seed::{ClientId, Seed};
use nibble_server::{
    aggregation::Aggregation,
    budget::Budgets,
    clock::Clock,
    coordinator::{self, Plan},
    listener::{Limits, Meters, Security},
    process::Process,
    service::DiskWork,
};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{
    model::{self, Size},
    network::{Simulated, Socket},
    script::History,
    world::TICK,
};

/// The run's name.
pub(crate) const RUN: &str = "history";

/// The run of a history.
pub(crate) fn plan(history: &History) -> Plan {
    let (layout, scheme) = (history.size.layout(), history.scheme.parse::<Scheme>().expect("a scheme that there is"));
    Plan {
        downlink: None,
        initial_seed: None,
        name: RUN.into(),
        config: format!("seed = {}\n", history.seed),
        seed: Seed(history.seed),
        rounds: history.rounds,
        round: history.round.clone(),
        decline_pause: std::time::Duration::ZERO,
        max_payload_bytes: scheme.coding.payload_bytes(&layout),
        layout,
        architecture: history.size.architecture(),
        policy: scheme.into(),
        cohort_uplink_bytes: None,
        personal: Vec::new(),
        // The replay takes the plain mean, of updates that count the less the older they are.
        aggregation: Aggregation {
            norm_bound: None,
            staleness: history.round.buffer().map_or(0.0, |_| 0.5),
            ..Aggregation::default()
        },
        strategy: Default::default(),
        training: coordinator::Training { batch: 1, ..coordinator::Training::default() },
    }
}

/// The time that the simulation says it is.
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }
}

/// The coordinator's process, until it is told to stop.
pub(crate) async fn coordinate(plan: Arc<Plan>, size: Size, state: PathBuf, stop: Arc<Notify>) -> turmoil::Result {
    let seed = plan.seed;
    let process = Process {
        plan,
        state,
        models: None,
        threads: 1,
        // The end of a stop wakes all connections, in any order: it comes in the tick of the stop, while the links are held.
        limits: Limits { drain: TICK / 5, ..Limits::default() },
        budgets: Budgets::default(),
        security: Security::Insecure,
        enrolment: None,
        evaluator: None,
        clock: Arc::new(SimulatedClock),
        disk: DiskWork::InPlace,
        meters: Meters::default(),
        over: watch::channel(false).0,
    };
    let mut told = false;
    let stop = async {
        stop.notified().await;
        told = true;
    };
    process.serve(Socket::bind().await?, || size.initial(seed), stop).await?;
    if told { Ok(()) } else { Err("the coordinator stopped, and nobody told it to".into()) }
}

/// Makes a client's process; to be called within its runtime.
pub(crate) fn agent(history: &History, client: u64, state: PathBuf) -> impl FnOnce() -> turmoil::Result<Agent> + use<> {
    let mut config = AgentConfig::new(Seed(history.seed ^ client));
    config.training = Training::Inline;
    config.hold = history.hold;
    move || {
        let address = "http://127.0.0.1:7443".parse()?;
        let link = Link::with_dial(address, Credentials::Insecure(ClientId(client)), Arc::new(Simulated))?;
        Ok(Agent::new(config, link, Store::open(&state)?, model::Formula::source, model::samples(client)))
    }
}

/// Copies a client's state, and later runs a second process on the copy until the update that is pending there is settled.
pub(crate) async fn double(
    agent: impl FnOnce() -> turmoil::Result<Agent>,
    original: &Path,
    copy: &Path,
    delay: Duration,
) -> turmoil::Result {
    if !is_pending(original)? {
        return Ok(());
    }
    fs::create_dir_all(copy)?;
    for file in ["client.0", "client.1"] {
        drop(fs::remove_file(copy.join(file)));
        if original.join(file).exists() {
            fs::copy(original.join(file), copy.join(file))?;
        }
    }
    sleep(delay).await;
    // Nothing it asks for after the receipt is answered within a tick, so it never trains.
    let settled = async {
        while is_pending(copy).unwrap_or(false) {
            sleep(TICK / 2).await;
        }
    };
    agent()?.run(settled).await?;
    Ok(())
}

fn is_pending(state: &Path) -> turmoil::Result<bool> {
    Ok(state.is_dir() && Store::peek(state)?.is_some_and(|(summary, _)| summary.pending.is_some()))
}
