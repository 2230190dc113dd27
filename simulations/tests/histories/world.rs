//! One simulated network with the real processes in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use nibble_client::agent::Ended;
use tempfile::TempDir;
use tokio::sync::Notify;
use tracing::Instrument;
use turmoil::Sim;

use crate::{
    network::COORDINATOR,
    processes::{agent, coordinate, double, plan},
    receipts::{self, Ear, Receipt},
    script::{Fault, HEALED, History},
};

/// Messages are delivered, and faults happen, at multiples of this.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// By then a run has ended, or never will: the longest wait of either process is 60 s.
const LONGEST: Duration = Duration::from_secs(1_200);
/// What is told to a second process of a client is kept under the client's number and this.
pub(crate) const DOUBLES: u64 = 1_000;
/// The host on which a second process of a client runs.
const DOUBLE: &str = "double";

/// What is left of a history.
pub(crate) struct Played {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) ended: Duration,
    /// How many faults of each kind came before the end.
    pub(crate) faults: BTreeMap<String, usize>,
    /// Calls and connections that failed, and were tried again.
    pub(crate) setbacks: usize,
    pub(crate) resumed: usize,
    directory: TempDir,
}

impl Played {
    /// Where the coordinator kept its state.
    pub(crate) fn coordinator(&self) -> PathBuf {
        self.directory.path().join(COORDINATOR)
    }

    /// Where a client kept its state.
    pub(crate) fn client(&self, client: u64) -> PathBuf {
        self.directory.path().join(name(client))
    }
}

/// Plays a history until every client was told that the run is over.
pub(crate) fn play(history: &History, aloud: bool) -> Played {
    let directory = directory().expect("a temporary directory can be made");
    let ear = Ear::new(aloud);
    let (ended, faults) =
        tracing::subscriber::with_default(ear.clone(), || World::new(history, directory.path()).until_over());
    Played { receipts: ear.receipts(), ended, faults, setbacks: ear.setbacks(), resumed: ear.resumed(), directory }
}

/// In memory where there is such a place: nothing here depends on what a power cut leaves of a disk.
fn directory() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

fn name(client: u64) -> String {
    format!("client-{client}")
}

/// What passes between a host and the coordinator.
#[derive(Clone, Copy, Debug)]
enum Link {
    Whole,
    Held,
    Parted,
    PartedUp,
    PartedDown,
}

/// Whether the peers of a process that ends hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    Sent,
    Lost,
}

struct World<'a> {
    sim: Sim<'a>,
    history: &'a History,
    links: BTreeMap<String, Link>,
    /// Tells the coordinator to stop.
    stop: Arc<Notify>,
    /// Clients that were told that the run is over.
    finished: Arc<Mutex<BTreeSet<u64>>>,
    /// Whose state the next second process starts on, and how long after it was copied.
    doubled: Arc<Mutex<Option<(u64, Duration)>>>,
}

