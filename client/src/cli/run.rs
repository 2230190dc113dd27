//! `run`.

use std::sync::Arc;

use nibble_client::{
    agent::{Agent, AgentConfig, Ended, jitter_from_system},
    config::{Config, Coordinator, Source},
    data::LocalData,
    identity::{Device, IdentityError},
    link::{Credentials, Link},
    state::Store,
};
use nibble_learning::data::Places;
use rustls_pki_types::UnixTime;
use tokio::signal;

use super::{error::CliError, runtime};

pub(super) fn run(source: &Source) -> Result<(), CliError> {
    let config = source.load()?;
    let data = LocalData::load(&config, &Places::from_environment(|name| std::env::var_os(name)))?;
    let runtime = runtime()?;
    let result = runtime.block_on(take_part(config, data));
    // Training that a signal interrupted is not waited for: what it was for is asked again at the next start.
    runtime.shutdown_background();
    match result? {
        Ended::Finished { run } => tracing::info!(run, "finished"),
        Ended::Stopped => tracing::info!("stopped by a signal; what matters is on disk"),
    }
    Ok(())
}

async fn take_part(config: Config, data: LocalData) -> Result<Ended, CliError> {
    let stop = stop_signal()?;
    let store = Store::open(&config.state)?;
    let mut agent = AgentConfig::new(jitter_from_system().map_err(|error| IdentityError::Crypto(error.to_string()))?);
    agent.hold = config.hold;
    let (address, credentials) = match config.coordinator {
        Coordinator::Insecure(address, client) => (address, Credentials::Insecure(client)),
        Coordinator::Secure(address) => {
            agent.renewal = Some((config.state.clone(), UnixTime::now));
            (address, Credentials::Device(Arc::new(Device::load(&config.state)?)))
        }
    };
    tracing::info!(server = %address, samples = data.samples().len(), "starting");
    let link = Link::new(address, credentials).map_err(|error| IdentityError::Crypto(error.to_string()))?;
    let samples = data.samples().to_vec();
    let agent = Agent::new(agent, link, store, data, samples).on_connected(|| {
        tracing::info!("the coordinator answers");
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    });
    Ok(agent.run(stop).await?)
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
