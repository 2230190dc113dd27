//! `status`.

use std::path::Path;

use nibble_client::{
    agent::Purse,
    budget::{Account, Budget},
    identity::{Device, IdentityError},
    state::{Keeps, Store, Summary},
};
use serde::Serialize;
use x509_parser::time::ASN1Time;

use super::{
    args::{Format, StatusArgs},
    error::CliError,
    say,
};

/// What a state directory holds.
#[derive(Debug, Serialize)]
struct Status {
    /// Absent before the first assignment.
    run: Option<String>,
    parameters: usize,
    layout: String,
    pending: Option<Pending>,
    /// `residual`, or `intent` while an update is pending; or `control`.
    kept: &'static str,
    kept_norm: f64,
    certificate: Option<Certificate>,
    /// Of a client that has a budget: most bytes on the socket, and those that it has spent.
    budget: Option<Budget>,
    spent: Option<Account>,
    /// Bytes that may be sent and received now, of caps that there are.
    left_up: Option<u64>,
    left_down: Option<u64>,
    /// Rounds that the rest of the run's caps is enough for, if they take what those before took.
    rounds_left: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Pending {
    round: u64,
    payload_bytes: u64,
    payload_sha256: String,
    samples: u64,
    train_loss: f64,
    nmse: f64,
}

#[derive(Debug, Serialize)]
struct Certificate {
    name: String,
    not_before_unix: u64,
    not_after_unix: u64,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), CliError> {
    let status = Status::read(&args.state)?;
    match args.format {
        Format::Text => print(&status),
        Format::Json => {
            let json =
                serde_json::to_string_pretty(&status).map_err(|error| CliError::io("print", "stdout")(error.into()));
            say(format_args!("{}", json?))
        }
    }
}

impl Status {
    fn read(dir: &Path) -> Result<Self, CliError> {
        let certificate = match Device::load(dir) {
            Ok(device) => Some(device),
            Err(IdentityError::NotEnrolled { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let certificate = certificate.map(|device| Certificate {
            name: device.name().into(),
            not_before_unix: device.validity().from,
            not_after_unix: device.validity().until,
        });
        let Some((summary, mut vector)) = Store::peek(dir)? else {
            let problem = format!("{} holds no client's state", dir.display());
            return Err(CliError::Usage { problem, mend: "give the directory that the client runs with".into() });
        };
        vector.truncate(summary.layout.coordinates()); // what a control variate may become is left out
        let kept_norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        let kept = match (summary.keeps, &summary.pending) {
            (Keeps::Control, _) => "control",
            (Keeps::Residual, Some(_)) => "intent",
            (Keeps::Residual, None) => "residual",
        };
        let Summary { run, layout, pending, .. } = summary;
        let pending = pending.map(|update| Pending {
            round: update.round.0,
            payload_bytes: update.payload_bytes,
            payload_sha256: update.payload_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            samples: update.samples,
            train_loss: update.train_loss,
            nmse: update.nmse,
        });
        let (budget, spent) = Purse::peek(dir)?.unzip();
        let (parameters, layout) = (layout.coordinates(), format!("{:016x}", layout.hash()));
        let of = budget.as_ref().zip(spent.as_ref());
        let left_up = of.and_then(|(budget, spent)| budget.up.left(&spent.up));
        let left_down = of.and_then(|(budget, spent)| budget.down.left(&spent.down));
        let rounds_left = of.and_then(|(budget, spent)| budget.rounds_left(spent));
        Ok(Self {
            run: Some(run).filter(|run| !run.is_empty()),
            parameters,
            layout,
            pending,
            kept,
            kept_norm,
            certificate,
            budget,
            spent,
            left_up,
            left_down,
            rounds_left,
        })
    }
}

fn print(status: &Status) -> Result<(), CliError> {
    match &status.run {
        Some(run) => {
            say(format_args!("run          {run}: {} parameters, layout {}", status.parameters, status.layout))?;
        }
        None => say(format_args!("run          none so far"))?,
    }
    match &status.pending {
        Some(Pending { round, payload_bytes, samples, nmse, .. }) => {
            say(format_args!(
                "pending      round {round}: {payload_bytes} bytes of {samples} samples, NMSE {nmse:.2e}"
            ))?;
        }
        None => say(format_args!("pending      nothing"))?,
    }
    say(format_args!("{:12} norm {:.6}", status.kept, status.kept_norm))?;
    match &status.certificate {
        Some(Certificate { name, not_after_unix, .. }) => {
            let end = i64::try_from(*not_after_unix).ok().and_then(|end| ASN1Time::from_timestamp(end).ok());
            let end = end.map_or_else(|| not_after_unix.to_string(), |end| end.to_string());
            say(format_args!("certificate  {name}, good until {end}"))?;
        }
        None => say(format_args!("certificate  none"))?,
    }
    let Some((budget, spent)) = status.budget.zip(status.spent) else { return Ok(()) };
    for (way, caps, spent, left) in [
        ("sent        ", budget.up, spent.up, status.left_up),
        ("received    ", budget.down, spent.down, status.left_down),
    ] {
        let of =
            |spent: u64, cap: Option<u64>| cap.map_or_else(|| spent.to_string(), |cap| format!("{spent} of {cap}"));
        let (run, day, round) = (of(spent.run, caps.run), of(spent.day, caps.day), of(spent.round, caps.round));
        let left = left.map_or_else(String::new, |left| format!("; {left} left"));
        say(format_args!("{way} {run} bytes in the run, {day} on its last day, {round} in the round{left}"))?;
    }
    if let Some(rounds) = status.rounds_left {
        let (floor, begun) = (rounds.floor(), spent.rounds);
        say(format_args!("projected    enough for {floor} more rounds like the {begun} so far"))?;
    }
    Ok(())
}
