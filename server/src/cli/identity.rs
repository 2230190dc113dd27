//! `token` and `revoke`: who may come in. Both work while a coordinator serves.

use anyhow::Result;
use nibble_seed::ClientId;
use nibble_server::{
    identity::{Authority, Token},
    store::{NewToken as Row, Store},
};

use super::{
    Mistake,
    args::{NewToken, Revoke},
    now, print, settings,
};

pub(super) fn token(command: &NewToken) -> Result<()> {
    let settings = settings(&command.config.config, &command.config.set)?;
    let authority = Authority::load(&settings.tls.authority)?;
    let token = Token::generate(authority.fingerprint())?;
    let mut store = Store::open(&settings.state)?;
    let expires_unix = now().as_secs() + u64::from(command.hours) * 3600;
    let client = store.transaction(|store| {
        let client = match command.client {
            Some(number) => ClientId(number),
            None => store.free_number()?,
        };
        let name = command.name.clone();
        store.add_token(&Row { digest: token.digest(), client, name, expires_unix })?;
        Ok(client)
    })?;
    tracing::debug!(%client, "a token is made");
    print(&format!("{token}\n"))
}

pub(super) fn revoke(command: &Revoke) -> Result<()> {
    let settings = settings(&command.config.config, &command.config.set)?;
    let store = Store::open(&settings.state)?;
    if store.revoke(&command.name, now())? {
        return print(&format!("{} is revoked: it is refused from its next call on\n", command.name));
    }
    let known = store.devices()?.into_iter().any(|device| device.name == command.name);
    let problem = match known {
        true => format!("{:?} was revoked before", command.name),
        false => format!("no device is named {:?}; nibble-server clients lists them", command.name),
    };
    Err(Mistake(problem).into())
}