impl<'a> World<'a> {
    fn new(history: &'a History, directory: &'a Path) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(history.seed)
            .tick_duration(TICK)
            .simulation_duration(LONGEST * 2)
            .min_message_latency(history.fastest)
            .max_message_latency(history.slowest[0])
            .fail_rate(history.fail_rate)
            .repair_rate(history.repair_rate)
            .tcp_capacity(1_024)
            .build();
        let links = (0..history.clients).map(name).chain([DOUBLE.into()]).map(|host| (host, Link::Whole)).collect();
        let (stop, finished, doubled) = (Arc::default(), Arc::default(), Arc::default());
        let mut world = Self { sim, history, links, stop, finished, doubled };
        let (plan, size) = (Arc::new(plan(history)), history.size);
        let stop = Arc::clone(&world.stop);
        world.sim.host(COORDINATOR, move || {
            coordinate(Arc::clone(&plan), size, directory.join(COORDINATOR), Arc::clone(&stop))
        });
        for client in 0..history.clients {
            let finished = Arc::clone(&world.finished);
            world.sim.host(name(client), move || {
                let (agent, finished) = (agent(history, client, directory.join(name(client))), Arc::clone(&finished));
                let span = tracing::info_span!(target: receipts::CLIENT, "client", client);
                let life = async move {
                    if matches!(agent()?.run(std::future::pending()).await?, Ended::Finished { .. }) {
                        finished.lock().expect("nothing panics while it holds this").insert(client);
                    }
                    Ok(())
                };
                life.instrument(span)
            });
        }
        let doubled = Arc::clone(&world.doubled);
        world.sim.host(DOUBLE, move || {
            let copy = directory.join(DOUBLE);
            let asked = doubled.lock().expect("nothing panics while it holds this").take();
            let asked = asked.map(|(client, delay)| {
                let span = tracing::info_span!(target: receipts::CLIENT, "double", client = DOUBLES + client);
                (agent(history, client, copy.clone()), directory.join(name(client)), delay, span)
            });
            async move {
                let Some((agent, original, delay, span)) = asked else { return Ok(()) };
                double(agent, &original, &copy, delay).instrument(span).await
            }
        });
        for (client, &slowest) in (0..).zip(&history.slowest) {
            world.sim.set_link_max_message_latency(COORDINATOR, name(client), slowest);
        }
        world
    }

    /// When it ended, and how many faults of each kind it had by then.
    fn until_over(mut self) -> (Duration, BTreeMap<String, usize>) {
        let mut faults = self.history.faults.iter().peekable();
        let (mut inflicted, mut healed) = (BTreeMap::new(), false);
        loop {
            let now = self.sim.elapsed();
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= now && !healed) {
                self.inflict(*fault);
                *inflicted.entry(fault.kind()).or_default() += 1;
            }
            if now >= HEALED && !healed {
                healed = true;
                self.heal();
            }
            // It may have been told to stop just before that, and stop only now.
            if healed && !self.sim.is_host_running(COORDINATOR) {
                self.inflict(Fault::StartCoordinator);
            }
            if self.all_finished() {
                return (now, inflicted);
            }
            assert!(now < LONGEST, "the run has not ended by {now:?}: {:?}", self.history);
            self.sim.step().expect("no process fails");
        }
    }

    fn all_finished(&self) -> bool {
        self.finished.lock().expect("nothing panics while it holds this").len() as u64 == self.history.clients
    }

    fn inflict(&mut self, fault: Fault) {
        tracing::info!(target: "nibble_histories", ?fault);
        let everyone: Vec<_> = self.links.keys().cloned().collect();
        match fault {
            Fault::Part(client) => self.set(client, Link::Parted),
            Fault::PartUp(client) => self.set(client, Link::PartedUp),
            Fault::PartDown(client) => self.set(client, Link::PartedDown),
            Fault::Hold(client) => self.set(client, Link::Held),
            Fault::Mend(client) | Fault::Release(client) => self.set(client, Link::Whole),
            Fault::Crash(client) => self.end(&[name(client)], Farewell::Sent, |sim| sim.crash(name(client))),
            Fault::Vanish(client) => self.end(&[name(client)], Farewell::Lost, |sim| sim.crash(name(client))),
            Fault::Start(client) => self.end(&[name(client)], Farewell::Sent, |sim| sim.bounce(name(client))),
            Fault::CrashCoordinator => self.end(&everyone, Farewell::Sent, |sim| sim.crash(COORDINATOR)),
            Fault::VanishCoordinator => self.end(&everyone, Farewell::Lost, |sim| sim.crash(COORDINATOR)),
            Fault::StopCoordinator => {
                let stop = Arc::clone(&self.stop);
                self.end(&everyone, Farewell::Sent, |sim| {
                    stop.notify_waiters();
                    sim.step().expect("no process fails");
                });
            }
            Fault::StartCoordinator => self.end(&everyone, Farewell::Sent, |sim| sim.bounce(COORDINATOR)),
            Fault::Double(client, delay) => {
                *self.doubled.lock().expect("nothing panics while it holds this") =
                    Some((client, Duration::from_secs(delay)));
                self.end(&[DOUBLE.into()], Farewell::Sent, |sim| sim.bounce(DOUBLE));
            }
        }
    }

    fn set(&mut self, client: u64, link: Link) {
        self.links.insert(name(client), link);
        self.apply(&name(client));
    }

    fn apply(&mut self, host: &str) {
        let sim = &mut self.sim;
        match self.links[host] {
            Link::Whole => sim.release(COORDINATOR, host),
            Link::Held => sim.hold(COORDINATOR, host),
            Link::Parted => sim.partition(COORDINATOR, host),
            Link::PartedUp => {
                sim.repair(COORDINATOR, host);
                sim.partition_oneway(host, COORDINATOR);
            }
            Link::PartedDown => {
                sim.repair(COORDINATOR, host);
                sim.partition_oneway(COORDINATOR, host);
            }
        }
    }

    /// Ends a process that has connections to `hosts`, and tells their other ends or not. The order in which a runtime
    /// drops its tasks, or wakes them all, is another one every time; so what they send meanwhile is held, or lost, and
    /// draws no latency.
    fn end(&mut self, hosts: &[String], farewell: Farewell, act: impl FnOnce(&mut Sim<'_>)) {
        for host in hosts {
            let carries = matches!(self.links[host], Link::Whole | Link::Held);
            if carries && farewell == Farewell::Sent {
                self.sim.hold(COORDINATOR, host.as_str());
            } else {
                self.sim.partition(COORDINATOR, host.as_str());
            }
        }
        act(&mut self.sim);
        for host in hosts {
            self.apply(host);
        }
    }

    /// Every link carries, and every client runs, from now on.
    fn heal(&mut self) {
        self.sim.set_fail_rate(0.0);
        for host in self.links.keys().cloned().collect::<Vec<_>>() {
            self.links.insert(host.clone(), Link::Whole);
            self.apply(&host);
        }
        for client in 0..self.history.clients {
            let finished = self.finished.lock().expect("nothing panics while it holds this").contains(&client);
            if !finished && !self.sim.is_host_running(name(client)) {
                self.inflict(Fault::Start(client));
            }
        }
    }
}
