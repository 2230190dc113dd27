//! Budgets on real sockets: the coordinator's own counters stay under every client's caps, whatever happens on the way, and
//! a run whose clients have nothing left comes to its end.

use nibble_client::{agent::Purse, budget::Account};

use crate::harness::{Deployment, Moments, Process, Program};

const CLIENTS: usize = 6;

/// What a client may spend: less than thirty rounds take, more for some than for others.
fn caps(index: usize) -> (u64, u64) {
    (16_000 + 2_000 * index as u64, 60_000 + 5_000 * index as u64)
}

/// As little as one update may take of it.
fn scarce(index: usize) -> (u64, u64) {
    (4_000 + 500 * index as u64, 30_000)
}

fn config(uplink: &str, rounds: u64) -> String {
    format!(
        "[run]\nname = \"budgets\"\nrounds = {rounds}\n[model]\nname = \"logreg\"\n[data]\ndataset = \"mnist-10k\"\n\
         [cohort]\nsize = 3\navailable = {CLIENTS}\n[compression]\nuplink = {uplink:?}\ndownlink = \"auto:0.5\"\n"
    )
}

fn start(deployment: &Deployment, index: usize, caps: (u64, u64)) -> Process {
    deployment.client_with(index, 50, &table("budget", caps))
}

/// A budget of this much in a run.
fn table(name: &str, (up, down): (u64, u64)) -> String {
    format!("[{name}]\nuplink_bytes = {up}\ndownlink_bytes = {down}\n")
}

/// What the client says that it spent.
fn spent(deployment: &Deployment, index: usize) -> Account {
    Purse::peek(deployment.state_of(index).as_ref()).unwrap().unwrap().1
}

/// Holds what the coordinator's sockets carried, and what clients say that they did, against the caps.
fn check(deployment: &Deployment, caps: fn(usize) -> (u64, u64)) {
    let wire = deployment.wire();
    for index in 0..CLIENTS {
        let ((most_up, most_down), account) = (caps(index), spent(deployment, index));
        let (up, down) = wire[&(index as u64)];
        assert!(up <= most_up && down <= most_down, "client {index}: {up} and {down} of {most_up} and {most_down}");
        assert!(account.up.run <= most_up && account.down.run <= most_down, "client {index}: {account:?}");
        let shown = Program::Client.ok(&["status", "--format", "json", "--state", &deployment.state_of(index)]);
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("a status as JSON");
        assert_eq!(shown["left_up"], most_up - account.up.run);
        assert_eq!(shown["left_down"], most_down - account.down.run);
        assert_eq!(shown["rounds_left"].is_number(), account.rounds > 0);
        // What a client sent and the coordinator never read is in the one count and not in the other.
        assert!(account.up.run >= up, "client {index}: {account:?}, but {up} were read");
    }
}

#[test]
fn a_run_ends_when_nobody_has_bytes_left_and_nobody_spent_more() {
    for (uplink, planned, caps) in
        [("int4+ef", 30, caps as fn(usize) -> _), ("fit+ef", 30, caps), ("fit+ef", 2, scarce)]
    {
        let mut deployment = Deployment::secure(&config(uplink, planned));
        let mut coordinator = deployment.start();
        (0..CLIENTS).for_each(|index| deployment.enrol(index));
        let clients: Vec<_> = (0..CLIENTS).map(|index| start(&deployment, index, caps(index))).collect();
        coordinator.line(|line| line.contains("the run is over"));
        drop(clients); // some may be told only later that it is
        coordinator.terminate();
        coordinator.ends_with(0);
        check(&deployment, caps);
        let rounds = deployment.rounds();
        assert_eq!(rounds.len() as u64, planned);
        let counted = rounds.iter().take_while(|round| round.accepted > 0).count();
        match (uplink, planned) {
            // 16 to 26 kB for updates of 4.2 kB, messages included: three to five for each of six clients, three a round.
            ("int4+ef", _) => assert!((3..=9).contains(&counted), "{counted} rounds"),
            (_, 30) => assert!(counted >= 12, "{counted} rounds"),
            // Each takes part about once, with all that it has.
            _ => assert_eq!(counted, 2),
        }
        for round in rounds.iter().skip(counted + 2) {
            assert_eq!(round.closed.as_deref(), Some("abandoned: too few clients"), "{round:?}");
        }
    }
}

#[test]
fn kills_and_new_connections_spend_from_the_same_purse() {
    let mut deployment = Deployment::insecure(&config("fit+ef", 30));
    let mut coordinator = deployment.start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|index| start(&deployment, index, caps(index))).collect();
    let mut moments = Moments::of(77);
    for _ in 0..12 {
        let index = moments.index(CLIENTS);
        std::thread::sleep(moments.below(std::time::Duration::from_millis(120)));
        drop(clients.remove(index)); // killed, unless it has spent all
        clients.insert(index, start(&deployment, index, caps(index)));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(clients);
    coordinator.terminate();
    coordinator.ends_with(0);
    check(&deployment, caps);
}

