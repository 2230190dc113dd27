//! `config show` and `config check`.

use nibble_sim::{
    compare::{check_budget, resolved},
    error::SimError,
    federation::Federation,
};

use super::{args::ConfigCommand, compare::source_of};

pub(super) fn config(command: ConfigCommand) -> Result<(), SimError> {
    match command {
        ConfigCommand::Show(args) => say!(@ "{}", resolved(&source_of(args).load()?)),
        ConfigCommand::Check(args) => {
            let experiment = source_of(args).load()?;
            let federation = Federation::load(&experiment)?;
            check_budget(&experiment, &federation)?;
            say!("{}", federation.describe_data(&experiment));
            say!("{} with {} parameters", experiment.raw.model.name, federation.layout().coordinates());
            for scheme in &experiment.schemes {
                let most = if scheme.up.scheme().is_some() { "" } else { " at most" };
                say!("{scheme}: {} bytes an update{most}", scheme.up.most_bytes(federation.layout()));
            }
            say!("ok");
        }
    }
    Ok(())
}
