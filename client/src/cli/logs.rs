//! Logs on stderr.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{args::LogFormat, error::CliError};

/// Starts logging; `directives` take precedence over $NIBBLE_LOG.
pub(super) fn start(format: LogFormat, directives: Option<&str>) -> Result<(), CliError> {
    let from_environment = std::env::var("NIBBLE_LOG").ok();
    let directives = directives.or(from_environment.as_deref()).unwrap_or("info");
    let targets = targets(directives).ok_or_else(|| CliError::Usage {
        problem: format!("{directives:?} does not say what to log"),
        mend: "give a level such as info, or pairs such as info,nibble_client=debug".into(),
    })?;
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let layer = match format {
        LogFormat::Text => fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal() && !refused).boxed(),
        LogFormat::Json => fmt::layer().with_writer(stderr).json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
    Ok(())
}

/// Levels and target=level pairs. A bare word that is no level would be taken for a target, and hide everything else.
fn targets(directives: &str) -> Option<Targets> {
    let plain = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    directives.split(',').all(plain).then(|| directives.parse().ok()).flatten()
}
