//! A run that is not simulated: a real coordinator and real client processes, over mTLS on loopback, from the same
//! experiment.
//!
//! The programs `nibble-server` and `nibble-client` are found beside this one. Everything they keep lies in the run's
//! directory, so that an interrupted run goes on from there. Links are shaped to what an experiment
//! says of them, and training takes at least as long as it says.

mod coordinator;
mod files;
mod processes;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nibble_codec::Payload;
use nibble_seed::{ClientId, Seed};

use crate::{
    budgets, classes,
    compare::{Observer, Played, Went},
    error::SimError,
    experiment::{Codecs, Experiment},
    federation::Federation,
    links::{self, Fleet},
    results::{RoundRow, RunResult, RunSummary},
};
use coordinator::{Coordinator, Said};
use files::Files;
use processes::Program;

/// How often clients and interruptions are looked after while the coordinator says nothing.
const LOOK: Duration = Duration::from_millis(100);

/// Whether real processes have left something in a run's directory.
pub(crate) fn is_in(directory: &Path) -> bool {
    directory.join(files::COORDINATOR).exists()
}

/// Plays a run to its end, or until it is interrupted.
///
/// # Errors
/// If the experiment cannot be deployed, a program is missing or fails, or its files cannot be written.
pub(crate) fn run(
    experiment: &Experiment,
    federation: &Federation,
    (codecs, seed): (Codecs, Seed),
    directory: &Path,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Played, SimError> {
    let fleet = links::fleet(experiment, seed)?;
    check(experiment, fleet.as_ref())?;
    let clients = (0..experiment.raw.data.clients as u64).map(ClientId);
    let budgets: Vec<_> = clients.map(|client| budgets::of(experiment, fleet.as_ref(), client)).collect();
    let (server, client) = (Program::beside("nibble-server")?, Program::beside("nibble-client")?);
    let files = Files::lay_out((experiment, federation), (codecs, seed), directory, &server)?;
    let mut coordinator = Coordinator::start(&server, &files)?;
    let address = coordinator.address()?;
    let clients = files.clients(&address);
    for number in 0..experiment.raw.data.clients {
        clients.enrol(number, &server, &client)?;
    }
    let mut running = Vec::new();
    for number in 0..experiment.raw.data.clients {
        running.push(clients.start(number, &client)?);
    }
    let mut rows: Vec<RoundRow> = Vec::new();
    let went = loop {
        if interrupted.load(Ordering::Relaxed) {
            break Went::Interrupted;
        }
        match coordinator.listen(LOOK)? {
            Said::Evaluated | Said::Ended => {
                let known = coordinator.rounds(&server, &files)?;
                for row in known.into_iter().skip(rows.len()) {
                    observer.round_ended(&row);
                    rows.push(row);
                }
                if coordinator.has_ended() {
                    break Went::ToTheEnd;
                }
            }
            Said::Nothing => running.iter_mut().try_for_each(processes::Running::check)?,
        }
    };
    let mut classes = classes::all(experiment, fleet.as_ref(), &budgets);
    coordinator.tally((&server, &files), fleet.as_ref(), &budgets, &mut classes)?;
    let model = files.model(&server)?;
    drop((running, coordinator)); // killed if they still run: what they need is on disk
    let global = match model {
        Some((path, frame)) => {
            let mut global = vec![0.0; federation.layout().coordinates()];
            let decoded = Payload::parse(&frame, federation.layout()).and_then(|payload| payload.decode(&mut global));
            decoded.map_err(|error| SimError::File {
                path,
                problem: error.to_string(),
                mend: "start the run afresh with --fresh".into(),
            })?;
            global
        }
        None => Vec::new(),
    };
    let summary = RunSummary::of(&rows, (codecs, seed), federation.layout().coordinates(), &global, None);
    Ok(Played { went, result: RunResult { summary, rounds: rows, classes }, global })
}

/// What only virtual time can do is refused.
fn check(experiment: &Experiment, fleet: Option<&Fleet>) -> Result<(), SimError> {
    let refused = |problem: &str, mend: &str| {
        let mend = format!("{mend}, or use --transport memory");
        Err(SimError::Usage {
            problem: format!("the experiment has {problem}, which real processes do not play"),
            mend,
        })
    };
    let raw = &experiment.raw;
    if raw.availability.dropout > 0.0 || raw.availability.spread > 0.0 {
        return refused("virtual drop-outs or stragglers", "set availability.dropout and availability.spread to 0");
    }
    if !raw.local.personal.is_empty() {
        return refused("personal tensors, whose accuracy only clients could measure", "leave local.personal out");
    }
    if raw.links.as_ref().is_some_and(|links| links.spread > 0.0) {
        return refused("links whose speed varies from round to round", "set links.spread to 0");
    }
    if raw.attack.is_some() {
        return refused("attackers", "leave [attack] out");
    }
    let mut kinds = (0..raw.data.clients as u64).filter_map(|client| Some(fleet?.kind(ClientId(client))));
    if kinds.any(|kind| kind.online.is_some()) {
        return refused("links that are not always there", "leave online out");
    }
    Ok(())
}
