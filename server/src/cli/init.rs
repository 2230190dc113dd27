//! `init`: a directory with everything a coordinator needs.

use std::fs;

use anyhow::{Context, Result};
use nibble_server::{identity::Authority, store::Store};

use super::{Mistake, args::Init, now, print};

/// The configuration that `init` writes; a test reads it.
const TEMPLATE: &str = include_str!("nibble-server.toml");

pub(super) fn init(command: &Init) -> Result<()> {
    let directory = &command.directory;
    let in_directory = || format!("cannot make {}", directory.display());
    fs::create_dir_all(directory).with_context(in_directory)?;
    if fs::read_dir(directory).with_context(in_directory)?.next().is_some() {
        let problem = format!("{} is not empty; name a new directory", directory.display());
        return Err(Mistake(problem).into());
    }
    Authority::create(&directory.join("authority"), &command.hosts, now().as_secs())?;
    let state = directory.join("state");
    fs::create_dir_all(&state).with_context(in_directory)?;
    Store::open(&state)?;
    let config = directory.join("nibble-server.toml");
    fs::write(&config, TEMPLATE).with_context(in_directory)?;
    print(&format!(
        "{dir}/nibble-server.toml  the configuration: edit it first\n\
         {dir}/authority           the authority's key and certificates: keep ca-key.pem secret, and a copy of it\n\
         {dir}/state               everything the coordinator must not forget\n\n\
         Next:\n  nibble-server token --config {dir}/nibble-server.toml --name first-device\n  \
         nibble-server serve --config {dir}/nibble-server.toml\n",
        dir = directory.display()
    ))
}

#[cfg(test)]
mod tests {
    use nibble_server::settings::Settings;

    #[test]
    fn the_template_is_a_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nibble-server.toml");
        std::fs::write(&file, super::TEMPLATE).unwrap();
        let settings = Settings::load(&file, &[]).unwrap();
        assert_eq!(settings.run, "first");
    }
}
