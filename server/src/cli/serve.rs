//! `serve`: from a configuration to a coordinator that runs until it is stopped.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use nibble_server::{
    clock::SystemClock,
    identity::{Authority, Clock, server_config},
    listener::{Meters, Security},
    process::Process,
    service::{DiskWork, Enrolment},
    settings::Settings,
    store::Store,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    Mistake,
    args::{ConfigCheck, LogFormat, Serve},
    now, print, settings,
};
use crate::{metrics, model};

/// How long clients have to hear that the run is over, with `--until-finished`.
const FAREWELL: Duration = Duration::from_secs(10);
/// The coordinator's own certificate is made anew at a start when it has no longer than this.
const RENEW_SECS: u64 = 30 * 86_400;

pub(super) fn check(command: &ConfigCheck) -> Result<()> {
    let settings = settings(&command.config.config, &command.config.set)?;
    let ready = model::ready(&settings)?;
    let plan = ready.plan;
    print(&format!(
        "{}: {} rounds of {} updates; {} with {} parameters, {} up at {} bytes an update at most\n",
        plan.name,
        plan.rounds,
        plan.round.cohort(),
        plan.architecture,
        plan.layout.coordinates(),
        plan.policy,
        plan.max_payload_bytes,
    ))
}

pub(super) fn serve(command: &Serve) -> Result<()> {
    logs(command.log_format);
    let settings = settings(&command.config.config, &command.config.set)?;
    if command.insecure && !settings.listen.ip().is_loopback() {
        let problem =
            format!("--insecure serves loopback addresses only, but listen = {:?}", settings.listen.to_string());
        return Err(Mistake(problem).into());
    }
    std::fs::create_dir_all(&settings.state).with_context(|| format!("cannot make {}", settings.state.display()))?;
    let (security, enrolment) = match command.insecure {
        true => {
            warn!("INSECURE: no TLS, and every client is who it says it is; for trying things out on one machine only");
            (Security::Insecure, None)
        }
        false => secure(&settings)?,
    };
    let ready = model::ready(&settings)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(command, settings, ready, security, enrolment))
}

async fn run(
    command: &Serve,
    settings: Settings,
    ready: model::Ready,
    security: Security,
    enrolment: Option<Arc<Enrolment>>,
) -> Result<()> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listen = {:?}: cannot listen there", settings.listen.to_string()))?;
    let meters = Meters::default();
    if let Some(address) = settings.metrics {
        let serving = metrics::serve(address, metrics::install()?, meters.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                warn!("metrics are not served: {error:#}");
            }
        });
    }
    let (over, is_over) = watch::channel(false);
    let process = Process {
        plan: Arc::new(ready.plan),
        state: settings.state,
        models: settings.models,
        threads: settings.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into)),
        limits: settings.limits,
        budgets: settings.budgets,
        security,
        enrolment,
        evaluator: ready.evaluator,
        clock: Arc::new(SystemClock),
        disk: DiskWork::OnThreads,
        meters: meters.clone(),
        over,
    };
    let stop = stop(command, is_over, meters)?;
    // Whoever waits for this line may connect: the port is open, and connections wait until they are served.
    info!(address = %listener.local_addr()?, run = settings.run, "listening");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]); // nobody may have asked to be told
    process.serve(listener, || ready.initial, stop).await?;
    info!("stopped");
    Ok(())
}

/// Ends at SIGTERM or SIGINT, and, where that was asked for, with standard input, or once the run is over and clients
/// have heard of it.
fn stop(
    command: &Serve,
    mut is_over: watch::Receiver<bool>,
    meters: Meters,
) -> Result<impl Future<Output = ()> + use<>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (until_finished, until_stdin_closes) = (command.until_finished, command.until_stdin_closes);
    let over = async move {
        if !until_finished || is_over.wait_for(|over| *over).await.is_err() {
            return std::future::pending().await;
        }
        let mut look = tokio::time::interval(Duration::from_millis(50));
        if meters.connections().open == 0 {
            // Started again when all was over: clients that were left without an answer are still trying.
            let come = async {
                while meters.connections().open == 0 {
                    look.tick().await;
                }
            };
            drop(tokio::time::timeout(FAREWELL, come).await);
        }
        let gone = async {
            while meters.connections().open > 0 {
                look.tick().await;
            }
        };
        drop(tokio::time::timeout(FAREWELL, gone).await); // those that do not go are not waited for
    };
    Ok(async move {
        tokio::select! {
            _ = term.recv() => info!("SIGTERM: stopping"),
            _ = int.recv() => info!("SIGINT: stopping"),
            () = over => info!("the run is over: stopping"),
            () = stdin_closes(until_stdin_closes) => info!("standard input is closed: stopping"),
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    })
}

/// Ends when standard input does, or never.
async fn stdin_closes(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (sender, closed) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime would wait for its blocking threads when it ends, and this one may never.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = closed.await;
}

/// The authority and what it signs with.
fn secure(settings: &Settings) -> Result<(Security, Option<Arc<Enrolment>>)> {
    let mut authority = Authority::load(&settings.tls.authority)?;
    if authority.server_not_after_unix() < now().as_secs() + RENEW_SECS {
        authority.renew_server(&[], now().as_secs())?;
        info!("the coordinator's own certificate is renewed");
    }
    let config = server_config(&authority, Clock::new(|| now().as_secs()))?;
    let store = Mutex::new(Store::open(&settings.state)?);
    let enrolment = Enrolment { authority, store, validity: settings.tls.validity };
    Ok((Security::Tls(config), Some(Arc::new(enrolment))))
}

/// Logs go to stderr; `RUST_LOG` chooses them.
fn logs(format: LogFormat) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let logs = tracing_subscriber::registry().with(wanted);
    match format {
        LogFormat::Text => logs.with(lines).init(),
        LogFormat::Json => logs.with(lines.json()).init(),
    }
}

/// Every connection is an open file: as many as the system allows.
fn raise_open_files() {
    if let Ok((soft, hard)) = rlimit::Resource::NOFILE.get()
        && soft < hard
        && rlimit::Resource::NOFILE.set(hard, hard).is_err()
    {
        warn!(limit = soft, "the limit on open files cannot be raised; fewer clients can connect");
    }
}
