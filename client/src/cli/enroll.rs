//! `enroll`.

use std::{fs, io::BufRead, sync::Arc};

use nibble_client::{
    identity::{self, Device, IdentityError, Token},
    link::{Address, Tcp},
    state::Store,
};
use rustls_pki_types::UnixTime;

use super::{args::EnrollArgs, error::CliError, runtime, say};

pub(super) fn enroll(args: &EnrollArgs) -> Result<(), CliError> {
    let server = args.server.trim_start_matches("https://");
    let address: Address = format!("https://{server}").parse()?;
    let token: Token = token_text(&args.token)?.trim().parse()?;
    let dir = &args.state;
    // Makes the directory, and keeps a client that runs there from changing its identity meanwhile.
    let _store = Store::open(dir)?;
    if !args.replace && Device::load(dir).is_ok() {
        return Err(IdentityError::Enrolled { dir: dir.clone() }.into());
    }
    let dir = fs::canonicalize(dir).map_err(CliError::io("find", dir))?;
    let now = UnixTime::now();
    let enrolled = runtime()?.block_on(identity::enrol(&address, &token, &dir, Arc::new(Tcp), now))?;
    let days = enrolled.device.validity().until.saturating_sub(now.as_secs()) / 86_400;
    say(format_args!(
        "enrolled as {} (client {}); the certificate is good for {days} days and renews itself while the client runs",
        enrolled.name, enrolled.client
    ))
}

fn token_text(argument: &str) -> Result<String, CliError> {
    if argument != "-" {
        return Ok(argument.into());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(CliError::io("read", "stdin"))?;
    Ok(line)
}