/// Devices without a budget of their own keep what the coordinator allows them, by name or all alike, from their first
/// connection on; and both ends say what is left.
#[test]
fn devices_keep_what_the_coordinator_allows_them() {
    let allowed = |index| if index < 3 { (16_384, 60_000) } else { caps(index) };
    let mut config = config("fit+ef", 30) + &table("budget", allowed(0));
    (3..CLIENTS).for_each(|index| config += &table(&format!("budget.devices.client-{index}"), allowed(index)));
    let mut deployment = Deployment::secure(&config);
    let mut coordinator = deployment.start();
    (0..CLIENTS).for_each(|index| deployment.enrol(index));
    let mut clients: Vec<_> = (0..CLIENTS).map(|index| deployment.client(index, 50)).collect();
    let listed = |deployment: &Deployment| -> Vec<serde_json::Value> {
        let text = Program::Server.ok(&["clients", "--format", "json", "--config", &deployment.config()]);
        serde_json::from_str(&text).expect("clients as JSON")
    };
    // Until everybody has said once what it has left: who is killed may have too little for that.
    let has_said = |client: &serde_json::Value| client["may_send_in_run_bytes"].is_u64() && client["rounds"] != 0;
    while !(listed(&deployment).iter().all(has_said)) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut moments = Moments::of(78);
    for _ in 0..6 {
        std::thread::sleep(moments.below(std::time::Duration::from_millis(120)));
        let index = moments.index(CLIENTS);
        drop(clients.remove(index)); // killed, unless it has spent all
        clients.insert(index, deployment.client(index, 50));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(clients);
    coordinator.terminate();
    coordinator.ends_with(0);
    check(&deployment, allowed);
    for (index, client) in listed(&deployment).iter().enumerate() {
        let (up, down) = allowed(index);
        let (left_up, left_down) = (&client["may_send_in_run_bytes"], &client["may_receive_in_run_bytes"]);
        assert!(left_up.as_u64().is_some_and(|left| left < up), "{client}");
        assert!(left_down.as_u64().is_some_and(|left| left < down), "{client}");
        assert!(client["rounds_left"].is_number(), "{client}");
    }
    let status = Program::Server.ok(&["status", "--config", &deployment.config()]);
    assert!(status.contains("budgets    6 devices capped, "), "{status}");
    let ledger = Program::Server.ok(&["ledger", "--config", &deployment.config()]);
    assert_eq!(ledger.lines().filter(|line| line.trim_start().starts_with("left ")).count(), CLIENTS, "{ledger}");
}

/// Budgets, schemes and models that nobody chose: whatever they are, sockets stay under every cap.
#[test]
fn no_socket_carries_more_than_a_drawn_cap() {
    let mut stream = nibble_seed::Seed(2026).stream();
    let mut below = |bound: u64| stream.next_u64() % bound;
    let mut near = 0;
    for _ in 0..10 {
        let uplink = ["fp32", "int4+ef", "int2", "auto:0.5", "plan:1kB+ef", "auto:1@ascending", "fit+ef", "fit"];
        let uplink = uplink[below(8) as usize];
        let downlink = ["", "downlink = \"auto:0.5\"\n", "downlink = \"int4\"\n"][below(3) as usize];
        let (model, times) = [("logreg", 1), ("mlp", 20)][below(2) as usize];
        let config = format!(
            "[run]\nname = \"drawn\"\nrounds = 6\n[model]\nname = {model:?}\n[data]\ndataset = \"mnist-10k\"\n\
             [cohort]\nsize = 2\nquorum = 1\navailable = {CLIENTS}\ndeadline_seconds = 5\nselection_seconds = 2\n\
             decline_pause_seconds = 1\n\
             [compression]\nuplink = {uplink:?}\n{downlink}"
        );
        // Handshakes are paid for from the same caps.
        let mut cap = |least: u64, range: u64| (below(3) > 0).then(|| least + times * below(range));
        let caps: Vec<[Option<u64>; 4]> = (0..CLIENTS)
            .map(|_| [cap(6_000, 90_000), cap(10_000, 200_000), cap(4_000, 40_000), cap(6_000, 90_000)])
            .collect();
        let mut deployment = Deployment::insecure(&config);
        let mut coordinator = deployment.start();
        let clients: Vec<_> = caps
            .iter()
            .enumerate()
            .map(|(index, caps)| {
                let keys = ["uplink_bytes", "downlink_bytes", "uplink_bytes_per_round", "downlink_bytes_per_round"];
                let lines = keys.iter().zip(caps).filter_map(|(key, cap)| Some(format!("{key} = {}\n", (*cap)?)));
                deployment.client_with(index, 50, &format!("[budget]\n{}", lines.collect::<String>()))
            })
            .collect();
        coordinator.line(|line| line.contains("the run is over"));
        drop(clients);
        coordinator.terminate();
        coordinator.ends_with(0);
        let (wire, ledger) = (deployment.wire(), deployment.ledger());
        for (index, [up, down, round_up, round_down]) in caps.iter().enumerate() {
            let carried = wire.get(&(index as u64)).copied().unwrap_or_default();
            let within = |cap: &Option<u64>, bytes: u64| cap.is_none_or(|cap| bytes <= cap);
            let case = format!("{uplink} {downlink} {model}, client {index}: {carried:?} of {caps:?}");
            assert!(within(up, carried.0) && within(down, carried.1), "{case}");
            for entry in ledger.iter().filter(|entry| entry["client"] == index as u64) {
                let bytes = |key: &str| entry[key].as_u64().unwrap();
                assert!(within(round_up, bytes("wire_up")), "{case}: {entry}");
                assert!(within(round_down, bytes("wire_down")), "{case}: {entry}");
            }
            let is_near = |cap: &Option<u64>, bytes: u64| cap.is_some_and(|cap| bytes > cap / 2);
            near += usize::from(is_near(up, carried.0)) + usize::from(is_near(down, carried.1));
        }
    }
    assert!(near > 5, "caps that nobody comes near show nothing: {near}");
}
