//! `run`.

use std::sync::Arc;

use nibble_client::{
    agent::{Agent, AgentConfig, Ended, Purse, jitter_from_system},
    config::{Config, Coordinator, Source},
    data::LocalData,
    identity::{Device, IdentityError},
    link::{Credentials, Dial, Link, Meter, Metered, Shaped, Tcp},
    state::Store,
};
use nibble_learning::data::Places;
use rustls_pki_types::UnixTime;
use tokio::signal;

use super::{args::RunArgs, error::CliError, runtime};

pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    let until_stdin_closes = args.until_stdin_closes;
    let config = Source::from(args.source).load()?;
    let data = LocalData::load(&config, &Places::from_environment(|name| std::env::var_os(name)))?;
    let runtime = runtime()?;
    let result = runtime.block_on(take_part(config, data, until_stdin_closes));
    // Training that a signal interrupted is not waited for: what it was for is asked again at the next start.
    runtime.shutdown_background();
    match result? {
        Ended::Finished { run } => tracing::info!(run, "finished"),
        Ended::Spent => tracing::warn!("ended: the budget for the run is spent; raise it to take part again"),
        Ended::Stopped => tracing::info!("stopped by a signal; what matters is on disk"),
    }
    Ok(())
}

async fn take_part(config: Config, data: LocalData, until_stdin_closes: bool) -> Result<Ended, CliError> {
    let signal = stop_signal()?;
    let stop = async move {
        tokio::select! {
            () = signal => {}
            () = stdin_closes(until_stdin_closes) => {}
        }
    };
    let store = Store::open(&config.state)?;
    let mut agent = AgentConfig::new(jitter_from_system().map_err(|error| IdentityError::Crypto(error.to_string()))?);
    (agent.hold, agent.slowness) = (config.hold, config.training);
    let dial: Arc<dyn Dial> = match config.shape {
        Some(shape) => Arc::new(Shaped::new(Arc::new(Tcp), shape, agent.jitter)),
        None => Arc::new(Tcp),
    };
    let (address, credentials) = match config.coordinator {
        Coordinator::Insecure(address, client) => (address, Credentials::Insecure(client)),
        Coordinator::Secure(address) => {
            agent.renewal = Some((config.state.clone(), UnixTime::now));
            (address, Credentials::Device(Arc::new(Device::load(&config.state)?)))
        }
    };
    let meter = Arc::<Meter>::default();
    let dial = Arc::new(Metered::new(dial, Arc::clone(&meter)));
    tracing::info!(server = %address, samples = data.samples().len(), "starting");
    let link = Link::with_dial(address, credentials, dial).map_err(|error| IdentityError::Crypto(error.to_string()))?;
    let samples = data.samples().to_vec();
    let agent = Agent::new(agent, link, store, data, samples).on_connected(|| {
        tracing::info!("the coordinator answers");
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    });
    let purse = Purse::open(&config.state, config.budget, meter, UnixTime::now)?;
    Ok(agent.with_purse(purse).run(stop).await?)
}

/// Completes when standard input ends, or never.
async fn stdin_closes(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (sender, closed) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime would wait for its blocking threads when it ends, and this one may never.
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        let _ = sender.send(()); // nobody may be waiting any more
    });
    drop(closed.await);
}

/// Completes on SIGTERM or SIGINT.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let listen = |kind| signal::unix::signal(kind).map_err(CliError::io("listen for", "signals"));
    let mut terminate = listen(signal::unix::SignalKind::terminate())?;
    let mut interrupt = listen(signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Completes on Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    Ok(async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
