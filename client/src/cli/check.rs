//! `config check`.

use nibble_client::{
    config::{Coordinator, Source},
    data::LocalData,
    identity::Device,
};
use nibble_learning::data::Places;

use super::{error::CliError, say};

pub(super) fn check(source: &Source) -> Result<(), CliError> {
    let config = source.load()?;
    match &config.coordinator {
        Coordinator::Secure(address) => {
            let device = Device::load(&config.state)?;
            say(format_args!("{address}, as {}", device.name()))?;
        }
        Coordinator::Insecure(address, client) => say(format_args!("{address}, INSECURE, as client {client}"))?,
    }
    let data = LocalData::load(&config, &Places::from_environment(|name| std::env::var_os(name)))?;
    let (own, all) = (data.samples().len(), data.dataset().train.len());
    say(format_args!("{}: {own} of {all} training samples", config.data.dataset))?;
    say(format_args!("ok"))
}
