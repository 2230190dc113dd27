//! A coordinator's directory and its clients' beside it.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde::Deserialize;

use super::{Process, Program};

/// Everything of one run, in a directory that goes when the test ends.
pub(crate) struct Deployment {
    directory: tempfile::TempDir,
    secure: bool,
    /// Where the coordinator listens, once it has.
    address: Option<String>,
}

/// A round as `nibble-server rounds --format json` prints it; times, bytes and metrics are left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Round {
    pub(crate) round: u64,
    pub(crate) state: String,
    pub(crate) closed: Option<String>,
    pub(crate) selected: usize,
    pub(crate) accepted: usize,
    pub(crate) older: usize,
    pub(crate) rejected: usize,
    pub(crate) discarded: usize,
    pub(crate) missing: usize,
    pub(crate) model_sha256: Option<String>,
    pub(crate) uncounted: BTreeMap<u64, String>,
}

impl Deployment {
    /// An insecure coordinator of this configuration, whose top-level keys are the harness's.
    pub(crate) fn insecure(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        fs::create_dir(directory.path().join("coordinator")).expect("a directory for the coordinator");
        Self::of(directory, false, config)
    }

    /// A coordinator with an authority of its own.
    pub(crate) fn secure(config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let coordinator = directory.path().join("coordinator").display().to_string();
        Program::Server.ok(&["init", &coordinator, "--host", "127.0.0.1"]);
        Self::of(directory, true, config)
    }

    fn of(directory: tempfile::TempDir, secure: bool, config: &str) -> Self {
        let deployment = Self { directory, secure, address: None };
        deployment.write("coordinator/nibble-server.toml", &format!("listen = \"127.0.0.1:0\"\n{config}"));
        deployment
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file for the test");
    }

    pub(crate) fn config(&self) -> String {
        self.path("coordinator/nibble-server.toml").display().to_string()
    }

    /// A command that serves; a coordinator that is started again listens where it did before.
    pub(crate) fn serve(&self) -> Command {
        let mut command = Program::Server.command();
        command.args(["serve", "--log-format", "json", "--config", &self.config()]);
        if !self.secure {
            command.arg("--insecure");
        }
        if let Some(address) = &self.address {
            command.arg("--set").arg(format!("listen={address:?}"));
        }
        command
    }

    /// Starts the coordinator, or starts it again.
    pub(crate) fn start(&mut self) -> Process {
        let mut command = self.serve();
        self.start_as(&mut command)
    }

    /// Starts the coordinator, which kills itself the `count`-th time that it comes by `point`.
    pub(crate) fn start_to_crash(&mut self, point: &str, count: u64) -> Process {
        let mut command = self.serve();
        self.start_as(command.env("NIBBLE_CRASH_AT", format!("{point}:{count}")))
    }

    fn start_as(&mut self, command: &mut Command) -> Process {
        let mut coordinator = Process::start("the coordinator", command);
        if self.address.is_none() {
            let line = coordinator.line(|line| line.contains("\"listening\""));
            let line: serde_json::Value = serde_json::from_str(&line).expect("logs are JSON");
            self.address = line["fields"]["address"].as_str().map(str::to_owned);
        }
        coordinator
    }

    /// Plays the run with clients that are started once, while the coordinator is killed at each of these points as often as
    /// they say; then to its end.
    #[cfg(debug_assertions)] // other builds have no such points
    pub(crate) fn finish_over(&mut self, points: &[(&str, &[u64])], clients: impl FnOnce(&Self) -> Vec<Process>) {
        let (mut clients, mut started) = (Some(clients), Vec::new());
        for (point, counts) in points {
            for &count in *counts {
                let mut coordinator = self.start_to_crash(point, count);
                if let Some(clients) = clients.take() {
                    started = clients(self);
                }
                coordinator.is_killed();
            }
        }
        assert_eq!(self.status()["state"], "going on", "every kill must hit the run");
        let coordinator = self.start();
        self.finish(coordinator, started);
    }

    /// Where the coordinator listens. It must have been started.
    pub(crate) fn address(&self) -> &str {
        self.address.as_deref().expect("the coordinator was started")
    }

    /// Exchanges a token for client `index`'s certificate.
    pub(crate) fn enrol(&self, index: usize) {
        assert!(self.enrolling(index).status().expect("nibble-client starts").success());
    }

    /// The command that exchanges a new token for client `index`'s certificate.
    pub(crate) fn enrolling(&self, index: usize) -> Command {
        let (name, number, state) = (format!("client-{index}"), index.to_string(), self.state_of(index));
        let args = ["token", "--config", &self.config(), "--name", &name, "--client", &number];
        let token = Program::Server.ok(&args);
        let mut command = Program::Client.command();
        command.args(["enroll", "--server", self.address(), "--token", token.trim(), "--state", &state]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    }

    /// Starts client `index`, whose samples are the `index`-th of `parts` parts, or starts it again on its state.
    pub(crate) fn client(&self, index: usize, parts: usize) -> Process {
        self.client_with(index, parts, "")
    }

    /// As [`Deployment::client`], with more of a configuration.
    pub(crate) fn client_with(&self, index: usize, parts: usize, more: &str) -> Process {
        self.client_sharing(index, &format!("index = {index}, clients = {parts}"), more)
    }

    /// As [`Deployment::client_with`], with all of what says which samples are its own.
    pub(crate) fn client_sharing(&self, index: usize, share: &str, more: &str) -> Process {
        Process::start(format!("client {index}"), &mut self.client_command(index, share, more))
    }

    /// Starts client `index`, which kills itself the `count`-th time that it comes by `point`.
    #[cfg(debug_assertions)] // other builds have no such points
    pub(crate) fn client_to_crash(&self, index: usize, parts: usize, (point, count): (&str, u64)) -> Process {
        let mut command = self.client_command(index, &format!("index = {index}, clients = {parts}"), "");
        Process::start(format!("client {index}"), command.env("NIBBLE_CRASH_AT", format!("{point}:{count}")))
    }

    /// Starts client `index` under this configuration.
    pub(crate) fn start_client(&self, index: usize, config: &str) -> Process {
        Process::start(format!("client {index}"), &mut self.command_of_client(index, config))
    }

    fn client_command(&self, index: usize, share: &str, more: &str) -> Command {
        let (address, state) = (self.address(), self.state_of(index));
        let server = match self.secure {
            true => format!("server = \"https://{address}\"\n"),
            false => format!("server = \"http://{address}\"\ninsecure_client = {index}\n"),
        };
        self.command_of_client(index, &format!("{server}state = {state:?}\n[data]\nshare = {{ {share} }}\n{more}"))
    }

    fn command_of_client(&self, index: usize, config: &str) -> Command {
        let file = self.path(&format!("client-{index}.toml"));
        fs::write(&file, config).expect("a file for the test");
        let mut command = Program::Client.command();
        command.args(["--log-format", "json", "run"]).arg(file);
        command
    }

    /// Starts clients `0..count`.
    pub(crate) fn clients(&self, count: usize, parts: usize) -> Vec<Process> {
        (0..count).map(|index| self.client(index, parts)).collect()
    }

    pub(crate) fn state_of(&self, index: usize) -> String {
        self.path(&format!("state-{index}")).display().to_string()
    }

    /// The rounds so far.
    pub(crate) fn rounds(&self) -> Vec<Round> {
        serde_json::from_str(&self.report("rounds")).expect("rounds as JSON")
    }

    /// How the run stands.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.report("status")).expect("a status as JSON")
    }

    /// The ledger, an entry a client and round.
    pub(crate) fn ledger(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.report("ledger")).expect("a ledger as JSON")
    }

    /// Bytes that the coordinator counted on its sockets for each client, up and down.
    pub(crate) fn wire(&self) -> BTreeMap<u64, (u64, u64)> {
        let entries = self.ledger();
        let mut wire = BTreeMap::new();
        for entry in &entries {
            let Some(client) = entry["client"].as_u64() else { continue };
            let (up, down): &mut (u64, u64) = wire.entry(client).or_default();
            *up += entry["wire_up"].as_u64().expect("bytes");
            *down += entry["wire_down"].as_u64().expect("bytes");
        }
        wire
    }

    fn report(&self, what: &str) -> String {
        Program::Server.ok(&[what, "--format", "json", "--config", &self.config()])
    }

    /// SHA-256 of the current global model.
    pub(crate) fn model(&self) -> String {
        self.status()["model_sha256"].as_str().expect("a hash").to_owned()
    }

    /// Lets clients go on until the run is over, and stops the coordinator.
    pub(crate) fn finish(&self, mut coordinator: Process, clients: Vec<Process>) {
        for mut client in clients {
            client.ends_with(0);
        }
        coordinator.terminate();
        coordinator.ends_with(0);
    }
}
